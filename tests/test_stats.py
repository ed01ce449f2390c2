import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from headstart import stats


def mean_of(values):
    values = np.asarray(values, float)
    return lambda weights: weights @ values / weights.sum(axis=1)


def gap(values, **options):
    counts = np.ones(len(values))
    return stats.paired_bootstrap(mean_of(values), counts, differing=int(np.count_nonzero(values)), **options)


def test_bootstrap_matches_the_binomial_quantiles():
    values = np.repeat([1.0, 0.0], [60, 140])
    found = gap(values, resamples=20_000)
    tail = reference.norm.cdf(math.sqrt(200 / 199) * reference.t.ppf(0.025, 199))
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(reference.binom.ppf(tail, 200, 0.3) / 200, abs=0.006)
    assert found.high == pytest.approx(reference.binom.ppf(1 - tail, 200, 0.3) / 200, abs=0.006)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).normal(0.1, 1, 400)
    theirs = reference.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    found = gap(values)
    assert found.low == pytest.approx(theirs.low, abs=0.01)
    assert found.high == pytest.approx(theirs.high, abs=0.01)


def test_bootstrap_is_decided_by_its_seed_and_not_by_the_chunks(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = gap(values, seed=5)
    assert gap(values, seed=5) == whole
    assert gap(values, seed=6) != whole
    monkeypatch.setattr(stats, "CHUNK", 500)
    assert gap(values, seed=5) == whole


@pytest.mark.parametrize("differing", range(6))
def test_too_few_differing_rows_never_exclude_zero(differing):
    values = np.repeat([1.0, 0.0], [differing, 1])
    assert stats.mcnemar(values > 0, np.zeros(len(values))) > 0.05
    assert gap(values).low <= 0
    assert gap(-values).high >= 0


def test_six_rows_all_in_one_direction_can_exclude_zero():
    assert gap(np.ones(6)).low == 1.0


def test_one_row_says_nothing():
    assert gap([1.0]) == (1.0, 0.0, 1.0)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    generator, covered = np.random.default_rng(0), 0
    for seed in range(300):
        draws = generator.random(60)
        found = gap(np.where(draws < 0.2, 1.0, np.where(draws < 0.3, -1.0, 0.0)), seed=seed, resamples=500)
        covered += found.low <= 0.1 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_mcnemar_is_the_exact_sign_test_of_discordant_rows():
    first = np.array([1] * 9 + [0] * 2 + [1] * 20 + [0] * 5, bool)
    second = np.array([0] * 9 + [1] * 2 + [1] * 20 + [0] * 5, bool)
    closed = 2 * sum(math.comb(11, k) for k in range(3)) / 2**11
    assert stats.mcnemar(first, second) == pytest.approx(closed)
    assert closed == pytest.approx(reference.binomtest(9, 11).pvalue)
    assert stats.mcnemar(first, second) == pytest.approx(stats.mcnemar(second, first))
    assert stats.mcnemar(first, first) == 1.0


def test_wilson_matches_the_closed_form():
    z, rows, share = reference.norm.ppf(0.975), 40, 12 / 40
    center = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    assert stats.wilson(12, 40) == pytest.approx((center - reach, center + reach))
    assert stats.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(rows, share, level):
    theirs = reference.binomtest(round(share * rows), rows).proportion_ci(level, method="wilson")
    assert stats.wilson(round(share * rows), rows, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 5))
def test_mcnemar_agrees_with_scipy(first, second, both):
    one = np.repeat([True, False, True], [first, second, both])
    other = np.repeat([False, True, True], [first, second, both])
    theirs = reference.binomtest(first, first + second).pvalue if first + second else 1.0
    assert stats.mcnemar(one, other) == pytest.approx(theirs, rel=1e-9)


def test_corrected_t_with_no_test_rows_is_the_paired_t_test():
    values = np.array([0.02, 0.05, -0.01, 0.03, 0.04, 0.00])
    found, plain = stats.corrected_t(values, n_train=80, n_test=0), reference.ttest_1samp(values, 0)
    assert found.t == pytest.approx(plain.statistic)
    assert found.p_value == pytest.approx(plain.pvalue)
    assert found[1:3] == pytest.approx(tuple(plain.confidence_interval(0.95)))


