from __future__ import annotations

import numpy as np
import pytest

from headstart import ridge
from headstart.scores import ridge_loo


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    return (rng.normal(size=(60, 8)) + 1.5 * rng.normal(size=(3, 8))[y]).astype(np.float32), y


def test_score_is_minus_the_mean_loss() -> None:
    x, y = rows()
    assert ridge_loo.score(x, y, "classification") == pytest.approx(-ridge_loo.losses(x, y, "classification").mean())
    np.testing.assert_array_equal(
        ridge_loo.losses(x, y, "classification"), ridge.select(x, y, "classification", 3).losses
    )


def test_classes_without_an_example_play_no_part() -> None:
    x, y = rows()
    np.testing.assert_array_equal(
        ridge_loo.losses(x, y * 5 + 2, "classification"), ridge_loo.losses(x, y, "classification")
    )


def test_folds_hide_duplicates() -> None:
    rng = np.random.default_rng(5)
    x, y = np.repeat(rng.normal(size=(40, 60)), 2, 0), np.repeat(rng.integers(0, 2, 40), 2)
    naive = ridge_loo.losses(x, y, "classification").mean()
    assert naive + 0.2 < ridge_loo.losses(x, y, "classification", np.repeat(np.arange(40), 2)).mean()


def test_predicting_nothing_costs_the_variance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=200)
    assert ridge_loo.score(x, y, "regression") == pytest.approx(-1, abs=0.05)
    assert ridge_loo.score(y[:, None] + 0.1 * rng.normal(size=(200, 1)), y, "regression") > -0.05
