"""LogME, corrected: the log evidence of a Bayesian linear model (You et al. 2021, "LogME", section 4).

A column of targets ``y = F w + noise`` with ``w ~ N(0, I / alpha)`` and noise of variance ``1 / beta`` has

    ln p(y | F) = D/2 ln(alpha) + n/2 ln(beta) - n/2 ln(2 pi) - beta/2 ||F m - y||^2 - alpha/2 ||m||^2
                  - 1/2 [sum_k ln(alpha + beta s_k) + (D - k) ln(alpha)]

with k <= min(n, D) squared singular values s_k of F. The code that most packages copy leaves out the last
term, ``-(D - k)/2 ln(alpha)``, so that with fewer rows than dimensions it returns something that is no log
evidence at all. Here alpha and beta are maximised by their ratio r = alpha / beta alone. At the best beta
for a ratio the formula becomes

    -n/2 [ln(2 pi) + 1 + ln(misfit / n)] - 1/2 sum_k ln(1 + s_k / r),   misfit = y' (I + F F' / r)^-1 y,

in which D does not occur, and with it no term that could be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.scores import Score, indicators, principal
from headstart.types import FloatArray, Problem

__all__ = ["SCORE", "evidence", "score"]

GRID = 61
"""Ratios to begin from: three a decade, from 1e-12 to 1e8 times the largest squared singular value."""
GOLDEN = (5**0.5 - 1) / 2


def score(embeddings: FloatArray, targets: np.ndarray, problem: Problem) -> float:
    """Mean log evidence a row and target column, in nats.

    Classes are 0/1 columns. Values are standardised, so that their unit makes no difference.
    """
    if problem == "regression":
        values = np.asarray(targets, np.float64)
        columns = ((values - values.mean()) / (values.std() or 1.0))[:, None]
    elif problem == "multilabel":
        columns = np.asarray(targets, np.float64)
    else:
        columns = indicators(np.unique(targets, return_inverse=True)[1].astype(np.int64))
    return float(evidence(embeddings, columns).mean())


def evidence(embeddings: FloatArray, columns: FloatArray) -> FloatArray:
    """Largest log evidence of each column, over alpha and beta, divided by the number of rows: ``(C,)``.

    Args:
        embeddings: (N, D), as they are: neither centred nor scaled.
        columns: (N, C) targets.
    """
    rows = len(columns)
    components, values = principal(np.asarray(embeddings, np.float64), center=False)
    squares = (components.T @ columns) ** 2 / values[:, None]
    total = (columns**2).sum(0)
    outside = np.maximum(total - squares.sum(0), 0.0)
    # Below this, a misfit is rounding noise: without a floor the evidence of a perfect fit is infinite.
    floor = np.maximum(total, 1.0) * rows * np.finfo(np.float64).eps

    def at(log_ratio: FloatArray) -> FloatArray:
        ratio = np.exp(log_ratio)
        misfit = np.maximum(outside + (squares * (ratio / (values[:, None] + ratio))).sum(0), floor)
        spread = np.log1p(values[:, None] / ratio).sum(0)
        return np.asarray(-0.5 * (np.log(2 * np.pi) + 1 + np.log(misfit / rows) + spread / rows))

    start = np.log(values.max(initial=0.0) or 1.0)
    grid = start + np.log(10) * np.linspace(-12, 8, GRID)
    best = np.array([at(np.full(columns.shape[1], one)) for one in grid]).argmax(0)
    return _climb(at, grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)])


def _climb(at: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Largest value of each column's function between two bounds ``(C,)``, by golden sections."""
    for _ in range(40):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        rising = at(left) < at(right)
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    return at((low + high) / 2)


SCORE = Score(score)
