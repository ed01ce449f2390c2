from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart import ridge
from headstart.calibration import probabilities
from headstart.errors import UsageError
from headstart.heads import FittedHead, logistic, whole_folds


def data(rows: int, dim: int, problem: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, dim)) * rng.uniform(0.5, 5, dim) + 3
    scores = (x - 3) @ rng.normal(size=(dim, 3)) / dim + rng.normal(size=(rows, 3))
    return x, scores > 0 if problem == "multilabel" else scores.argmax(1)


def reference(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Class-centred coefficients and intercepts of scikit-learn on standardised columns."""
    from sklearn.linear_model import LogisticRegression

    z = (x - x.mean(0)) / (x.std(0) + 1e-5)
    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(z, y)
    return model.coef_, model.intercept_


@pytest.mark.parametrize(("rows", "dim"), [(120, 8), (30, 50)], ids=["tall", "wide"])
@pytest.mark.parametrize("penalty", [0.5, 30.0])
def test_optimum_equals_scikit_learn(rows: int, dim: int, penalty: float) -> None:
    x, y = data(rows, dim, "classification")
    weight, intercept = optimum(x, y, "classification", penalty)
    coefficients, free = reference(x, y, penalty)
    np.testing.assert_allclose(weight - weight.mean(0), coefficients - coefficients.mean(0), atol=1e-6)
    np.testing.assert_allclose(intercept - intercept.mean(), free - free.mean(), atol=1e-6)


def test_each_label_equals_scikit_learn() -> None:
    x, y = data(120, 8, "multilabel")
    weight, intercept = optimum(x, y, "multilabel", 2.0)
    for label in range(3):
        coefficients, free = reference(x, y[:, label], 2.0)
        np.testing.assert_allclose(weight[label], coefficients[0], atol=1e-6)
        np.testing.assert_allclose(intercept[label], free[0], atol=1e-6)


def optimum(x: np.ndarray, y: np.ndarray, problem: Any, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight and intercept on standardised columns, optimised to the last digits by the head's own code."""
    folds = whole_folds(None, y)
    found = ridge.select(x, y, problem, 3, folds)
    [(_, fits)] = logistic._batches(found, problem, folds, np.float64)
    weights = fits.optimum(logistic._warm(found, folds), penalty, 1e-15)[:, 0]
    return (found.factor.basis @ weights[:-1]).T, weights[-1]


def test_warm_start_of_a_fold_is_the_ridge_without_it() -> None:
    x, y = data(40, 6, "classification")
    folds = whole_folds(None, y)
    found = ridge.select(x, y, "classification", 3, folds)
    start = logistic._warm(found, folds)[:, 1 + 2]
    rest = folds != 2
    z = np.hstack([found.factor.components, np.ones((40, 1))])
    shrinking = np.diag([found.penalty] * 6 + [0.0])
    alone = np.linalg.solve(z[rest].T @ z[rest] + shrinking, z[rest].T @ found.responses.values[rest])
    np.testing.assert_allclose(start * found.temperature, alone, atol=1e-10)


@pytest.mark.parametrize("problem", ["classification", "multilabel"])
def test_batches_change_nothing_but_memory(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(90, 6, problem)
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-10)
    together = logistic.fit(x, y, None, problem, 3)
    monkeypatch.setattr(logistic, "LARGEST", 300)
    apart = logistic.fit(x, y, None, problem, 3)
    assert apart.head.penalty == together.head.penalty
    np.testing.assert_allclose(apart.out_of_fold, together.out_of_fold, atol=1e-4)


def test_float32_is_close_to_float64() -> None:
    x, y = data(150, 20, "classification")
    narrow, wide = (logistic.fit(x.astype(kind), y, None, "classification", 3) for kind in (np.float32, np.float64))
    assert narrow.loss == pytest.approx(wide.loss, abs=1e-3)


def test_a_class_missing_from_a_fold_keeps_the_odds_of_half_an_example() -> None:
    x, y = data(40, 5, "classification")
    y[:] = y % 2
    y[3] = 2
    found = logistic.fit(x, y, whole_folds(None, y), "classification", 4)
    chances = probabilities(found.out_of_fold * found.head.temperature, "classification")
    assert 0.001 < chances[3, 2] < 0.1
    assert not found.head.weight[3].any()
    overall = probabilities(found.head.logits(x), "classification")
    assert 0.3 / 40 < overall[:, 3].mean() < 1 / 40


def test_labels_that_never_vary_are_finite() -> None:
    x, _ = data(40, 5, "classification")
    y = np.tile([True, False, True], (40, 1))
    y[::2, 2] = False
    found = logistic.fit(x, y, None, "multilabel", 3)
    chances = probabilities(found.head.logits(x), "multilabel")
    np.testing.assert_allclose(chances[:, :2], [[40.5 / 41, 0.5 / 41]] * 40, atol=1e-4)


def test_start_saves_the_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(60, 6, "classification")
    folds = whole_folds(None, y)
    alone = logistic.fit(x, y, folds, "classification", 3)
    selection = ridge.select(x, y, "classification", 3, folds)
    start = FittedHead(alone.head, selection.out_of_fold, selection.losses, selection)
    monkeypatch.setattr(ridge, "factorize", lambda _: pytest.fail("factored twice"))
    np.testing.assert_array_equal(logistic.fit(x, y, folds, "classification", 3, start).losses, alone.losses)


def test_separable_rows_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.arange(40) % 2
    x = np.random.default_rng(0).normal(size=(40, 5)) + 20 * y[:, None]
    tried: list[float] = []
    trial = logistic._trial

    def counted(batches: Any, start: np.ndarray, penalty: float, *rest: Any) -> logistic.Trial:
        tried.append(penalty)
        return trial(batches, start, penalty, *rest)

    monkeypatch.setattr(logistic, "_trial", counted)
    found = logistic.fit(x, y, None, "classification", 2)
    assert len(tried) <= 6
    assert np.isfinite(found.head.weight).all()


def test_minimum_of_a_skewed_bowl() -> None:
    spread = np.geomspace(0.3, 3, 20)

    def bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
        away = point - 1
        return float(np.cosh(spread * away).sum()), spread * np.sinh(spread * away)

    np.testing.assert_allclose(logistic.minimise(bowl, np.zeros(20), 1e-15), 1, atol=1e-5)


def test_minimiser_stops_at_a_share_of_the_floor() -> None:
    steps: list[float] = []

    def bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
        steps.append(float((np.arange(1, 9) * point**2).sum()))
        return steps[-1], 2 * np.arange(1, 9) * point

    logistic.minimise(bowl, np.ones(8), 1e-3, floor=1e3)
    loose = len(steps)
    logistic.minimise(bowl, np.ones(8), 1e-3)
    assert loose < len(steps) - loose


def test_regression_is_refused() -> None:
    with pytest.raises(UsageError, match="Valid: classification, multilabel"):
        logistic.fit(np.ones((3, 2)), np.arange(3.0), None, "regression", 1)
