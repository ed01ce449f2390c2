from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import heads, ridge
from headstart.errors import UsageError


def data(problem: Any, rows: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 12)).astype(np.float32)
    signal = x[:, :3] + 0.5 * rng.normal(size=(rows, 3))
    if problem == "regression":
        return x, signal[:, 0] * 100 + 1000, 1
    return x, (signal > 0 if problem == "multilabel" else signal.argmax(1)), 3


@pytest.mark.parametrize("problem", ["classification", "multilabel"])
def test_best_is_the_lower_loss_on_equal_folds(problem: Any) -> None:
    x, y, outputs = data(problem)
    folds = heads.whole_folds(None, y)
    alone = [heads.best(x, y, folds, problem, outputs, [name]) for name in heads.applicable(problem)]
    assert len({one.head.kind for one in alone}) > 1
    assert heads.best(x, y, None, problem, outputs).loss == pytest.approx(min(one.loss for one in alone), abs=1e-6)


def test_the_best_layer_is_the_one_that_tells() -> None:
    x, y, outputs = data("classification")
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    name, found = heads.best_layer({"noise": noise, "told": x}, y, None, "classification", outputs)
    assert name == "told"
    expected = heads.best(x, y, None, "classification", outputs)
    np.testing.assert_array_equal(found.head.weight, expected.head.weight)
    np.testing.assert_array_equal(found.losses, expected.losses)


def test_wide_layers_are_not_tried_on_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, outputs = data("regression")
    layers = {"last": x[:, 3:], "wide": x}
    assert heads.best_layer(layers, y, None, "regression", outputs)[0] == "wide"
    monkeypatch.setattr(heads, "LARGE", x.size)
    assert heads.best_layer(layers, y, None, "regression", outputs)[0] == "last"


def test_best_refuses_the_worse_logistic() -> None:
    rng = np.random.default_rng(4)
    y = np.arange(24) % 2
    x = rng.normal(size=(24, 200)).astype(np.float32) + 0.05 * y[:, None]
    found = {name: heads.best(x, y, heads.whole_folds(None, y), "classification", 2, [name]) for name in heads.HEADS}
    chosen = heads.best(x, y, None, "classification", 2)
    assert chosen.head.kind == min(found, key=lambda name: found[name].loss)


def test_best_lets_the_embeddings_go() -> None:
    x, y, outputs = data("classification")
    assert heads.best(x, y, None, "classification", outputs).selection is None


def test_regression_is_ridge_by_leave_one_out() -> None:
    x, y, _ = data("regression")
    found = heads.best(x, y, None, "regression", 1)
    assert heads.applicable("regression") == ("ridge",)
    np.testing.assert_array_equal(found.losses, ridge.select(x, y, "regression", 1).losses)
    assert found.loss == pytest.approx(np.mean((found.out_of_fold[:, 0] - y) ** 2) / y.var())
    assert found.loss < 0.4
    fitted = found.head.logits(x)[:, 0]
    assert np.corrcoef(fitted, y)[0, 1] > 0.8
    assert fitted.mean() == pytest.approx(y.mean(), rel=1e-3)


def test_folds_hide_the_twin_of_a_row() -> None:
    rng = np.random.default_rng(5)
    x = np.repeat(rng.normal(size=(40, 60)), 2, 0).astype(np.float32)
    y = np.repeat(rng.integers(0, 2, 40), 2)
    assert heads.best(x, y, np.repeat(np.arange(40), 2), "classification", 2).loss > 0.6


def test_logistic_wins_where_classes_are_many() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 20
    x = (2 * rng.normal(size=(20, 10))[y] + rng.normal(size=(200, 10))).astype(np.float32)
    assert heads.best(x, y, None, "classification", 20).head.kind == "logistic"


def test_unknown_heads_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match="Valid: ridge"):
        heads.best(np.ones((3, 2)), np.arange(3.0), None, "regression", 1, ["logistic"])
    with pytest.raises(UsageError, match="no head"):
        heads.best(np.ones((3, 2)), np.arange(3.0), None, "regression", 1, [])


@given(st.lists(st.integers(-3, 30), min_size=2, max_size=60))
def test_merged_folds_are_few_and_never_torn(numbers: list[int]) -> None:
    given_folds = np.array(numbers)
    merged = heads.whole_folds(given_folds, np.zeros(len(numbers), np.int64))
    assert merged.min() == 0
    assert merged.max() <= 4
    if len(set(numbers)) > 1:
        assert all(len(set(merged[given_folds == number])) == 1 for number in numbers)
        assert len(set(merged)) == min(5, len(set(numbers)))


def test_dealt_folds_are_stratified() -> None:
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 10))
    folds = heads.whole_folds(None, y)
    assert all((np.bincount(folds[y == label]) == 2).all() for label in range(7))
    labels = y[:, None] == np.arange(7)
    folds = heads.whole_folds(None, labels)
    assert all((np.bincount(folds[labels[:, column]]) == 2).all() for column in range(7))


def test_many_rows_get_three_folds() -> None:
    assert set(heads.whole_folds(None, np.zeros(heads.MANY_ROWS + 1, np.int64))) == {0, 1, 2}


def test_importing_the_heads_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, headstart.heads, headstart.scores; print({'torch', 'scipy', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
