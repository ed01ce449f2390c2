"""The classical baseline for texts: TF-IDF of word and character n-grams with a linear model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from headstart.classical import FeatureBaseline
from headstart.types import Task

__all__ = ["Ngrams", "make"]

MOST = 2**15
"""Columns a block: the n-grams of the most texts."""
WORD = r"(?u)\b\w+\b"
"""Words of one letter count too."""
STRENGTHS = (1.0, 10.0, 100.0)
RIDGE_STRENGTHS = (0.1, 1.0, 10.0)


def make(task: Task, seed: int) -> FeatureBaseline:
    """The baseline of this task; see `headstart.classical.Baseline`."""
    strengths = RIDGE_STRENGTHS if task.problem == "regression" else STRENGTHS
    return FeatureBaseline(task, seed, Ngrams(), "tf-idf", "TF-IDF", strengths)


class Ngrams:
    """Sublinear counts of word 1- and 2-grams and, within words, character 2- to 5-grams.

    Scaled, they are TF-IDF with smooth inverse document frequency, each of the two blocks of unit length.
    """

    def fit(self, inputs: Sequence[Any]) -> Any:
        """Sublinear counts ``(N, F)`` float32 CSR of the texts that decide the columns."""
        from sklearn.feature_extraction.text import CountVectorizer

        self._words = CountVectorizer(ngram_range=(1, 2), token_pattern=WORD, dtype=np.float32)
        self._chars = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5), dtype=np.float32)
        words, chars = _learned(self._words, inputs), self._within_words(inputs, learn=True)
        self._kept = [_commonest(words), _commonest(chars)]
        return self._joined(words, chars)

    def transform(self, inputs: Sequence[Any]) -> Any:
        """Sublinear counts ``(N, F)`` float32 CSR of other texts; n-grams never seen are left out."""
        return self._joined(_counted(self._words, inputs), self._within_words(inputs))

    def scaling(self, raw: Any) -> Callable[[Any], Any]:
        """TF-IDF with the document frequencies of these rows; n-grams that they lack count nothing."""
        found = np.bincount(raw.indices, minlength=raw.shape[1])
        idf = np.where(found > 0, np.log((1 + raw.shape[0]) / (1 + found)) + 1, 0).astype(np.float32)
        block = (np.arange(raw.shape[1]) >= len(self._kept[0])).astype(np.int64)

        def scale(rows: Any) -> Any:
            data = rows.data * idf[rows.indices]
            unit = 2 * np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)) + block[rows.indices]
            norms = np.sqrt(np.bincount(unit, data.astype(np.float64) ** 2, minlength=2 * rows.shape[0]))
            data /= np.where(norms > 0, norms, 1).astype(np.float32)[unit]
            return sparse.csr_array((data, rows.indices, rows.indptr), rows.shape)

        return scale

    def _within_words(self, texts: Sequence[Any], learn: bool = False) -> Any:
        """Character n-grams never cross a space, so each distinct word is cut up once, however often it occurs."""
        from sklearn.feature_extraction.text import CountVectorizer

        words = CountVectorizer(analyzer=lambda text: str(text).lower().split(), dtype=np.float32)
        counts = _learned(words, texts)
        distinct = list(words.get_feature_names_out()) if counts.shape[1] else []
        return sparse.csr_array(counts @ (_learned if learn else _counted)(self._chars, distinct))

    def _joined(self, *blocks: Any) -> Any:
        rows = sparse.hstack([block[:, kept] for block, kept in zip(blocks, self._kept, strict=True)], format="csr")
        rows.data = 1 + np.log(rows.data)
        return sparse.csr_array(rows)


def _learned(vectorizer: Any, texts: Sequence[Any]) -> Any:
    """Counts of texts that decide the columns; none where the texts have nothing to count."""
    try:
        return sparse.csr_array(vectorizer.fit_transform(texts))
    except ValueError:  # scikit-learn's word for an empty vocabulary
        vectorizer.vocabulary_ = {}
        return sparse.csr_array((len(texts), 0), dtype=np.float32)


def _counted(vectorizer: Any, texts: Sequence[Any]) -> Any:
    if not vectorizer.vocabulary_ or not len(texts):
        return sparse.csr_array((len(texts), len(vectorizer.vocabulary_)), dtype=np.float32)
    return sparse.csr_array(vectorizer.transform(texts))


def _commonest(counts: Any) -> np.ndarray:
    """Columns found in the most rows, at most `MOST`, in their order."""
    found = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.sort(np.argsort(-found, kind="stable")[:MOST])
