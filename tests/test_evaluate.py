import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from headstart import evaluate
from headstart.errors import UsageError

RNG = np.random.default_rng(0)
ROWS, CLASSES = 60, 5
LOGITS = np.round(RNG.normal(size=(ROWS, CLASSES)), 1)
TARGETS = RNG.integers(0, CLASSES - 1, ROWS)  # the last class is absent from the rows
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
PREDICTED = LOGITS.argmax(axis=1)
MANY = RNG.random((ROWS, CLASSES)) < [0.5, 0.3, 0.2, 0.1, 0.4]
MANY_PREDICTED = LOGITS > 0
MANY_PROBABILITIES = 1 / (1 + np.exp(-LOGITS))
VALUES = RNG.normal(size=ROWS)
GUESSES = VALUES + RNG.normal(size=ROWS)

SKLEARN = {
    ("accuracy", "classification"): reference.accuracy_score(TARGETS, PREDICTED),
    ("balanced_accuracy", "classification"): np.mean([(PREDICTED == TARGETS)[c == TARGETS].mean() for c in range(4)]),
    ("macro_f1", "classification"): reference.f1_score(TARGETS, PREDICTED, average="macro", zero_division=0.0),
    ("log_loss", "classification"): reference.log_loss(TARGETS, PROBABILITIES, labels=range(CLASSES)),
    ("macro_f1", "multilabel"): reference.f1_score(MANY, MANY_PREDICTED, average="macro"),
    ("micro_f1", "multilabel"): reference.f1_score(MANY, MANY_PREDICTED, average="micro"),
    ("subset_accuracy", "multilabel"): reference.accuracy_score(MANY, MANY_PREDICTED),
    ("log_loss", "multilabel"): np.mean([reference.log_loss(MANY[:, c], MANY_PROBABILITIES[:, c]) for c in range(5)]),
    ("average_precision", "multilabel"): reference.average_precision_score(MANY, LOGITS, average="macro"),
    ("mae", "regression"): reference.mean_absolute_error(VALUES, GUESSES),
    ("rmse", "regression"): reference.root_mean_squared_error(VALUES, GUESSES),
    ("r2", "regression"): reference.r2_score(VALUES, GUESSES),
}
GIVEN = {
    "classification": (LOGITS, TARGETS),
    "multilabel": (LOGITS, MANY),
    "regression": (GUESSES[:, None], VALUES),
}
ALL = [(name, problem) for problem in GIVEN for name in evaluate.valid_metrics(problem)]


@pytest.mark.parametrize(("name", "problem"), SKLEARN)
def test_metric_matches_scikit_learn(name, problem):
    assert evaluate.value(name, *GIVEN[problem], problem) == pytest.approx(SKLEARN[name, problem], abs=1e-12)


def test_every_metric_has_a_reference():
    assert {pair for pair in ALL if pair[0] != "ece"} == set(SKLEARN)


def test_ece_by_hand():
    logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.35, 0.65]])
    targets = np.array([0, 1, 1, 1])
    assert evaluate.value("ece", logits, targets, "classification") == pytest.approx(
        abs(0.9 - 0.5) / 2 + abs(0.65 - 1) / 2
    )


def test_certain_logits_are_in_the_last_bin():
    assert evaluate.value("ece", np.array([[1000.0, 0.0]]), np.array([0]), "classification") == 0.0


@pytest.mark.parametrize(("name", "problem"), ALL)
def test_a_weight_is_as_good_as_a_copy_of_the_row(name, problem):
    logits, targets = GIVEN[problem]
    counts = np.random.default_rng(1).multinomial(ROWS, np.full(ROWS, 1 / ROWS), size=3)
    weighted = evaluate.measured(name, logits, targets, problem)(counts.astype(float))
    rows = [np.repeat(np.arange(ROWS), count) for count in counts]
    assert weighted == pytest.approx([evaluate.value(name, logits[row], targets[row], problem) for row in rows])


@pytest.mark.parametrize("problem", GIVEN)
def test_metrics_reports_every_metric_with_its_count(problem):
    found = evaluate.metrics(*GIVEN[problem], problem)
    assert list(found) == [*evaluate.valid_metrics(problem), "n"]
    assert found["n"] == ROWS
    assert all(np.isfinite(value) and not isinstance(value, np.generic) for value in found.values())


@pytest.mark.parametrize("problem", GIVEN)
def test_no_rows_give_the_count_alone(problem):
    logits, targets = GIVEN[problem]
    assert evaluate.metrics(logits[:0], targets[:0], problem) == {"n": 0}
    assert np.isnan(evaluate.value(evaluate.valid_metrics(problem)[0], logits[:0], targets[:0], problem))


