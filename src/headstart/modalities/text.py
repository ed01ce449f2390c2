"""Texts to batches: tokenize, group by exact length, so that nothing is padded.

A text's embedding then depends on the text alone, not on the texts it shares a batch with.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.errors import BundleRefused
from headstart.types import IndexArray, InputSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextFeed", "TextPipeline"]

TOKENS_PER_BATCH = 4096
FEWEST_TOKENS = 32
"""Smaller batches are filled up with copies: matrix libraries multiply a few rows in another order of sums."""
CHUNK = 8192
"""Texts tokenized at a time."""


class TextPipeline:
    """The preprocessing of one text source.

    Args:
        spec: Longest sequence, special tokens and prompt.
        assets: Holds ``tokenizer.json``, the whole tokenizer as data.

    Raises:
        BundleRefused: If the tokenizer is missing or cannot be read.
    """

    def __init__(self, spec: InputSpec, assets: Mapping[str, bytes]) -> None:
        from tokenizers import Tokenizer

        if "tokenizer.json" not in assets:
            raise BundleRefused("a text source needs its tokenizer.json, and this one has none")
        document = assets["tokenizer.json"]
        with _refusals("cannot be read"):
            self._tokenizer = Tokenizer.from_buffer(document)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(spec.max_tokens)
        self._special = spec.special_tokens
        self._prompt = spec.prompt
        digest = hashlib.sha256(document).hexdigest()
        self.fingerprint = f"text {digest} {spec.max_tokens} {spec.special_tokens} {spec.prompt!r}"

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each text after the source's prompt, truncated.

        Raises:
            BundleRefused: If the tokenizer does not do what it says, such as naming an unknown-word token it lacks.
        """
        return [encoding.ids for encoding in self._encoded(texts)]

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        prompted = [self._prompt + text for text in texts]
        with _refusals("fails on a text"):
            return self._tokenizer.encode_batch_fast(prompted, add_special_tokens=self._special)

    def beyond(self, texts: Sequence[str]) -> IndexArray:
        """How many tokens of each text are cut off, (N,)."""
        lost = [
            sum(len(part.ids) - sum(part.special_tokens_mask) for part in encoding.overflowing)
            for encoding in self._encoded(texts)
        ]
        return np.array(lost, np.int64)

    def parts(self, inputs: Sequence[Any]) -> Iterator[tuple[IndexArray, Callable[[], dict[str, Tensor | None]]]]:
        """Positions in ``inputs``, and what makes their batch; texts of one token count share a batch."""
        for start in range(0, len(inputs), CHUNK):
            tokens = self.tokens(inputs[start : start + CHUNK])
            lengths = np.array([len(ids) for ids in tokens], np.int64)
            order = np.argsort(-lengths, kind="stable")
            for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
                size = max(1, TOKENS_PER_BATCH // max(1, int(lengths[same[0]])))
                for first in range(0, len(same), size):
                    part = same[first : first + size]
                    yield part + start, partial(_batch, [tokens[i] for i in part])

    def feed(self, inputs: Sequence[Any]) -> TextFeed:
        """The texts for training, tokenized once."""
        return TextFeed(self.tokens(inputs))


def _batch(tokens: Sequence[Sequence[int]]) -> dict[str, Tensor | None]:
    """Texts of equal length."""
    import torch

    ids = torch.tensor(tokens, dtype=torch.long).reshape(len(tokens), len(tokens[0]))
    return {"ids": ids.repeat(-(-FEWEST_TOKENS // max(1, ids.numel())), 1), "mask": None}


class TextFeed:
    """Tokenized texts; a batch is padded to its longest.

    Args:
        tokens: Token numbers of N texts.
    """

    def __init__(self, tokens: Sequence[Sequence[int]]) -> None:
        self._tokens = tokens
        self.sizes: IndexArray = np.array([len(ids) for ids in tokens], np.int64)

    def batch(self, positions: IndexArray, rng: np.random.Generator | None) -> dict[str, Tensor | None]:  # noqa: ARG002
        """``ids`` and ``mask`` ``(N, L)``, the mask None where nothing is padded; texts are never varied."""
        import torch

        lengths = self.sizes[positions]
        longest = max(1, int(lengths.max(initial=1)))
        ids = np.zeros((len(positions), longest), np.int64)
        for number, position in enumerate(positions):
            ids[number, : lengths[number]] = self._tokens[position]
        mask = None if (lengths == longest).all() else torch.from_numpy(np.arange(longest) < lengths[:, None])
        return {"ids": torch.from_numpy(ids), "mask": mask}


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Refuses a tokenizer that its library fails on; its Rust errors are plain Exception, its panics not even that."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleRefused(f"tokenizer.json {what}: {error}") from error