def test_corrected_t_by_hand():
    values = np.array([0.02, 0.05, -0.01, 0.03])
    found = stats.corrected_t(values, n_train=80, n_test=20)
    t = values.mean() / math.sqrt((1 / 4 + 20 / 80) * values.var(ddof=1))
    assert found.t == pytest.approx(t)
    assert found.p_value == pytest.approx(2 * reference.t.sf(t, 3))
    assert found.low < found.value < found.high


def test_corrected_t_of_equal_differences():
    assert stats.corrected_t([0.0, 0.0], 8, 2).p_value == 1.0
    same = stats.corrected_t([0.25, 0.25], 8, 2)
    assert (same.low, same.high, same.t, same.p_value) == (0.25, 0.25, math.inf, 0.0)


@pytest.mark.parametrize(("gain", "rows"), [(0.2, 47), (0.1, 194), (0.05, 780)])
def test_known_test_sizes(gain, rows):
    assert stats.needed_rows(gain) == pytest.approx(rows, rel=0.01)
    assert stats.detectable_gain(rows) == pytest.approx(gain, rel=0.01)


def test_detectable_gain_without_power():
    assert stats.detectable_gain(0) is None
    assert stats.detectable_gain(3) == 1.0


@given(st.integers(4, 10**6))
def test_detectable_gain_inverts_the_needed_rows(rows):
    gain = stats.detectable_gain(rows)
    assert 0 < gain <= 1
    assert stats.needed_rows(gain) == pytest.approx(rows, rel=1e-4)
    assert stats.detectable_gain(rows + 1) <= gain


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert len(stats.holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_keeps_the_order_and_only_raises(p_values):
    adjusted = stats.holm(p_values)
    assert (adjusted >= np.array(p_values) - 1e-12).all()
    assert (adjusted <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_the_stretch_is_what_the_jackknife_knows_more():
    """The mean of N values: its jackknife error is s / sqrt(N), the bootstrap's lacks N - 1 under the s."""
    values = np.random.default_rng(1).normal(size=12)
    stretch = stats._stretch(mean_of(values), np.ones(12), float(values.std() / math.sqrt(12)))
    assert stretch == pytest.approx(math.sqrt(12 / 11))
    assert stats._stretch(mean_of(values), np.ones(12), 10.0) == 1.0


def test_rows_of_a_kind_are_drawn_together_to_the_same_interval():
    values, counts = np.array([1.0, -1.0, 0.0]), np.array([60.0, 20.0, 120.0])
    together = stats.paired_bootstrap(mean_of(values), counts, differing=80, resamples=20_000)
    alone = gap(np.repeat(values, counts.astype(int)), resamples=20_000)
    assert together == pytest.approx(alone, abs=0.006)
    spread = math.sqrt(200) * np.repeat(values, counts.astype(int)).std(ddof=1)
    assert stats._stretch(mean_of(values), counts, 1 / 200) == pytest.approx(spread)


def test_what_was_not_seen_but_is_spared_widens_an_interval():
    values, counts = np.array([1.0, -1.0, 0.0]), np.array([0.0, 0.0, 60.0])
    assert stats.paired_bootstrap(mean_of(values), counts, differing=9) == (0.0, 0.0, 0.0)
    found = stats.paired_bootstrap(mean_of(values), counts, differing=9, spare=[0.5, 0.5, 0.0])
    assert found.value == 0
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("rows", "folds", "repeats", "discordant"), [(100, 5, 3, 0.25), (60, 5, 3, 0.5), (400, 5, 2, 0.1)]
)
def test_repeated_cross_validation_detects_what_it_says_in_four_of_five_cases(rows, folds, repeats, discordant):
    """Folds that are equally correlated, with the variance of so many discordant rows: a little easier than it says."""
    gain = stats.detectable_gain_repeated(rows, folds, repeats, discordant)
    generator, count, correlation = np.random.default_rng(0), folds * repeats, 1 / folds
    spread = math.sqrt((discordant - gain**2) * folds / rows)
    common, own = generator.normal(size=(4000, 1)), generator.normal(size=(4000, count))
    drawn = gain + spread * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own)
    n_test = rows // folds
    found = sum(stats.corrected_t(one, rows - n_test, n_test).low > 0 for one in drawn)
    assert 0.8 <= found / 4000 <= 0.86


def test_cross_validation_of_hardly_any_rows_detects_hardly_anything():
    assert stats.detectable_gain_repeated(3, 5, 2) is None
    assert stats.detectable_gain_repeated(60, 5, 3, 0.05) > 0.05
    assert 0.6 < stats.detectable_gain_repeated(5, 5, 3, 0.05) < 1
