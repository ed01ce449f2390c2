"""Counts of right and wrong against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart import evaluate
from headstart.report.outcomes import Outcome, reliability
from headstart.types import ArmResult, Predictions, Problem, Task


def outcome(problem: Problem, logits: NDArray[np.float64], targets: NDArray[np.generic]) -> Outcome | None:
    labels = () if problem == "regression" else tuple("abcdefgh"[: logits.shape[1]])
    ids = tuple(f"row {n}" for n in range(len(logits)))
    arm = ArmResult("arm", "source", "ridge", 1.0, {}, {}, Predictions(ids, logits))
    return Outcome.of(Task(problem, "text", labels, "accuracy"), arm, targets)


def known(problem: Problem, logits: NDArray[np.float64], targets: NDArray[np.generic]) -> Outcome:
    found = outcome(problem, logits, targets)
    assert found is not None
    return found


def test_classification_counts() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 1, 1, 1, 0, 2])
    found = known("classification", 3 * np.eye(3)[predicted], targets)
    assert found.confusion().tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert found.confused(5) == [(0, 1, 2)]
    rows = {row.label: row for row in found.by_label()}
    assert (rows["a"].precision, rows["a"].recall, rows["a"].f1) == (1 / 2, 1 / 3, 2 / 5)
    assert [row.label for row in found.by_label()] == ["a", "b", "c"]


def test_single_mistakes_show_where_no_pair_repeats() -> None:
    found = known("classification", 3 * np.eye(3)[[1, 2, 2]], np.array([0, 1, 2]))
    assert found.confused(5) == [(0, 1, 1), (1, 2, 1)]


def test_a_label_without_rows_has_no_recall_and_comes_last() -> None:
    found = known("classification", 3 * np.eye(3)[[1, 1]], np.array([1, 0]))
    last = found.by_label()[-1]
    assert last.label == "c"
    assert np.isnan([last.recall, last.precision, last.f1]).all()


def test_worst_mistakes_are_the_surest() -> None:
    logits = np.array([[0.0, 1.0], [0.0, 4.0], [5.0, 0.0], [0.0, 2.0]])
    found = known("classification", logits, np.array([0, 0, 0, 0]))
    worst = found.mistakes(2)
    assert [mistake.id for mistake in worst] == ["row 1", "row 3"]
    assert (worst[0].given, worst[0].predicted) == ("a", "b")
    assert worst[0].size == pytest.approx(1 / (1 + np.exp(-4)))
    assert len(found.mistakes(10)) == 3


def test_multilabel_mistakes_name_the_label_that_is_missing_or_extra() -> None:
    found = known("multilabel", np.array([[3.0, -2.0], [-1.0, -1.0]]), np.array([[False, True], [False, False]]))
    assert [(m.given, m.predicted) for m in found.mistakes(5)] == [("not a", "a"), ("b", "not b")]
    assert [(row.label, row.given, row.predicted, row.right) for row in found.by_label()] == [
        ("b", 1, 0, 0),
        ("a", 0, 1, 0),
    ]


def test_regression_errors() -> None:
    found = known("regression", np.array([[1.0], [5.0], [2.0]]), np.array([1.0, 2.0, 4.0]))
    assert [(m.id, m.given, m.predicted, m.size) for m in found.mistakes(1)] == [("row 1", "2.000", "5.000", 3.0)]
    assert found.summary()["Mean error (bias)"] == pytest.approx(1 / 3)


def test_calibration_error_is_the_one_that_is_reported() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 2, (500, 4)), rng.integers(0, 4, 500)
    wanted = evaluate.value("ece", logits, targets, "classification")
    assert known("classification", logits, targets).bins().error == pytest.approx(wanted)


def test_reliability_keeps_occupied_bins_and_certainty() -> None:
    bins = reliability(np.array([1.0, 0.95, 0.5]), np.array([True, False, True]), bins=10)
    assert bins.size.tolist() == [1, 2]
    assert bins.correct.tolist() == [1.0, 0.5]
    assert bins.error == pytest.approx((0.5 + 2 * (0.975 - 0.5)) / 3)


def test_rows_without_target_or_finite_output_are_left_out() -> None:
    logits = np.array([[1.0, 0.0], [np.nan, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert known("classification", logits, np.array([0, 0, -1, 9])).ids == ("row 0",)
    assert known("regression", np.array([[1.0], [2.0]]), np.array([np.nan, 2.0])).ids == ("row 1",)
    assert outcome("classification", logits, np.full(4, -1)) is None


def test_what_does_not_fit_together_is_no_outcome() -> None:
    assert outcome("classification", np.zeros((3, 2)), np.zeros(4, int)) is None
    assert outcome("multilabel", np.zeros((3, 2)), np.zeros(3, int)) is None
    assert Outcome.of(None, None, None) is None
