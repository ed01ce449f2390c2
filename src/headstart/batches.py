"""Batches: which rows a step sees, cutting and moving them, and what a function says of all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from headstart import runtime
from headstart.recipe import Feed, Recipe
from headstart.types import FloatArray, IndexArray

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["embedded", "outputs_of", "part_of", "positions_of", "to_device"]

BUCKETS = 8
"""Batches that are sorted by length together, so that little of a batch is padding."""
PASS = 100
"""Tokens that a pass through an encoder costs on top of its own, on a CPU: as long as starting every layer takes."""


def positions_of(step: int, codes: np.ndarray, sizes: IndexArray, recipe: Recipe, seed: int) -> IndexArray:
    """The rows of a step: every epoch is shuffled anew, and rows of like length share a batch.

    Args:
        step: From 0.
        codes: Targets of the N rows.
        sizes: (N,) their lengths.
        recipe: Size and kind of batches.
        seed: Of the training.
    """
    rows, size = len(codes), min(recipe.batch, len(codes))
    if recipe.classes_a_batch:
        return _mixed(codes, recipe.classes_a_batch, size, np.random.default_rng((seed, step)))
    epoch, number = divmod(step, max(1, rows // size))
    rng = np.random.default_rng((seed, 7, epoch))
    order = rng.permutation(rows)
    blocks = np.arange(rows) // (BUCKETS * size)
    order = order[np.lexsort((sizes[order], blocks))]
    return np.sort(order[rng.permutation(max(1, rows // size))[number] * size :][:size])


def _mixed(codes: np.ndarray, classes: int, size: int, rng: np.random.Generator) -> IndexArray:
    """Positions of about ``size`` rows of ``classes`` random classes, as many of each as there are."""
    present = np.unique(codes)
    drawn = rng.permutation(present)[: min(classes, len(present))]
    each = max(2, size // len(drawn))
    rows = [rng.permutation(np.flatnonzero(codes == code))[:each] for code in drawn]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def part_of(inputs: Any, rows: IndexArray) -> Any:
    """Some rows of a model input: a tensor, or tensors (or None) by name or in a tuple."""
    if isinstance(inputs, Mapping):
        return {name: part_of(value, rows) for name, value in inputs.items()}
    if isinstance(inputs, tuple):
        parts = [part_of(value, rows) for value in inputs]
        return tuple(parts) if type(inputs) is tuple else type(inputs)(*parts)
    return None if inputs is None else inputs[torch.from_numpy(rows)]


def to_device(inputs: Any, device: str, dtype: torch.dtype | None = None) -> Any:
    """A batch, moved; a single tensor, which holds images, also to a type where one is given."""
    if isinstance(inputs, Mapping):
        return {name: None if value is None else value.to(device) for name, value in inputs.items()}
    return inputs.to(device=device) if dtype is None else inputs.to(device=device, dtype=dtype)


def embedded(model: TargetModel, inputs: Any) -> Tensor:
    """The model's embedding of every row, ``(N, D)`` float32.

    On a CPU, texts of like length share a pass, so that little of it is padding: where a batch is drawn by class, two
    thirds would be (Banking77).
    """
    mask = inputs.get("mask") if isinstance(inputs, Mapping) else None
    if mask is None or mask.device.type != "cpu":
        return model.backbone.embeddings(inputs)[model.layer]
    lengths = mask.sum(1).numpy()
    order = np.argsort(-lengths, kind="stable")
    parts = [order[first:last] for first, last in _passes(lengths[order])]
    found = [model.backbone.embeddings(_trimmed(inputs, rows, lengths[rows]))[model.layer] for rows in parts]
    return torch.cat(found)[torch.from_numpy(np.argsort(order))]


def _passes(lengths: IndexArray) -> list[tuple[int, int]]:
    """Ends of the cheapest passes over rows of these falling lengths: each costs its padded tokens, and `PASS`."""
    rows = np.arange(len(lengths))
    costs, begins = np.zeros(len(lengths) + 1), np.zeros(len(lengths) + 1, np.int64)
    for end in range(1, len(lengths) + 1):
        tried = costs[:end] + lengths[:end] * (end - rows[:end]) + PASS
        begins[end], costs[end] = tried.argmin(), tried.min()
    found, end = [], len(lengths)
    while end:
        found.append((int(begins[end]), end))
        end = int(begins[end])
    return found[::-1]


def _trimmed(inputs: Mapping[str, Any], rows: IndexArray, lengths: IndexArray) -> dict[str, Any]:
    """Some rows of a batch of texts, of these falling lengths, no longer than the first of them."""
    longest = max(1, int(lengths[0]))
    part = {name: None if value is None else value[:, :longest] for name, value in part_of(inputs, rows).items()}
    return part if lengths[-1] < longest else part | {"mask": None}


@torch.no_grad()
def outputs_of(function: Callable[[Any], Tensor], feed: Feed, rows: int, batch: int = 64) -> FloatArray:
    """``function`` of every example ``(rows, ...)`` in batches of like length, as float32."""
    order = np.argsort(feed.sizes, kind="stable")
    device, precision = runtime.device(), torch.bfloat16 if runtime.fast_bfloat16() else torch.float32
    found: list[FloatArray] = []
    with torch.autocast(device, precision, enabled=precision != torch.float32):
        for first in range(0, rows, batch):
            inputs = to_device(feed.batch(order[first : first + batch], None), device)
            found.append(function(inputs).float().cpu().numpy())
    joined = np.concatenate(found)
    result = np.empty_like(joined)
    result[order] = joined
    return result
