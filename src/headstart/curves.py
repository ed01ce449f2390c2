"""Learning curves: nested subsets, curves that do not fall, what labels are worth. NumPy alone.

Values are oriented so that higher is better, and given for B draws at a time: ``(S, B)`` for S sizes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.types import FloatArray, IndexArray

__all__ = ["FRACTIONS", "above", "monotone", "nested", "rows_for", "sizes", "times_the_labels"]

FRACTIONS = (0.125, 0.25, 0.5, 1.0)
"""Shares of the training rows that a learning curve is measured at."""
FEWEST = 8
EXPONENTS = np.geomspace(0.1, 2.0, 25)
"""Values tried for c in a - b n^-c."""


def sizes(rows: int, outputs: int) -> tuple[int, ...]:
    """Numbers of rows at `FRACTIONS`, ascending, all of them last; without those too small to learn from."""
    least = min(rows, max(FEWEST, 2 * outputs))
    return tuple(sorted({size for share in FRACTIONS if (size := round(rows * share)) >= least} | {rows}))


def nested(targets: NDArray[np.generic], seed: int) -> IndexArray:
    """Positions ``(N,)`` in an order of which every beginning is a subset that holds the classes in proportion.

    The first of each class come first of all, so that even a small subset knows every class.
    Targets that are no classes are taken in random order.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if targets.dtype.kind not in "iu" or targets.ndim > 1:
        return order
    drawn = targets[order]
    turn = np.empty(len(order), np.int64)
    for label in np.unique(drawn):
        turn[drawn == label] = np.arange(int((drawn == label).sum()))
    _, inverse, counts = np.unique(drawn, return_inverse=True, return_counts=True)
    place = np.where(turn == 0, -1.0, (turn + 0.5) / counts[inverse])
    return order[np.argsort(place, kind="stable")]


def monotone(values: FloatArray) -> FloatArray:
    """Curves ``(S, B)`` that never fall, closest in squares: isotonic regression along the sizes (max-min formula)."""
    steps = len(values)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    found = np.empty_like(values, np.float64)
    for at in range(steps):
        lower = [
            np.min([(sums[end] - sums[first]) / (end - first) for end in range(at + 1, steps + 1)], axis=0)
            for first in range(at + 1)
        ]
        found[at] = np.max(lower, axis=0)
    return found


def rows_for(level: FloatArray, rows: tuple[int, ...], values: FloatArray) -> FloatArray:
    """Labels ``(B,)`` at which rising curves ``(S, B)`` reach a level ``(B,)``: straight lines over log rows.

    NaN below the curve's beginning: the level is reached with fewer labels than were tried;
    infinite above its end.
    """
    logs = np.log(np.asarray(rows, np.float64))
    begun = values[0] > level if len(rows) == 1 else values[0] >= level
    found = np.where(begun, np.nan, np.where(values[0] >= level, logs[0], np.inf))
    for at in range(1, len(rows)):
        low, high = values[at - 1], values[at]
        share = np.divide(level - low, high - low, out=np.zeros_like(level), where=high > low)
        here = np.isinf(found) & (low < level) & (level <= high)
        found = np.where(here, logs[at - 1] + share * (logs[at] - logs[at - 1]), found)
    return np.asarray(np.exp(found))


def times_the_labels(
    rows: tuple[int, ...], transfer: FloatArray, other_rows: tuple[int, ...], other: FloatArray
) -> tuple[FloatArray, NDArray[np.int8]]:
    """How many times the labels of the transfer another arm needs for the best level that both reach.

    Args:
        rows: Sizes of the transfer's curve, ascending.
        transfer: ``(S, B)``, rising.
        other_rows: Sizes of the other curve; a single one will do.
        other: ``(T, B)``, rising.

    Returns:
        The ratio ``(B,)``, and ``(B,)``: 1 where it is a lower bound (the transfer is better than that with
        its fewest labels already), -1 where an upper one (the other is), else 0.
    """
    level = np.minimum(transfer[-1], other[-1])
    own, theirs = rows_for(level, rows, transfer), rows_for(level, other_rows, other)
    bound = (np.isnan(own).astype(np.int8) - np.isnan(theirs)).astype(np.int8)
    own, theirs = np.where(np.isnan(own), rows[0], own), np.where(np.isnan(theirs), other_rows[0], theirs)
    return np.asarray(theirs / own), bound


def above(rows: tuple[int, ...], values: FloatArray, at: int) -> FloatArray | None:
    """How much better than now ``(B,)`` the curves a - b n^-c through ``(S, B)``, b >= 0, are at ``at`` rows.

    Least squares for a and b at every exponent of a grid. None for fewer than three sizes.

    Raises:
        ValueError: If ``at`` is more than twice the rows there are: no curve is known that far.
    """
    if at > 2 * rows[-1]:
        raise ValueError(f"{at} rows are more than twice {rows[-1]}")
    if len(rows) < 3:
        return None
    sizes_ = np.asarray(rows, np.float64)
    mean = values.mean(axis=0)
    best, gain = np.full(values.shape[1], np.inf), np.zeros(values.shape[1])
    for exponent in EXPONENTS:
        power = -(sizes_**-exponent)
        centred = power - power.mean()
        slope = np.maximum(0.0, centred @ (values - mean) / (centred @ centred))
        missed = ((values - mean - centred[:, None] * slope) ** 2).sum(axis=0)
        better = missed < best
        best = np.where(better, missed, best)
        gain = np.where(better, slope * (sizes_[-1] ** -exponent - float(at) ** -exponent), gain)
    return gain
