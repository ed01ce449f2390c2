"""Intervals and tests for paired comparisons, on NumPy and SciPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtr, ndtri, stdtr, stdtrit

from headstart.types import FloatArray

__all__ = [
    "CorrectedT",
    "Interval",
    "Statistic",
    "corrected_t",
    "detectable_gain",
    "detectable_gain_repeated",
    "holm",
    "mcnemar",
    "needed_rows",
    "paired_bootstrap",
    "resampled",
    "wilson",
]

Statistic = Callable[[FloatArray], FloatArray]
"""Row weights ``(B, N)`` -> the statistic under each weighting ``(B,)``; weights are counts that sum to N."""

JACKKNIFED = 2000
"""Rows beyond which the jackknife and the bootstrap agree."""
CHUNK = 2_000_000
"""Largest number of row weights held at once: 16 MB."""


class Interval(NamedTuple):
    """An estimate with a confidence interval; low <= high."""

    value: float
    low: float
    high: float


class CorrectedT(NamedTuple):
    """A corrected resampled t-test; ``p_value`` is two-sided."""

    value: float
    low: float
    high: float
    t: float
    p_value: float


def paired_bootstrap(
    statistic: Statistic, rows: int, *, differing: int, seed: int = 0, resamples: int = 4000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a paired difference: rows are drawn, both arms are measured on the same draw.

    Percentiles are expanded for small samples (Hesterberg 2015, "What Teachers Should Know About the
    Bootstrap", section 5.3): alpha/2 becomes Phi(-sqrt(n / (n-1)) t_{n-1, 1-alpha/2}). Up to `JACKKNIFED`
    rows the interval is stretched around the value to the jackknife's standard error where that is larger:
    of a class with few rows, draws know too little spread (benchmarks/evidence.py measures both).
    An interval always covers 0 where so few rows differ that no sign test could reject at this
    level: with d rows all in one direction its two-sided p is 2^(1-d); below 6 rows that is above 0.05.

    Args:
        statistic: The difference as a function of row weights.
        rows: N, number of test rows.
        differing: Rows on which the two arms differ in what the statistic sees.
        seed: Decides the draws.
        resamples: Number of draws.
        level: Coverage, in (0, 1).
    """
    value = float(statistic(np.ones((1, rows)))[0])
    if rows < 2:
        return Interval(value, min(value, 0.0), max(value, 0.0))
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // rows)
    sizes = [min(size, resamples - done) for done in range(0, resamples, size)]
    draws = np.concatenate([statistic(resampled(generator, count, rows)) for count in sizes])
    tail = float(ndtr(np.sqrt(rows / (rows - 1)) * stdtrit(rows - 1, (1 - level) / 2)))
    stretch = _stretch(statistic, rows, float(draws.std()))
    low, high = (value + stretch * (float(bound) - value) for bound in np.quantile(draws, [tail, 1 - tail]))
    low, high = min(low, value), max(high, value)
    if 2.0 ** (1 - differing) > 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(value, low, high)


def _stretch(statistic: Statistic, rows: int, spread: float) -> float:
    """How much larger the jackknife's standard error is than the bootstrap's; 1 where it is not."""
    if rows > JACKKNIFED or not spread:
        return 1.0
    size = max(1, CHUNK // rows)
    left_out = np.concatenate(
        [statistic(1.0 - np.eye(min(size, rows - first), rows, first)) for first in range(0, rows, size)]
    )
    return max(1.0, float(np.sqrt((rows - 1) ** 2 / rows * left_out.var(ddof=1))) / spread)


def resampled(generator: np.random.Generator, draws: int, rows: int) -> FloatArray:
    """Row weights ``(draws, rows)`` of a bootstrap: how often each row was drawn."""
    picks = generator.integers(0, rows, (draws, rows)) + rows * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float64)


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided McNemar p-value of which rows ``(N,)`` two arms get right; 1 where that never differs."""
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def wilson(successes: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; (0, 1) without rows."""
    if not rows:
        return 0.0, 1.0
    share, square = successes / rows, float(ndtri((1 + level) / 2)) ** 2 / rows
    center, reach = share + square / 2, np.sqrt(square * (share * (1 - share) + square / 4))
    return max(0.0, float((center - reach) / (1 + square))), min(1.0, float((center + reach) / (1 + square)))


