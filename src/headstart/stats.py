"""Intervals and tests for paired comparisons, on NumPy and SciPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, nctdtrinc, ndtr, ndtri, stdtr, stdtrit

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
"""Weights ``(B, K)`` of kinds of rows, counts that sum to N -> the statistic under each weighting ``(B,)``."""

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
    statistic: Statistic,
    counts: ArrayLike,
    *,
    differing: int,
    spare: ArrayLike = 0.0,
    seed: int = 0,
    resamples: int = 4000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a paired difference: rows are drawn, both arms are measured on the same draw.

    Percentiles are expanded for small samples (Hesterberg 2015, "What Teachers Should Know About the
    Bootstrap", section 5.3): alpha/2 becomes Phi(-sqrt(n / (n-1)) t_{n-1, 1-alpha/2}). Up to `JACKKNIFED`
    rows the interval is stretched around the value to the jackknife's standard error where that is larger.
    Where a class has few rows and none of them tells the arms apart, draws would know no spread at all there;
    ``spare`` lets them draw what was not seen, as adding to the cells of a table does (Agresti and Min 2005).
    `benchmarks/evidence.py` measures all of it.
    An interval always covers 0 where so few rows differ that no sign test could reject at this
    level: with d rows all in one direction its two-sided p is 2^(1-d); below 6 rows that is above 0.05.

    Args:
        statistic: The difference as a function of the weights of K kinds of rows.
        counts: ``(K,)``: rows of each kind; N in all. All 1 where each row is of its own kind.
        differing: Rows on which the two arms differ in what the statistic sees.
        spare: ``(K,)``: weight of each kind among what was not seen but is drawn as if it had been.
        seed: Decides the draws.
        resamples: Number of draws.
        level: Coverage, in (0, 1).
    """
    counts = np.asarray(counts, np.float64)
    rows = round(float(counts.sum()))
    value = float(statistic(counts[None])[0])
    if rows < 2:
        return Interval(value, min(value, 0.0), max(value, 0.0))
    draws = _drawn(statistic, counts + np.asarray(spare, np.float64), rows, resamples, seed)
    tail = float(ndtr(np.sqrt(rows / (rows - 1)) * stdtrit(rows - 1, (1 - level) / 2)))
    stretch = _stretch(statistic, counts, float(draws.std()))
    low, high = (value + stretch * (float(bound) - value) for bound in np.quantile(draws, [tail, 1 - tail]))
    low, high = min(low, value), max(high, value)
    if 2.0 ** (1 - differing) > 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(value, low, high)


def _drawn(statistic: Statistic, chances: FloatArray, rows: int, resamples: int, seed: int) -> FloatArray:
    """The statistic of each draw of N rows; where no two rows are of a kind, drawing them one by one is quicker."""
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // len(chances))
    sizes = [min(size, resamples - done) for done in range(0, resamples, size)]
    if np.array_equal(chances, np.ones(rows)):
        return np.concatenate([statistic(resampled(generator, count, rows)) for count in sizes])
    shares = chances / chances.sum()
    return np.concatenate([statistic(generator.multinomial(rows, shares, count).astype(float)) for count in sizes])


def _stretch(statistic: Statistic, counts: FloatArray, spread: float) -> float:
    """How much larger the jackknife's standard error is than the bootstrap's; 1 where it is not."""
    rows, seen = float(counts.sum()), np.flatnonzero(counts)
    if rows > JACKKNIFED or not spread:
        return 1.0
    size = max(1, CHUNK // len(counts))
    parts = [seen[first : first + size] for first in range(0, len(seen), size)]
    left_out = np.concatenate([statistic(counts - np.eye(len(counts))[part]) for part in parts])
    spreads = (left_out - np.average(left_out, weights=counts[seen])) ** 2
    return max(1.0, float(np.sqrt((rows - 1) / rows * (counts[seen] * spreads).sum())) / spread)


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

    A fold's difference of n = rows/folds paired outcomes has the variance v = (discordant - gain^2) / n. As the
    test does, folds are taken to be correlated by 1/folds (Nadeau and Bengio 2003, section 3). Folds of one
    repetition share no rows, and all repetitions the same ones, so the sample variance of the J = folds * repeats
    differences is J / (J-1) (1 - 1/folds) v in the mean. The test's V is (1/J + 1/(folds - 1)) times that, and its t
    is noncentral with J - 1 degrees of freedom and noncentrality gain / sqrt(V).

    Args:
        rows: That take turns.
        folds: Of one cross-validation.
        repeats: How often it is done.
        discordant: Share of the rows that one arm alone gets right; it is at least the gain.
        power: How often such a gain is called.
        level: Of the two-sided test.

    Returns:
        At most 1; None with fewer rows than folds.

    >>> round(detectable_gain_repeated(300, 5, 3), 2), round(detectable_gain_repeated(300, 5, 3, 0.5), 2)
    (0.1, 0.14)
    """
    count = folds * repeats
    if rows < folds or count < 2:
        return None
    away = float(nctdtrinc(count - 1, 1 - power, stdtrit(count - 1, (1 + level) / 2)))
    apart = count / (count - 1) * (1 - 1 / folds) * folds / rows
    square = away**2 * (1 / count + 1 / (folds - 1)) * apart
    surely = square / (1 + square)  # gain^2 = square (discordant - gain^2), all discordant rows in one direction
    return float(np.sqrt(max(discordant, surely) * surely))


def holm(p_values: Sequence[float]) -> FloatArray:
    """Holm's adjusted p-values ``(K,)``: compare each with the level that the whole family shall hold."""
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)))
    return adjusted
