"""A source's tokenizer: ``tokenizer.json`` alone, checked to give no number that the model has no vector for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headstart.errors import BundleRefused
from headstart.safety import TOKENIZER_LIMIT, TOKENIZER_VALUES, strict_json
from headstart.sources.hf.folder import ModelFolder

__all__ = ["checked_tokenizer"]

NAME = "tokenizer.json"


def checked_tokenizer(folder: ModelFolder, vocabulary: int) -> bytes:
    """The bytes of ``tokenizer.json``.

    Args:
        folder: Where it lies.
        vocabulary: Number of vectors in the model's table of tokens.

    Raises:
        BundleRefused: If it is not strict JSON, or can give a token number of ``vocabulary`` or more.
    """
    data = folder.read(NAME, TOKENIZER_LIMIT)
    found = strict_json(data, NAME, TOKENIZER_LIMIT, TOKENIZER_VALUES)
    largest = max(_numbers(found), default=-1)
    if largest >= vocabulary:
        raise BundleRefused(f"{NAME} gives the token number {largest:,}, and the model has only {vocabulary:,} tokens")
    return data


def _numbers(tokenizer: dict[str, Any]) -> Iterator[int]:
    """Every token number that a tokenizer can give, as far as it is one; its library checks the rest."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from (number for number in vocabulary.values() if type(number) is int)
    elif isinstance(vocabulary, list):
        yield len(vocabulary) - 1
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and type(token.get("id")) is int:
            yield token["id"]
    yield from _whole_numbers(tokenizer.get("post_processor"))


def _whole_numbers(value: Any) -> Iterator[int]:
    """Numbers of tokens (and of text types, which are smaller) that a post-processor puts around a text."""
    if type(value) is int:
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(item)
