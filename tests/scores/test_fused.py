from __future__ import annotations

import numpy as np
import pytest

from headstart.scores.fused import fuse, noise, rank_intervals

NONE = np.full(3, np.nan)


def test_three_standard_errors_weigh_as_much_as_a_standard_deviation_of_the_priors() -> None:
    scores, priors = np.array([-0.5, -0.8]), np.array([0.7, 0.8])
    np.testing.assert_allclose(fuse(scores, NONE[:2], 0.05), [1, -1])
    np.testing.assert_allclose(fuse(np.zeros(2), priors, 0.05), [-1, 1])
    np.testing.assert_allclose(fuse(scores, priors, 0.05), 0, atol=1e-12)


def test_a_missing_prior_is_an_average_one() -> None:
    np.testing.assert_allclose(fuse(np.zeros(3), np.array([0.7, np.nan, 0.8]), 0.1), [-1, 0, 1])
    np.testing.assert_allclose(fuse(np.zeros(3), np.array([0.7, np.nan, np.nan]), 0.1), 0)


def test_differences_inside_the_noise_are_not_blown_up() -> None:
    assert np.abs(fuse(np.array([-0.500, -0.501]), NONE[:2], 0.05)).max() < 0.05
    assert np.abs(fuse(np.array([-0.5, -0.5 + 1e-15]), NONE[:2], 1e-16)).max() < 1e-9


def test_the_prior_decides_between_sources_that_the_rows_cannot_tell_apart_and_only_there() -> None:
    priors = np.array([0.75, 0.78])
    assert fuse(np.array([-0.500, -0.501]), priors, 0.05).argmax() == 1
    assert fuse(np.array([-0.5, -1.5]), priors, 0.05).argmax() == 0


def test_a_few_points_of_prior_say_little() -> None:
    assert np.abs(fuse(np.zeros(2), np.array([0.75, 0.77]), 0.1)).max() == pytest.approx(0.2)


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
        low, high = rank_intervals(losses, NONE, seed=1)
        assert (low <= [1, 2, 3]).all()
        assert (high >= [1, 2, 3]).all()
        widths.append((high - low).tolist())
    assert widths == [[1, 1, 0], [0, 0, 0]]


def test_the_seed_decides_the_draws() -> None:
    losses = np.random.default_rng(0).normal(size=(6, 30)) ** 2
    first, second = (rank_intervals(losses, np.full(6, np.nan), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
