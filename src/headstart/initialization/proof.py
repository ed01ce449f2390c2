"""The proof of an initialization: both sides give the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UsageError

__all__ = ["TOLERANCE", "equal_outputs"]

TOLERANCE = 1e-4
"""Largest difference of two outputs that counts as rounding, relative to the largest value."""


def equal_outputs(target: nn.Module, source: nn.Module | None, prove: Any) -> str:
    """Runs both sides in evaluation mode; returns how well they agree, as a sentence.

    Args:
        target: The initialized module.
        source: The module it was initialized from.
        prove: A function of a module that returns a tensor, or a batch for both.

    Raises:
        UsageError: If there is no source module to run, or the outputs differ.
    """
    if source is None:
        raise UsageError("prove= compares two modules, and the source is only a table of tensors. Give a module.")
    run: Callable[[nn.Module], Any] = prove if _is_function(prove) else lambda module: _call(module, prove)
    with _evaluating(target), _evaluating(source):
        got, wanted = _first(run(target)), _first(run(source))
    if got.shape != wanted.shape:
        raise UsageError(
            f"the outputs differ in shape: {tuple(got.shape)} of the target, {tuple(wanted.shape)} of the source. "
            "Give prove= a function that picks outputs which should be equal."
        )
    gap = float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp_min(1e-12))
    if not gap <= TOLERANCE:
        raise UsageError(
            f"the target's outputs differ from the source's by {gap:.2g} of their size, {TOLERANCE:g} is allowed: "
            "the tensors were matched wrongly, or the two compute something else. The target was left as it was."
        )
    return f"outputs equal the source's to {gap:.1g}"


def _is_function(prove: Any) -> bool:
    return callable(prove) and not isinstance(prove, (Tensor, Mapping))


def _call(module: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch) if isinstance(batch, tuple) else module(batch)


def _first(outputs: Any) -> Tensor:
    """The first tensor of what a module gives."""
    if isinstance(outputs, Tensor):
        return outputs
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    return next(value for value in values if isinstance(value, Tensor))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [one for one in module.modules() if one.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for one in training:
            one.training = True
