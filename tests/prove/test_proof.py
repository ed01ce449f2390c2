import dataclasses

import numpy as np
import pytest

from headstart import prove, store
from headstart.errors import UsageError
from headstart.prove import Given, Plan
from headstart.types import Arm, Examples, LinearHead, Predictions, Split, Task

RNG = np.random.default_rng(0)
FRUIT, STONE = ("apple", "pear", "plum", "fig"), ("slate", "flint", "chalk", "basalt")


def texts(kinds):
    return tuple(f"a {(FRUIT, STONE)[kind][number % 4]} of number {number}" for number, kind in enumerate(kinds))


def table(targets, kinds=None):
    rows = len(targets)
    inputs = texts(RNG.integers(0, 2, rows) if kinds is None else kinds)
    names = tuple(f"row {number}" for number in range(rows))
    return Examples("text", inputs, names, tuple(f"{number:032x}" for number in range(rows)), targets)


def parts(train, test, validation=0):
    bounds = np.cumsum([0, train, validation, test])
    first, second, third = (np.arange(low, high) for low, high in zip(bounds[:-1], bounds[1:], strict=True))
    return Split(first, second, third, np.zeros(0, np.int64), "by hand", np.arange(train) % 5)


def arm(name="probe", validation=None):
    nothing = Predictions((), np.zeros((0, 2)))
    head = LinearHead("ridge", np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    return Arm(name, "minilm", "probe", 0, 1.5, "last", head, validation or nothing)


def answers(targets, right, seed=0):
    """Test logits that are right on this share of the rows."""
    generator = np.random.default_rng(seed)

    def logits(_, rows):
        said = np.where(generator.random(len(rows)) < right, targets[rows], 1 - targets[rows])
        return np.eye(2)[said] * 3

    return logits


QUICK = Plan("quick")


def proved(task, examples, split, arms, chosen, seed, test_logits, how=QUICK):
    """The proof without learning anything again: there are no sources."""
    return prove.prove(task, examples, split, how, (), "fused", arms, chosen, seed, Given(test_logits, None))


TASK = Task("classification", "text", ("fruit", "stone"), "accuracy")
KINDS = np.tile([0, 1, 1, 0], 65)
NOISE = np.random.default_rng(9).permutation(np.repeat([0, 1], 130))


@pytest.mark.parametrize(
    ("targets", "right", "verdict", "words"),
    [
        (NOISE, 0.95, "helped", "Transfer helped: accuracy 0.9"),
        (NOISE, 0.5, "no evidence", "No evidence that transfer helped: accuracy 0."),
        (KINDS, 0.6, "negative transfer", "Negative transfer: the classical baseline is better: accuracy 0."),
    ],
)
def test_verdict_three_ways(targets, right, verdict, words):
    examples, split = table(targets, KINDS), parts(60, 200)
    receipt = proved(TASK, examples, split, (arm(),), "probe", 0, answers(targets, right))
    assert receipt.verdict == verdict
    assert receipt.sentence.startswith(words)
    assert "TF-IDF + logistic regression on 200 test rows; gain " in receipt.sentence
    assert ("better served by TF-IDF" in receipt.sentence) == (verdict == "negative transfer")
    first, second = receipt.gains
    assert (first.over, second.over, first.metric, first.level) == (
        "classical baseline",
        "majority baseline",
        "accuracy",
        0.95,
    )
    assert first.low <= first.value <= first.high
    assert (first.low > 0, first.high < 0) == (verdict == "helped", verdict == "negative transfer")
    assert (first.p_value < 0.05) == (verdict != "no evidence")
    assert "bootstrap" in first.test
    assert "McNemar" in first.test


def test_receipt_holds_every_arm_row_by_row():
    validation = Predictions(("row 61", "row 60"), np.array([[0.0, 1.0], [0.0, 1.0]]))
    targets = KINDS.copy()
    examples, split = table(targets, KINDS), parts(60, 40, validation=20)
    receipt = proved(
        TASK, examples, split, (arm(validation=validation), arm("other")), "other", 0, answers(targets, 0.9)
    )
    names = [found.name for found in receipt.arms]
    assert names == ["probe", "other", "classical baseline", "majority baseline"]
    assert receipt.chosen == "other"
    for found in receipt.arms:
        assert found.predictions.ids == tuple(f"row {number}" for number in range(80, 120))
        assert found.predictions.logits.shape == (40, 2)
        assert found.test["n"] == 40
        assert found.seconds > 0
    probe, _, classical, majority = receipt.arms
    assert probe.validation["accuracy"] == pytest.approx((targets[[60, 61]] == 1).mean())
    assert (classical.source, classical.method) == ("tf-idf", "logistic")
    assert classical.validation["n"] == majority.validation["n"] == 20
    assert classical.test["accuracy"] == 1.0
    assert receipt.counts == {"train": 60, "validation": 20, "test": 40}
    assert (receipt.targets == targets[80:120]).all()
    assert receipt.scratch_twin == "not measured"
    assert any("trained from scratch was not measured" in note for note in receipt.notes)


def test_baselines_are_validated_out_of_fold_without_validation_rows():
    receipt = proved(TASK, table(KINDS, KINDS), parts(60, 40), (arm(),), "probe", 0, answers(KINDS, 0.9))
    assert receipt.arms[1].validation["n"] == receipt.arms[2].validation["n"] == 60


def test_test_targets_decide_nothing_but_the_receipt():
    shuffled = KINDS.copy()
    shuffled[60:] = 1 - shuffled[60:]
    split, made = parts(60, 200), answers(KINDS, 0.9)
    first = proved(TASK, table(KINDS, KINDS), split, (arm(),), "probe", 0, answers(KINDS, 0.9))
    second = proved(TASK, table(shuffled, KINDS), split, (arm(),), "probe", 0, made)
    for one, other in zip(first.arms, second.arms, strict=True):
        assert (one.predictions.logits == other.predictions.logits).all()
        assert one.validation == other.validation
    assert first.chosen == second.chosen
    assert first.arms[0].test["accuracy"] == pytest.approx(1 - second.arms[0].test["accuracy"])


def test_receipt_can_be_stored_and_read_back(tmp_path):
    decided = (TASK, table(KINDS, KINDS), parts(60, 40), Plan("quick"), (), "fused", (arm(),), "probe", 0)
    with store.Run(tmp_path / "run") as run:
        first = run.step("prove", prove.prove, *decided, given=(Given(answers(KINDS, 0.9), None),))
    with store.Run(tmp_path / "run") as run:
        second = run.step("prove", prove.prove, *decided, given=(None,))
    assert second.sentence == first.sentence
    assert second.gains == first.gains
    assert (second.targets == first.targets).all()
    assert [dataclasses.replace(a, predictions=None) for a in second.arms] == [
        dataclasses.replace(a, predictions=None) for a in first.arms
    ]


def test_regression():
    task = Task("regression", "text", (), "rmse")
    values = KINDS + np.random.default_rng(2).normal(0, 0.3, 260)
    noise = np.random.default_rng(3).normal(0, 0.01, 260)
    receipt = proved(
        task,
        table(values, KINDS),
        parts(60, 200),
        (arm(),),
        "probe",
        0,
        lambda _, rows: (values + noise)[rows][:, None],
    )
    assert receipt.verdict == "helped"
    assert "RMSE 0.01" in receipt.sentence
    assert "TF-IDF + ridge regression" in receipt.sentence
    assert receipt.gains[0].value > 0
    assert receipt.gains[0].p_value is None
    assert receipt.detectable_gain is None
    assert receipt.arms[1].test["rmse"] < receipt.arms[2].test["rmse"]


def test_multilabel():
    labels = np.stack([KINDS == 0, NOISE == 1], axis=1)
    task = Task("multilabel", "text", ("fruit", "noise"), "average_precision")
    receipt = proved(
        task,
        table(labels, KINDS),
        parts(60, 200),
        (arm(),),
        "probe",
        0,
        lambda _, rows: np.where(labels[rows], 2.0, -2.0),
    )
    assert receipt.verdict == "helped"
    assert receipt.arms[0].test["subset_accuracy"] == 1.0
    assert "average precision 1.0" in receipt.sentence
    assert receipt.gains[0].p_value is None


def test_one_class_in_the_test_rows():
    targets = np.append(KINDS[:60], np.zeros(30, int))
    receipt = proved(
        dataclasses.replace(TASK, metric="balanced_accuracy"),
        table(targets),
        parts(60, 30),
        (arm(),),
        "probe",
        0,
        answers(targets, 1.0),
    )
    assert receipt.arms[0].test["balanced_accuracy"] == 1.0
    assert "Not among the test rows, so not tested: stone." in receipt.notes
    assert any(note.startswith("Tiny test set (30 test rows): below 47") for note in receipt.notes)


def test_a_class_only_in_the_test_rows():
    task = Task("classification", "text", ("fruit", "stone", "new"), "log_loss")
    targets = np.append(KINDS[:60], np.full(30, 2))
    receipt = proved(
        task, table(targets), parts(60, 30), (arm(),), "probe", 0, lambda _, rows: np.zeros((len(rows), 3))
    )
    assert all(np.isfinite(found.test["log_loss"]) for found in receipt.arms)
    assert receipt.arms[1].test["accuracy"] == 0.0


@pytest.mark.parametrize("rows", [1, 5])
def test_a_handful_of_test_rows_proves_nothing(rows):
    receipt = proved(TASK, table(NOISE, KINDS), parts(60, rows), (arm(),), "probe", 0, answers(NOISE, 1.0))
    assert receipt.verdict == "no evidence"
    assert receipt.gains[0].low <= 0 <= receipt.gains[0].high


def test_no_test_rows():
    receipt = proved(TASK, table(KINDS, KINDS), parts(60, 0), (arm(),), "probe", 0, answers(KINDS, 1.0))
    assert (receipt.verdict, receipt.gains, receipt.detectable_gain) == ("no evidence", (), None)
    assert "no test rows" in receipt.sentence
    assert receipt.arms[0].test == {"n": 0}


def test_unknown_names_are_refused():
    given = (table(KINDS, KINDS), parts(60, 40), (arm(),))
    with pytest.raises(UsageError, match="unknown arm 'prob'; did you mean 'probe'"):
        proved(TASK, *given, "prob", 0, answers(KINDS, 1.0))
    with pytest.raises(UsageError, match="'rmse' does not apply to classification"):
        proved(dataclasses.replace(TASK, metric="rmse"), *given, "probe", 0, answers(KINDS, 1.0))
