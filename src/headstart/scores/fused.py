"""The fused score: leave-one-out, LogME and the prior on one scale, added up."""

from __future__ import annotations

import numpy as np

from headstart.calibration import standard_error
from headstart.types import FloatArray, IndexArray

__all__ = ["ALIKE", "fuse", "noise", "rank_intervals", "standing"]

ALIKE = 1e-3
"""Losses that differ by less (nats, or shares of the variance) are alike, however sure the difference is."""
POINT = 0.01
"""Priors (published accuracies) that differ by less say nothing about which source is better."""


def fuse(loo: FloatArray, logme: FloatArray, priors: FloatArray, error: float) -> FloatArray:
    """Sum of standings in leave-one-out score, LogME and prior ``(..., S)``; means 0, higher is better.

    z-scores alone would blow the smallest difference between two sources up to plus and minus one. So what the
    data say counts in full only where sources differ by more than the rows can blur, and where they do
    not, the prior decides. A source without a prior counts as average: it is neither rewarded nor punished.

    Args:
        loo: (..., S) leave-one-out scores of S sources; leading axes are draws of rows.
        logme: (S,).
        priors: (S,), NaN where none is known.
        error: Standard error of a difference between two of ``loo``, see `noise`; at least `ALIKE` counts.
    """
    error = max(error, ALIKE)
    clarity = min(1.0, float(np.std(loo, axis=-1).mean()) / error)
    return standing(loo, error) + clarity * standing(logme) + standing(priors, POINT)


def standing(values: FloatArray, least: float = 0.0) -> FloatArray:
    """Distance to the mean ``(..., S)`` in standard deviations, or in units of ``least`` where that is more.

    0 where a value is NaN, and everywhere where fewer than two are known.

    >>> standing(np.array([1.0, 3.0, np.nan]))
    array([-1.,  1.,  0.])
    """
    known = ~np.isnan(values)
    if known.sum(-1).min() < 2:
        return np.zeros_like(values)
    spread = np.maximum(np.nanstd(values, axis=-1, keepdims=True), max(least, np.finfo(np.float64).tiny))
    return np.where(known, (values - np.nanmean(values, axis=-1, keepdims=True)) / spread, 0.0)


def noise(losses: FloatArray) -> float:
    """Typical standard error of the difference between a source's mean loss and the best; of losses ``(S, N)``."""
    best = losses.mean(1).argmin()
    errors = [standard_error(row - losses[best]) for at, row in enumerate(losses) if at != best]
    return float(np.median(errors)) if errors else 0.0


def rank_intervals(
    losses: FloatArray,
    logme: FloatArray,
    priors: FloatArray,
    seed: int,
    draws: int = 1000,
    level: float = 0.9,
) -> tuple[IndexArray, IndexArray]:
    """Lowest and highest rank ``(S,)`` by the fused score, 1 the best, when rows are drawn again.

    A percentile bootstrap.

    LogME and priors stay as they are: only the leave-one-out part knows what each row adds to it.

    Args:
        losses: (S, N) leave-one-out losses of S sources on the same rows.
        logme: (S,).
        priors: (S,), NaN where none is known.
        seed: Decides the draws.
        draws: Number of draws.
        level: Share of the draws whose ranks lie inside.
    """
    sources, rows = losses.shape
    weights = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), draws) / rows
    scores = fuse(-weights @ losses.T, logme, priors, noise(losses))
    ranks = (scores[:, None, :] > scores[:, :, None]).sum(2) + 1
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=0, method="inverted_cdf").astype(np.int64).reshape(2, sources)
    return low, high
