"""Knowing when not to answer: conformal sets and intervals, and accuracy against coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.calibration import probabilities
from headstart.types import FloatArray, Problem

__all__ = ["LEVEL", "abstention", "covered", "members", "threshold"]

LEVEL = 0.9
"""Coverage that the sets are made for."""


def threshold(logits: FloatArray, targets: NDArray[Any], problem: Problem, level: float = LEVEL) -> float | None:
    """What a label's probability must reach to be in the set; for regression half the width of the interval.

    Split conformal prediction with the score 1 - p(label) (Sadinle, Lei and Wasserman 2019), or the absolute
    error: of N rows that the model did not learn from, the ceil((N + 1) level)-th smallest score. Where rows
    to come are like these, sets cover with at least this probability, whatever the model.

    Args:
        logits: Calibrated, ``(N, C)``; regression: the values ``(N, 1)``.
        targets: Classes or values ``(N,)``.
        problem: Classification or regression.
        level: Coverage, in (0, 1).

    Returns:
        None for several labels a row, or where N is too small for the level: below 1/(1 - level) - 1 rows.
    """
    rank = int(np.ceil((len(targets) + 1) * level))
    if problem == "multilabel" or rank > len(targets):
        return None
    if problem == "regression":
        return float(np.sort(np.abs(np.asarray(logits, np.float64)[:, 0] - targets))[rank - 1])
    chances = probabilities(logits, problem)[np.arange(len(targets)), np.asarray(targets, np.int64)]
    return float(np.sort(chances)[len(targets) - rank])


def members(chances: FloatArray, least: float) -> NDArray[np.bool_]:
    """Which labels are in each set ``(N, C)``: the likeliest, and all whose probability is at least ``least``."""
    return np.asarray((chances >= least) | (chances == chances.max(axis=1, keepdims=True)))


def covered(
    logits: FloatArray, targets: NDArray[Any], problem: Problem, least: float
) -> tuple[NDArray[np.bool_], float]:
    """Which targets ``(N,)`` are in their sets, and the mean size: labels in a set, or width of an interval."""
    if problem == "regression":
        return np.asarray(np.abs(np.asarray(logits, np.float64)[:, 0] - targets) <= least), 2 * least
    inside = members(probabilities(logits, problem), least)
    return inside[np.arange(len(targets)), np.asarray(targets, np.int64)], float(inside.sum(axis=1).mean())


def abstention(confidence: FloatArray, right: NDArray[np.bool_], points: int = 50) -> tuple[FloatArray, FloatArray]:
    """Accuracy of the surest rows: shares of the rows that are answered ``(K,)``, ascending, and accuracy ``(K,)``.

    Rows of equal confidence are answered together, so that their order cannot flatter.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    kept = last[np.unique(np.linspace(0, len(last) - 1, min(points, len(last))).round().astype(np.int64))]
    answered = kept + 1
    return answered / len(confidence), np.cumsum(right[order])[kept] / answered
