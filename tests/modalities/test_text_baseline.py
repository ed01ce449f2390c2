import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from headstart.modalities import text_baseline
from headstart.modalities.text_baseline import Ngrams, make
from headstart.types import Task

TEXTS = ["The cat sat on the mat", "a dog, a dog!", "The  mat\twas I", "Über die Katze", "cat cat CAT", "日本語 text"]
OTHERS = ["the dog sat", "unseen wörds", ""]


def scaled(texts, others):
    ngrams = Ngrams()
    raw = ngrams.fit(texts)
    return [ngrams.scaling(raw)(rows).toarray() for rows in (raw, ngrams.transform(others))]


def test_features_are_scikit_learns_tf_idf():
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
    chars = TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", sublinear_tf=True)
    theirs = [np.hstack([v.fit_transform(TEXTS).toarray() for v in (words, chars)])]
    theirs.append(np.hstack([v.transform(OTHERS).toarray() for v in (words, chars)]))
    for ours, reference in zip(scaled(TEXTS, OTHERS), theirs, strict=True):
        assert ours == pytest.approx(reference, abs=1e-6)


def test_scaling_knows_nothing_of_other_rows():
    ngrams = Ngrams()
    raw = ngrams.fit(TEXTS)
    fold = ngrams.scaling(raw[:3])(raw).toarray()
    alone, others = scaled(TEXTS[:3], TEXTS[3:])
    known = np.flatnonzero(np.bincount(raw[:3].indices, minlength=raw.shape[1]))
    assert fold[:, known] == pytest.approx(np.vstack([alone, others]), abs=1e-6)
    assert not np.delete(fold, known, axis=1).any()


def test_the_commonest_columns_are_kept(monkeypatch):
    monkeypatch.setattr(text_baseline, "MOST", 4)
    ngrams = Ngrams()
    assert ngrams.fit(TEXTS).shape == (6, 8)
    counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").fit(TEXTS)
    kept = counts.get_feature_names_out()[ngrams._kept[0]]
    assert {"cat", "mat", "the"} <= set(kept)


@pytest.mark.parametrize("texts", [["", ""], ["?", "!"], [" ", "..."]])
def test_texts_without_words_are_no_error(texts):
    task = Task("classification", "text", ("a", "b"), "accuracy")
    made = make(task, 0).fit(texts, np.array([0, 1]))
    assert np.isfinite(made.logits([*texts, "hello"])).all()


def test_sources_and_titles_say_what_it_is():
    made = make(Task("regression", "text", (), "mae"), 0)
    assert (made.name, made.source, made.method) == ("classical baseline", "tf-idf", "ridge")
    assert made.title == "TF-IDF + ridge regression"
