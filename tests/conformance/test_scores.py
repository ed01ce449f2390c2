"""Every score of the table keeps the contract of `headstart.scores`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.scores import SCORES

PAIRS = [(name, problem) for name, score in SCORES.items() for problem in score.problems]
pytestmark = pytest.mark.parametrize(("name", "problem"), PAIRS)


def data(problem: str, rows: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read-only embeddings, targets that their first columns decide, and probabilities of a source's head."""
    x = (np.random.default_rng(0).normal(size=(rows, 10)) * np.geomspace(2, 0.2, 10)).astype(np.float32)
    targets = {"classification": x[:, :3].argmax(1), "multilabel": x[:, :3] > 0, "regression": x[:, 0].astype(float)}
    theta = head(x)
    for array in (x, targets[problem], theta):
        array.flags.writeable = False
    return x, targets[problem], theta


def head(x: np.ndarray) -> np.ndarray:
    """Probabilities of a source head that looks at the first columns."""
    odds = np.exp(2 * np.hstack([x[:, :3], -x[:, :3]]).clip(-100, 100))
    return odds / odds.sum(1, keepdims=True)


def test_is_a_finite_number_and_always_the_same(name: str, problem: Any) -> None:
    first, second = (SCORES[name](*data(problem)[:2], problem, data(problem)[2]) for _ in range(2))
    assert type(first) is float
    assert np.isfinite(first)
    assert first == second


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_does_not_matter(name: str, problem: Any, seed: int) -> None:
    x, targets, theta = data(problem)
    order = np.random.default_rng(seed).permutation(len(x))
    moved = SCORES[name](x[order], targets[order], problem, theta[order])
    assert moved == pytest.approx(SCORES[name](x, targets, problem, theta), abs=1e-6)


def test_names_of_classes_do_not_matter(name: str, problem: Any) -> None:
    x, targets, theta = data(problem)
    renamed = {"classification": targets * 5 + 2, "multilabel": targets[:, ::-1] if targets.ndim > 1 else None}
    other = renamed.get(problem, targets)
    assert SCORES[name](x, other, problem, theta) == pytest.approx(SCORES[name](x, targets, problem, theta), abs=1e-9)


def test_higher_is_better(name: str, problem: Any) -> None:
    x, targets, _ = data(problem, rows=400)
    rng = np.random.default_rng(1)
    noisy = [x + noise * x.std(0) * rng.normal(size=x.shape) for noise in (0, 1, 10)]
    scores = [SCORES[name](values, targets, problem, head(values)) for values in noisy]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", ["constant", "one row", "one class", "wide", "duplicates"])
def test_awkward_embeddings(name: str, problem: Any, kind: str) -> None:
    x, targets, theta = data(problem)
    rows = 1 if kind == "one row" else len(x)
    awkward = {"constant": np.ones_like(x), "one row": x[:1], "wide": np.tile(x, 20), "duplicates": x.repeat(4, 0)[:80]}
    if kind == "one class":
        targets = np.broadcast_to(targets[:1], targets.shape)
    values = awkward.get(kind, x)
    assert np.isfinite(SCORES[name](values, targets[:rows], problem, head(values)))


def test_embeddings_that_are_not_finite_are_refused(name: str, problem: Any) -> None:
    x, targets, theta = (array.copy() for array in data(problem))
    x[7, 3] = theta[7, 3] = np.inf
    with pytest.raises(DataError, match="row 7"):
        SCORES[name](x, targets, problem, theta)


def test_no_rows_are_refused(name: str, problem: Any) -> None:
    x, targets, theta = data(problem)
    with pytest.raises(DataError, match="no examples"):
        SCORES[name](x[:0], targets[:0], problem, theta[:0])
