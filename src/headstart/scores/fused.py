"""The fused score: what the rows say, in standard errors, and the prior on one scale, added up.

Of the sums that ``benchmarks/ranking.py`` tries, this one orders sources best. Ridge leave-one-out and LogME ask how
well a linear head does on the embeddings as they are; nearest neighbours tell better which source does best once it is
tuned, and the mean of both losses better than either.
"""

from __future__ import annotations

import numpy as np

from headstart.calibration import standard_error
from headstart.types import FloatArray, IndexArray

__all__ = ["ALIKE", "fuse", "noise", "rank_intervals"]

ALIKE = 1e-3
"""Losses that differ by less (nats, or shares of the variance) are alike, however sure the difference is."""
SPREAD = 0.05
"""Least standard deviation of priors (published accuracies): two points of them hardly say which source is better."""
CLEAR = 3.0
"""Standard errors of a difference in loss that weigh as much as one standard deviation of the priors."""


def fuse(scores: FloatArray, priors: FloatArray, error: float) -> FloatArray:
    """How far each source is ahead of the mean, ``(..., S)``; higher is better.

    The clearer the rows tell sources apart, the more they decide; where they do not, the prior does. A source
    without a prior counts as average: it is neither rewarded nor punished.

    Args:
        scores: (..., S) negated mean losses of S sources; leading axes are draws of rows.
        priors: (S,), NaN where none is known.
        error: Standard error of a difference between two of ``scores``, see `noise`; at least `ALIKE` counts.
    """
    ahead = (scores - scores.mean(-1, keepdims=True)) / (CLEAR * max(error, ALIKE))
    return np.asarray(ahead + _standing(priors))


def _standing(priors: FloatArray) -> FloatArray:
    """Distance to the mean ``(S,)`` in standard deviations, of `SPREAD` at least; 0 where fewer than two are known."""
    known = ~np.isnan(priors)
    if known.sum() < 2:
        return np.zeros_like(priors)
    return np.where(known, (priors - np.nanmean(priors)) / max(float(np.nanstd(priors)), SPREAD), 0.0)


def noise(losses: FloatArray) -> float:
    """Typical standard error of the difference between a source's mean loss and the best; of losses ``(S, N)``."""
    best = losses.mean(1).argmin()
    errors = [standard_error(row - losses[best]) for at, row in enumerate(losses) if at != best]
    return float(np.median(errors)) if errors else 0.0


def rank_intervals(
    losses: FloatArray, priors: FloatArray, seed: int, draws: int = 1000, level: float = 0.9
) -> tuple[IndexArray, IndexArray]:
    """Lowest and highest rank ``(S,)`` by the fused score, 1 the best, when rows are drawn again.

    A percentile bootstrap. Priors stay as they are.

    Args:
        losses: (S, N) losses of S sources on the same rows.
        priors: (S,), NaN where none is known.
        seed: Decides the draws.
        draws: Number of draws.
        level: Share of the draws whose ranks lie inside.
    """
    sources, rows = losses.shape
    weights = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), draws) / rows
    scores = fuse(-weights @ losses.T, priors, noise(losses))
    ranks = (scores[:, None, :] > scores[:, :, None]).sum(2) + 1
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=0, method="inverted_cdf").astype(np.int64).reshape(2, sources)
    return low, high
