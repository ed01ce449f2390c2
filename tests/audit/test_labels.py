"""Wrong labels stand out, in every kind of problem."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.audit import labels
from headstart.types import FloatArray, Problem, Task

ROWS = 400


def planted(problem: Problem) -> tuple[Task, np.ndarray, FloatArray, np.ndarray]:
    """A task, its targets with a tenth of them wrong, embeddings that show the right ones, and which are wrong."""
    rng = np.random.default_rng(5)
    wrong = rng.random(ROWS) < 0.1
    if problem == "regression":
        embeddings = rng.normal(size=(ROWS, 8))
        targets = embeddings @ rng.normal(size=8) + rng.normal(0, 0.2, ROWS)
        return Task(problem, "text", (), "r2"), targets + 9 * wrong, embeddings, wrong
    task = Task(problem, "text", ("a", "b", "c", "d"), "accuracy")
    if problem == "multilabel":
        flags = rng.random((ROWS, 4)) < 0.4
        embeddings = flags @ rng.normal(size=(4, 12)) * 2 + rng.normal(0, 0.7, (ROWS, 12))
        flags[wrong, 1] ^= True
        return task, flags, embeddings, wrong
    classes = rng.integers(0, 4, ROWS)
    embeddings = rng.normal(size=(4, 12))[classes] * 1.5 + rng.normal(0, 0.9, (ROWS, 12))
    return task, np.where(wrong, (classes + 1) % 4, classes), embeddings, wrong


@pytest.mark.parametrize("problem", ["classification", "multilabel", "regression"])
def test_flipped_labels_are_the_least_plausible(problem: Problem) -> None:
    task, targets, embeddings, wrong = planted(problem)
    ids = tuple(map(str, range(ROWS)))
    found, plausible = labels.suspects(task, ids, targets, embeddings, np.arange(ROWS) % 5)
    above = (plausible[wrong][:, None] < plausible[~wrong]).mean()
    assert above > 0.9
    named = {int(one.id) for one in found}
    assert len(named & set(np.flatnonzero(wrong).tolist())) >= 0.6 * wrong.sum()
    assert [one.chance for one in found] == sorted(one.chance for one in found)
    assert all(one.given != one.likely for one in found)


def test_clean_labels_raise_few_doubts() -> None:
    task, targets, embeddings, wrong = planted("classification")
    clean = np.where(wrong, (targets - 1) % 4, targets)
    found, _ = labels.suspects(task, tuple(map(str, range(ROWS))), clean, embeddings, np.arange(ROWS) % 5)
    assert len(found) < 0.08 * ROWS