def test_labels_without_a_true_row_are_left_out_of_their_mean():
    truth = np.array([[True, False], [False, False]])
    logits = np.array([[1.0, -1.0], [-1.0, -1.0]])
    for name in ("macro_f1", "micro_f1", "average_precision", "subset_accuracy"):
        assert evaluate.value(name, logits, truth, "multilabel") == 1.0
        assert evaluate.value(name, logits, np.zeros_like(truth), "multilabel") == (
            0.5 if name == "subset_accuracy" else 0.0
        )


def test_r2_of_constant_targets():
    constant = np.full(3, 7.3)
    assert evaluate.value("r2", constant[:, None], constant, "regression") == 1.0
    assert evaluate.value("r2", constant[:, None] + [[0.0], [0.0], [0.1]], constant, "regression") == 0.0


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_r2_knows_neither_origin_nor_unit(origin, unit):
    moved = evaluate.value("r2", GUESSES[:, None] * unit + origin, VALUES * unit + origin, "regression")
    assert moved == pytest.approx(SKLEARN["r2", "regression"], abs=1e-5)


def test_unknown_metric_lists_the_valid_ones_of_the_problem():
    with pytest.raises(
        UsageError, match="unknown metric 'acuracy'; did you mean 'accuracy'.*Valid: accuracy, balanced_accuracy"
    ) as found:
        evaluate.value("acuracy", *GIVEN["classification"], "classification")
    assert "rmse" not in str(found.value)


def test_metric_of_another_problem_is_refused():
    with pytest.raises(UsageError, match="'rmse' does not apply to classification. Valid: accuracy,"):
        evaluate.value("rmse", *GIVEN["classification"], "classification")


@pytest.mark.parametrize(("name", "problem"), ALL)
def test_the_better_arm_has_a_positive_gain(name, problem):
    logits, targets = GIVEN[problem]
    if problem == "classification":
        good = np.where(np.eye(CLASSES)[targets] > 0, 20.0, -20.0)
    else:
        good = np.where(targets, 20.0, -20.0) if problem == "multilabel" else targets[:, None]
    gain = evaluate.difference(name, good, logits, targets, problem)
    reverse = evaluate.difference(name, logits, good, targets, problem)
    assert gain.statistic(gain.counts[None])[0] > 0
    assert gain.statistic(gain.counts[None]) == pytest.approx(-reverse.statistic(reverse.counts[None]))
    assert gain.counts.sum() == ROWS
    assert 0 < gain.differing <= ROWS


@pytest.mark.parametrize(("name", "problem"), ALL)
def test_equal_arms_differ_nowhere(name, problem):
    logits, targets = GIVEN[problem]
    gain = evaluate.difference(name, logits, logits.copy(), targets, problem)
    assert gain.differing == 0
    assert gain.statistic(gain.counts[None])[0] == 0


def test_accuracy_differs_where_one_arm_alone_is_right():
    other = np.roll(LOGITS, 1, axis=1)
    found = evaluate.difference("accuracy", LOGITS, other, TARGETS, "classification")
    assert found.differing == (evaluate.correct(LOGITS, TARGETS) != evaluate.correct(other, TARGETS)).sum()


@pytest.mark.parametrize(("name", "problem"), ALL)
def test_kinds_of_rows_measure_what_the_rows_do(name, problem):
    logits, targets = GIVEN[problem]
    other = np.roll(logits, 1, axis=0)
    found = evaluate.difference(name, logits, other, targets, problem)
    sign = 1 if evaluate.METRICS[name].higher_is_better else -1
    plain = sign * (evaluate.value(name, logits, targets, problem) - evaluate.value(name, other, targets, problem))
    assert found.statistic(found.counts[None])[0] == pytest.approx(plain)
    assert found.spare.sum() == pytest.approx(float(name == "balanced_accuracy"))


def test_the_spare_row_is_of_any_class_that_is_there_and_on_neither_side():
    targets = np.array([0, 0, 0, 2])
    found = evaluate.difference("balanced_accuracy", np.eye(3)[targets], np.eye(3)[targets], targets, "classification")
    assert found.counts.sum() == 4
    assert found.statistic(found.counts[None])[0] == 0
    kinds = np.eye(len(found.counts))[found.spare > 0]
    assert sorted(found.statistic(kinds)) == [-1, -1, 1, 1]
    assert found.spare[found.spare > 0] == pytest.approx(np.full(4, 0.25))
