"""Every head of the table keeps the contract of `headstart.heads`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.calibration import log_losses
from headstart.errors import DataError
from headstart.heads import HEADS, FittedHead

PROBLEMS = ("classification", "multilabel", "regression")
PAIRS = [(name, problem) for name in HEADS for problem in PROBLEMS if problem in HEADS[name].problems]
CHANCE = {"classification": np.log(3), "multilabel": np.log(2), "regression": 1.0}
pairs = pytest.mark.parametrize(("name", "problem"), PAIRS)


def data(problem: str, rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Read-only embeddings, targets that their first columns decide, folds, and the number of outputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 10)).astype(np.float32)
    targets = {"classification": x[:, :3].argmax(1), "multilabel": x[:, :3] > 0, "regression": x[:, 0].astype(float)}
    folds = rng.permutation(rows) % 5
    for array in (x, targets[problem], folds):
        array.flags.writeable = False
    return x, targets[problem], folds, 1 if problem == "regression" else 3


def fit(name: str, problem: Any, x: np.ndarray, targets: np.ndarray, folds: Any, outputs: int) -> FittedHead:
    found = HEADS[name].fit(x, targets, folds, problem, outputs, None)
    assert isinstance(found, FittedHead)
    return found


@pytest.mark.parametrize("name", HEADS)
def test_knows_what_it_can_learn(name: str) -> None:
    assert set(HEADS[name].problems) <= set(PROBLEMS)
    assert HEADS[name].problems


@pairs
@pytest.mark.parametrize("folded", [True, False])
def test_shapes_and_kinds(name: str, problem: Any, folded: bool) -> None:
    x, targets, folds, outputs = data(problem)
    found = fit(name, problem, x, targets, folds if folded else None, outputs)
    assert (found.head.kind, found.head.weight.shape, found.head.bias.shape) == (name, (outputs, 10), (outputs,))
    assert (found.head.weight.dtype, found.head.bias.dtype) == (np.float32, np.float32)
    assert (found.out_of_fold.shape, found.out_of_fold.dtype) == ((60, outputs), np.float64)
    assert type(found.head.temperature) is float
    assert type(found.head.penalty) is float
    np.testing.assert_allclose(found.losses, log_losses(found.out_of_fold, targets, problem))
    assert found.loss == pytest.approx(found.losses.mean())
    assert found.standard_error == pytest.approx(found.losses.std(ddof=1) / 60**0.5)


@pairs
def test_is_deterministic(name: str, problem: Any) -> None:
    first, second = (fit(name, problem, *data(problem)) for _ in range(2))
    np.testing.assert_array_equal(first.head.weight, second.head.weight)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.head.temperature == second.head.temperature


@pairs
def test_learns_what_is_there(name: str, problem: Any) -> None:
    x, targets, folds, outputs = data(problem, rows=150)
    found = fit(name, problem, x, targets, folds, outputs)
    assert found.loss < 0.6 * CHANCE[problem]
    fresh, truth, _, _ = data(problem, rows=150, seed=1)
    logits = found.head.logits(fresh) / found.head.temperature
    assert log_losses(logits, truth, problem).mean() < 0.6 * CHANCE[problem]


@pairs
def test_does_not_see_the_rows_it_is_judged_on(name: str, problem: Any) -> None:
    x, targets, folds, outputs = data(problem)
    wide = np.random.default_rng(2).normal(size=(60, 100)).astype(np.float32)
    assert fit(name, problem, wide, targets, folds, outputs).loss > 0.9 * CHANCE[problem]


@pairs
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows(name: str, problem: Any, rows: int) -> None:
    x, targets, _, outputs = data(problem)
    check_finite(fit(name, problem, x[:rows], targets[:rows], np.arange(rows), outputs))


@pairs
@pytest.mark.parametrize("kind", ["constant", "one column", "duplicates", "huge", "tiny"])
def test_awkward_embeddings(name: str, problem: Any, kind: str) -> None:
    x, targets, folds, outputs = data(problem)
    awkward = {
        "constant": np.ones_like(x),
        "one column": x[:, :1],
        "duplicates": np.repeat(x[:20], 3, 0),
        "huge": x * np.float32(1e30),
        "tiny": x * np.float32(1e-30),
    }[kind]
    check_finite(fit(name, problem, awkward, targets, folds, outputs))


@pytest.mark.parametrize("name", [name for name, problem in PAIRS if problem == "classification"])
@pytest.mark.parametrize("kind", ["one class", "rare", "all different", "absent", "folds by class"])
def test_awkward_classes(name: str, kind: str) -> None:
    x, _, folds, _ = data("classification", rows=12)
    by_class = np.arange(12) // 4
    classes, outputs = {
        "one class": (np.zeros(12, np.int64), 1),
        "rare": (np.array([0] * 9 + [1, 1, 2]), 3),
        "all different": (np.arange(12), 12),
        "absent": (np.arange(12) % 2 * 3, 6),
        "folds by class": (by_class, 3),
    }[kind]
    check_finite(fit(name, "classification", x, classes, by_class if kind == "folds by class" else folds, outputs))


@pairs
def test_embeddings_that_are_not_finite_are_refused(name: str, problem: Any) -> None:
    x, targets, folds, outputs = data(problem)
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(DataError, match="row 7"):
        fit(name, problem, broken, targets, folds, outputs)


def check_finite(found: FittedHead) -> None:
    for array in (found.head.weight, found.head.bias, found.out_of_fold, found.losses):
        assert np.isfinite(array).all()
    assert 0 < found.head.temperature < float("inf")
