"""Heads in closed form or by convex fits: embeddings and targets in, one calibrated linear map out.

A head is a `Head`: its ``fit`` is deterministic, never mutates its arguments, and follows

    fit(embeddings, targets, folds, problem, outputs, start) -> FittedHead

- ``embeddings`` ``(N, D)`` float32, of labelled training rows only;
- ``targets``: classes ``(N,)`` int64, labels ``(N, outputs)`` bool, or values ``(N,)`` float64;
- ``folds`` ``(N,)``: rows that share a number are left out together (groups, duplicates). None lets the
  head choose: leave-one-out where that is exact and free, stratified folds otherwise;
- ``outputs``: number of logits. A class without any example keeps its logit;
- ``start``: a head fitted to the very same rows, to begin from, or None.

It raises `headstart.errors.DataError` for rows it cannot use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from headstart.calibration import standard_error
from headstart.errors import UsageError, unknown_name
from headstart.registry import Registry
from headstart.ridge import Selection
from headstart.types import FloatArray, IndexArray, LinearHead, Problem

__all__ = ["HEADS", "FittedHead", "Head", "applicable", "best", "best_layer", "whole_folds"]

HEADS = Registry(
    "head",
    {
        "ridge": "headstart.heads.ridge:HEAD",
        "logistic": "headstart.heads.logistic:HEAD",
    },
)

MANY_ROWS = 20_000
LARGE = 1 << 24
"""Numbers of a layer's embeddings (10,000 rows of 1,536) from which on a layer wider than the first is not tried:
fits would take minutes and gigabytes."""


@dataclass(frozen=True)
class FittedHead:
    """A head with the evidence for it: predictions of every row by a fit that did not see its fold."""

    head: LinearHead
    out_of_fold: FloatArray
    """(N, outputs) float64 logits, divided by the temperature; for regression the predicted values."""
    losses: FloatArray
    """(N,) losses of ``out_of_fold``, see `headstart.calibration.log_losses`."""
    selection: Selection | None = field(default=None, repr=False, compare=False)
    """The ridge behind it, factored embeddings included, for a head that starts from this one."""

    @property
    def loss(self) -> float:
        """Mean out-of-fold loss: nats, or the share of the variance that is left unexplained."""
        return float(self.losses.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of `loss`; infinite for a single row."""
        return standard_error(self.losses)


class Fit(Protocol):
    """The contract of a head, see the module's docstring."""

    def __call__(
        self,
        embeddings: FloatArray,
        targets: np.ndarray,
        folds: IndexArray | None,
        problem: Problem,
        outputs: int,
        start: FittedHead | None = None,
    ) -> FittedHead:
        """Fits the head."""


@dataclass(frozen=True)
class Head:
    """An entry of the table of heads."""

    fit: Fit
    problems: tuple[Problem, ...] = ("classification", "multilabel", "regression")


def applicable(problem: Problem) -> tuple[str, ...]:
    """Names of the heads that can learn this problem, ridge first."""
    names = (name for name, head in HEADS.items() if problem in head.problems)
    return tuple(sorted(names, key=lambda name: name != "ridge"))


def best(
    embeddings: FloatArray,
    targets: np.ndarray,
    folds: IndexArray | None,
    problem: Problem,
    outputs: int,
    names: Iterable[str] | None = None,
    ridge: FittedHead | None = None,
) -> FittedHead:
    """Fits every head on the same folds and returns the one with the lowest mean out-of-fold loss.

    Ridge comes first, unless ``ridge`` is it already, and the others begin where it ended. Several heads are compared
    on the same few folds (`whole_folds`); a single one gets ``folds`` as they are.

    Raises:
        UsageError: If a name is not applicable to this problem.
        DataError: If embeddings or targets cannot be used.
    """
    valid = applicable(problem)
    asked = valid if names is None else tuple(names)
    if unknown := [name for name in asked if name not in valid]:
        raise unknown_name(f"head for {problem}", unknown[0], valid)
    if not asked:
        raise UsageError(f"no head was asked for. Valid: {', '.join(valid)}")
    shared = whole_folds(folds, targets) if len(asked) > 1 else folds
    fitted = [ridge] if ridge else []
    for name in sorted(asked, key=lambda name: name != "ridge")[len(fitted) :]:
        start = fitted[0] if fitted else None
        fitted.append(HEADS[name].fit(embeddings, targets, shared, problem, outputs, start))
    return replace(min(fitted, key=lambda one: one.loss), selection=None)


def best_layer(
    layers: Mapping[str, FloatArray], targets: np.ndarray, folds: IndexArray | None, problem: Problem, outputs: int
) -> tuple[str, FittedHead]:
    """The layer whose ridge has the lowest out-of-fold loss, and the best head on it.

    Args:
        layers: Name -> embeddings; one at least.
        targets: See the module.
        folds: See the module.
        problem: See the module.
        outputs: See the module.

    Raises:
        DataError: If embeddings or targets cannot be used.
    """
    width = next(iter(layers.values())).shape[1]
    tried = {name: values for name, values in layers.items() if values.shape[1] == width or values.size < LARGE}
    shared = whole_folds(folds, targets) if len(applicable(problem)) > 1 else folds
    ridges = ((name, HEADS["ridge"].fit(values, targets, shared, problem, outputs)) for name, values in tried.items())
    name, ridge = min(ridges, key=lambda one: one[1].loss)
    return name, best(tried[name], targets, folds, problem, outputs, ridge=ridge)


def whole_folds(folds: IndexArray | None, targets: np.ndarray) -> IndexArray:
    """Few folds ``(N,)`` that a head can afford to refit for: at most 5, or 3 above 20,000 rows.

    Given folds are merged, never torn. Without any, or with a single one, rows of equal targets are dealt out in turn.
    """
    most = 5 if len(targets) <= MANY_ROWS else 3
    if folds is not None and len(np.unique(folds)) > 1:
        return np.unique(folds, return_inverse=True)[1].astype(np.int64) % most
    order = np.lexsort(targets.T) if targets.ndim > 1 else np.argsort(targets, kind="stable")
    dealt = np.empty(len(targets), np.int64)
    dealt[order] = np.arange(len(targets)) % most
    return dealt
