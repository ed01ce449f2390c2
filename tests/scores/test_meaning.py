"""What single scores promise beyond the contract of the table."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from headstart.errors import UsageError
from headstart.scores import SCORES, defined, in_fixed_order, knn, nleep, principal


def rows(count: int = 60, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(count) % 3
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, dim)) + 2 * rng.normal(size=(3, dim))[y], y


def test_names_by_problem_and_head() -> None:
    assert defined("classification", False) == ("ridge_loo", "logme", "knn", "hscore", "sfda")
    assert defined("multilabel", True) == ("ridge_loo", "logme", "knn", "hscore", "sfda", "leep", "nce")
    assert defined("regression", True, experimental=True) == ("ridge_loo", "logme", "knn")
    assert set(defined("classification", True, experimental=True)) == set(SCORES.paths)


def test_a_score_says_what_it_lacks() -> None:
    x, y = rows()
    with pytest.raises(UsageError, match="not defined for regression"):
        SCORES["sfda"](x, y.astype(float), "regression")
    with pytest.raises(UsageError, match="source's own head"):
        SCORES["leep"](x, y, "classification")


def test_the_unit_of_values_makes_no_difference() -> None:
    x, y = rows()
    values = x[:, 0] + y
    for name in defined("regression", False):
        assert SCORES[name](x, values * 1000 - 7e6, "regression") == pytest.approx(
            SCORES[name](x, values, "regression"), abs=1e-6
        )


def test_several_labels_are_the_mean_of_two_class_problems() -> None:
    x, y = rows()
    labels = np.stack([y == 0, y != 1, np.ones(60, bool)], 1)
    single = [SCORES["hscore"](x, labels[:, k].astype(int), "classification") for k in (0, 1)]
    assert SCORES["hscore"](x, labels, "multilabel") == pytest.approx(np.mean(single))


def test_equal_neighbours_share_the_last_place() -> None:
    x = np.array([[1.0, 0.0]] + [[0.0, 1.0]] * 7)
    near = knn._nearness(x, ~np.eye(8, dtype=bool))
    np.testing.assert_allclose(near[1], [0, 0] + [5 / 6] * 6)
    np.testing.assert_allclose(near.sum(1), 5)


def test_a_perfect_neighbourhood_is_not_quite_certain() -> None:
    x, y = np.repeat(np.eye(3), 10, 0), np.repeat(np.arange(3), 10)
    assert -0.2 < SCORES["knn"](x, y, "classification") < -0.05


def test_rows_of_one_fold_are_no_neighbours_of_each_other() -> None:
    x, y = np.random.default_rng(1).normal(size=(60, 6)), np.arange(60) % 3
    twice, folds = np.repeat(x, 2, 0), np.repeat(np.arange(60), 2)
    losses = knn.losses(twice, np.repeat(y, 2), "classification", folds)
    np.testing.assert_allclose(losses[::2], losses[1::2])
    near = knn._nearness(twice, folds[:, None] != folds)
    assert not near[np.arange(0, 120, 2), np.arange(1, 120, 2)].any()
    assert losses.mean() > knn.losses(twice, np.repeat(y, 2), "classification").mean() + 0.1
    np.testing.assert_allclose(
        knn.losses(x, y, "classification", np.arange(60)), knn.losses(x, y, "classification"), atol=1e-12
    )


def test_with_one_fold_every_class_is_as_likely_as_any_other() -> None:
    x, y = rows()
    losses = knn.losses(x, y, "classification", np.zeros(60, np.int64))
    np.testing.assert_allclose(losses, np.log(3))


def test_principal_axes_keep_inner_products() -> None:
    for shape in ((30, 6), (6, 30)):
        x = np.random.default_rng(0).normal(size=shape)
        components, values = principal(x)
        centred = x - x.mean(0)
        np.testing.assert_allclose(components @ components.T, centred @ centred.T, atol=1e-10)
        np.testing.assert_allclose(components.T @ components, np.diag(values), atol=1e-9)


def test_fixed_order_forgets_the_given_one() -> None:
    x, y = rows()
    order = np.random.default_rng(3).permutation(60)
    for a, b in zip(in_fixed_order(x, y), in_fixed_order(x[order], y[order]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixture_agrees_with_another_implementation() -> None:
    x, _ = rows(90, 3)
    start = x[:3]
    floor = nleep.FLOOR * x.var(0).mean()
    other = GaussianMixture(
        3,
        covariance_type="diag",
        weights_init=np.full(3, 1 / 3),
        means_init=start,
        precisions_init=1 / np.tile(x.var(0), (3, 1)),
        reg_covar=floor,
        max_iter=200,
        tol=nleep.SETTLED,
    ).fit(x)
    found = nleep.mixture(x, start)
    np.testing.assert_allclose(found.sum(1), 1)
    assert np.abs(found - other.predict_proba(x)).mean() < 0.02