def corrected_t(differences: ArrayLike, n_train: int, n_test: int, level: float = 0.95) -> CorrectedT:
    """Corrected resampled t-test of repeated cross-validation (Nadeau and Bengio 2003).

    t = mean / sqrt((1/J + n_test/n_train) s^2) with J - 1 degrees of freedom: the plain test takes
    overlapping training sets for independent ones and rejects a true null in more than half of the cases.

    Args:
        differences: ``(J,)`` paired differences, one a fold and repetition; J >= 2.
        n_train: Training rows a fold.
        n_test: Test rows a fold.
        level: Coverage of the interval, in (0, 1).
    """
    differences = np.asarray(differences, np.float64)
    count, mean = len(differences), float(differences.mean())
    error = float(np.sqrt((1 / count + n_test / n_train) * differences.var(ddof=1)))
    if error == 0:
        return CorrectedT(mean, mean, mean, float(np.sign(mean)) * np.inf if mean else 0.0, float(mean == 0))
    t = mean / error
    reach = error * float(stdtrit(count - 1, (1 + level) / 2))
    return CorrectedT(mean, mean - reach, mean + reach, t, float(2 * stdtr(count - 1, -abs(t))))


def needed_rows(gain: float, discordant: float = 0.25, power: float = 0.8, level: float = 0.95) -> float:
    """Test rows a paired comparison of two accuracies needs (Connor 1987).

    n = (z_level sqrt(p) + z_power sqrt(p - gain^2))^2 / gain^2, with p the share of rows that one
    arm alone gets right; p is at least the gain.
    """
    share = max(discordant, gain)
    z_level, z_power = float(ndtri((1 + level) / 2)), float(ndtri(power))
    return float((z_level * np.sqrt(share) + z_power * np.sqrt(max(0.0, share - gain**2))) ** 2 / gain**2)


def detectable_gain(n_test: int, discordant: float = 0.25, power: float = 0.8, level: float = 0.95) -> float | None:
    """Smallest gain in accuracy that such a test detects with this power: the inverse of `needed_rows`.

    At most 1 (no gain is sure to be detected); None without test rows.

    >>> round(detectable_gain(194), 2)
    0.1
    """
    from scipy.optimize import brentq

    if n_test <= 0:
        return None
    if needed_rows(1.0, discordant, power, level) >= n_test:
        return 1.0
    return float(brentq(lambda gain: needed_rows(gain, discordant, power, level) - n_test, 1e-9, 1.0))


def detectable_gain_repeated(
    rows: int, folds: int, repeats: int, discordant: float = 0.25, power: float = 0.8, level: float = 0.95
) -> float | None:
    """Smallest gain in accuracy that repeated cross-validation of ``rows`` rows detects by `corrected_t`.

    A fold's difference of n = rows/folds paired outcomes has the variance discordant / n, and the mean of
    J = folds * repeats of them (1/J + 1/(folds - 1)) times that (Nadeau and Bengio 2003, section 3).
    At most 1; None with fewer rows than folds.

    >>> round(detectable_gain_repeated(300, 5, 5), 2)
    0.1
    """
    count = folds * repeats
    if rows < folds or count < 2:
        return None
    error = np.sqrt((1 / count + 1 / (folds - 1)) * discordant * folds / rows)
    return min(1.0, float((stdtrit(count - 1, (1 + level) / 2) + stdtrit(count - 1, power)) * error))


def holm(p_values: Sequence[float]) -> FloatArray:
    """Holm's adjusted p-values ``(K,)``: compare each with the level that the whole family shall hold."""
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)))
    return adjusted
