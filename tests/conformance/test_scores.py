"""Every score of the table keeps the contract of `headstart.scores`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.scores import SCORES

pytestmark = pytest.mark.parametrize("name", SCORES)
problems = pytest.mark.parametrize("problem", ["classification", "multilabel", "regression"])


def data(problem: str, rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Read-only embeddings, and targets that their first columns decide."""
    x = np.random.default_rng(0).normal(size=(rows, 10)).astype(np.float32)
    targets = {"classification": x[:, :3].argmax(1), "multilabel": x[:, :3] > 0, "regression": x[:, 0].astype(float)}
    for array in (x, targets[problem]):
        array.flags.writeable = False
    return x, targets[problem]


@problems
def test_is_a_finite_number_and_always_the_same(name: str, problem: Any) -> None:
    first, second = (SCORES[name](*data(problem), problem) for _ in range(2))
    assert type(first) is float
    assert np.isfinite(first)
    assert first == second


@problems
@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_does_not_matter(name: str, problem: Any, seed: int) -> None:
    x, targets = data(problem)
    order = np.random.default_rng(seed).permutation(len(x))
    assert SCORES[name](x[order], targets[order], problem) == pytest.approx(SCORES[name](x, targets, problem), abs=1e-6)


@problems
def test_higher_is_better(name: str, problem: Any) -> None:
    x, targets = data(problem)
    rng = np.random.default_rng(1)
    scores = [SCORES[name](x + noise * rng.normal(size=x.shape), targets, problem) for noise in (0, 1, 10)]
    assert scores == sorted(scores, reverse=True)


@problems
@pytest.mark.parametrize("kind", ["constant", "one row", "wide", "duplicates"])
def test_awkward_embeddings(name: str, problem: Any, kind: str) -> None:
    x, targets = data(problem)
    rows = 1 if kind == "one row" else len(x)
    awkward = {
        "constant": np.ones_like(x),
        "one row": x[:1],
        "wide": np.tile(x, 20),
        "duplicates": np.repeat(x[:20], 4, 0),
    }[kind]
    assert np.isfinite(SCORES[name](awkward, targets[:rows], problem))


@problems
def test_embeddings_that_are_not_finite_are_refused(name: str, problem: Any) -> None:
    x, targets = data(problem)
    broken = x.copy()
    broken[7, 3] = np.inf
    with pytest.raises(DataError, match="row 7"):
        SCORES[name](broken, targets, problem)
