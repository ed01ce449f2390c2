import numpy as np
import pytest

from headstart import conformal


def made(rows, seed, classes=4, skill=1.5):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), targets] += skill
    return logits, targets


def test_sets_cover_as_often_as_they_say():
    """Over 400 calibrations of 99 rows coverage is a Beta(90, 10) of mean 0.9."""
    shares = []
    for seed in range(400):
        logits, targets = made(299, seed)
        least = conformal.threshold(logits[:99], targets[:99], "classification")
        shares.append(conformal.covered(logits[99:], targets[99:], "classification", least)[0].mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_intervals_cover_as_often_as_they_say():
    rng, shares = np.random.default_rng(0), []
    for _ in range(400):
        values = rng.standard_t(3, 299)
        half = conformal.threshold(np.zeros((99, 1)), values[:99], "regression")
        inside, width = conformal.covered(np.zeros((200, 1)), values[99:], "regression", half)
        assert width == 2 * half
        shares.append(inside.mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_the_threshold_is_the_score_of_the_right_rank():
    chances = np.arange(1, 20) / 20
    logits = np.log(np.stack([chances, 1 - chances], axis=1))
    assert conformal.threshold(logits, np.zeros(19, int), "classification") == pytest.approx(0.1)
    assert conformal.threshold(np.zeros((19, 1)), np.arange(19.0), "regression") == 17.0


@pytest.mark.parametrize(("rows", "problem"), [(8, "classification"), (0, "classification"), (50, "multilabel")])
def test_too_few_rows_or_many_labels_give_no_sets(rows, problem):
    logits, targets = made(rows, 0)
    assert conformal.threshold(logits, targets, problem) is None


def test_a_set_always_holds_the_likeliest_label():
    chances = np.array([[0.4, 0.35, 0.25], [0.9, 0.06, 0.04]])
    assert conformal.members(chances, 0.95).tolist() == [[True, False, False], [True, False, False]]
    assert conformal.members(chances, 0.3).tolist() == [[True, True, False], [True, False, False]]


def test_abstention_answers_the_surest_first_and_ties_together():
    coverage, accuracy = conformal.abstention(np.array([0.9, 0.5, 0.5, 0.7]), np.array([True, False, True, True]))
    assert coverage.tolist() == [0.25, 0.5, 1.0]
    assert accuracy.tolist() == [1.0, 1.0, 0.75]
    coverage, accuracy = conformal.abstention(np.linspace(0, 1, 1000), np.ones(1000, bool))
    assert len(coverage) == 50
    assert coverage[-1] == 1.0
