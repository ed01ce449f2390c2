"""Texts to batches."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import BundleRefused
from headstart.features import made
from headstart.modalities import text
from headstart.modalities.text import TextPipeline
from headstart.types import InputSpec


@pytest.fixture(scope="module")
def document():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(["[UNK]", "a", "b", "c"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=99)
    return tokenizer.to_str().encode()


def pipeline(document, most=5):
    return TextPipeline(InputSpec(max_tokens=most), {"tokenizer.json": document})


def test_every_text_is_in_one_batch_of_its_own_length(document, monkeypatch):
    monkeypatch.setattr(text, "CHUNK", 7)
    monkeypatch.setattr(text, "TOKENS_PER_BATCH", 8)
    texts = [" ".join("abc"[(i + j) % 3] for j in range(i % 6)) for i in range(20)]
    seen = []
    for positions, batch in map(made, pipeline(document).parts(texts)):
        assert batch["mask"] is None
        assert batch["ids"].numel() >= text.FEWEST_TOKENS or batch["ids"].shape[1] == 0
        for position, ids in zip(positions, batch["ids"].tolist(), strict=False):
            assert ids == [{"a": 1, "b": 2, "c": 3}[word] for word in texts[position].split()][:5]
        seen.extend(positions.tolist())
    assert sorted(seen) == list(range(20))


def test_long_texts_are_truncated_and_the_tokenizer_s_own_padding_is_off(document):
    assert list(map(len, pipeline(document, 3).tokens(["a b c a b c", "a"]))) == [3, 1]


def test_the_fingerprint_sees_tokenizer_and_length(document):
    other = document.replace(b'"c":3', b'"d":3')
    assert len({pipeline(document).fingerprint, pipeline(document, 4).fingerprint, pipeline(other).fingerprint}) == 3


@pytest.mark.parametrize("assets", [{}, {"tokenizer.json": b"{}"}, {"tokenizer.json": b"\x80\x04"}])
def test_a_missing_or_broken_tokenizer_is_refused(assets):
    with pytest.raises(BundleRefused, match=r"tokenizer\.json"):
        TextPipeline(InputSpec(max_tokens=5), assets)


def test_positions_are_int64(document):
    positions, _ = next(map(made, pipeline(document).parts(["a"])))
    assert positions.dtype == np.int64
