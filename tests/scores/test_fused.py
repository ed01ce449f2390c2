from __future__ import annotations

import numpy as np
import pytest

from headstart.scores.fused import fuse, noise, rank_intervals, standing

NONE = np.full(3, np.nan)


def test_three_scores_count_alike_where_the_data_are_clear() -> None:
    values = np.array([1.0, 2.0, 6.0])
    expected = 2 * standing(values) + standing(values[::-1])
    np.testing.assert_allclose(fuse(values, values, values[::-1], 0.01), expected)


def test_a_missing_prior_is_an_average_one() -> None:
    loo, logme = np.zeros(3), np.zeros(3)
    np.testing.assert_allclose(fuse(loo, logme, np.array([0.7, np.nan, 0.8]), 0.1), [-1, 0, 1])
    np.testing.assert_allclose(fuse(loo, logme, NONE, 0.1), 0)


def test_differences_inside_the_noise_are_not_blown_up() -> None:
    loo, logme = np.array([-0.500, -0.501]), np.array([0.3, 0.2])
    assert np.abs(fuse(loo, logme, NONE[:2], 0.05)).max() < 0.05
    assert np.abs(fuse(loo * 10, logme, NONE[:2], 1e-5)).min() > 1.9


def test_equal_sources_stay_equal_whatever_is_lost_in_rounding() -> None:
    loo = np.array([-0.5, -0.5 + 1e-15])
    assert np.abs(fuse(loo, np.array([0.3, 0.3 + 1e-15]), NONE[:2], 1e-16)).max() < 1e-9


def test_the_prior_decides_between_sources_that_the_rows_cannot_tell_apart() -> None:
    loo, logme = np.array([-0.500, -0.501]), np.array([0.3, 0.2])
    assert fuse(loo, logme, np.array([0.75, 0.78]), 0.05).argmax() == 1
    assert fuse(loo - [0, 1], logme, np.array([0.75, 0.78]), 0.05).argmax() == 0


def test_hundredths_of_a_point_of_prior_say_nothing() -> None:
    assert np.abs(standing(np.array([0.7501, 0.7502]), 0.01)).max() == pytest.approx(0.005)


def test_noise_is_that_of_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=400) * 10
    losses = np.stack([shared, shared + 1 + rng.normal(size=400)])
    assert noise(losses) == pytest.approx(1 / 20, rel=0.1)
    assert noise(losses[:1]) == 0


def test_intervals_of_ranks_hold_the_rank_and_narrow_with_rows() -> None:
    rng = np.random.default_rng(0)
    means = np.array([1.0, 1.05, 2.0])[:, None]
    widths = []
    for rows in (50, 5000):
        losses = means + rng.normal(size=(3, rows))
        losses += means - losses.mean(1, keepdims=True)
        low, high = rank_intervals(losses, np.zeros(3), NONE, seed=1)
        assert (low <= [1, 2, 3]).all()
        assert (high >= [1, 2, 3]).all()
        widths.append((high - low).tolist())
    assert widths == [[1, 1, 0], [0, 0, 0]]


def test_the_seed_decides_the_draws() -> None:
    losses = np.random.default_rng(0).normal(size=(6, 30)) ** 2
    first, second = (rank_intervals(losses, np.zeros(6), np.full(6, np.nan), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
