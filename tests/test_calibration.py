from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.calibration import log_losses, probabilities, standard_error, temperature


def sample(problem: Any, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 4))
    if problem == "multilabel":
        return 0.3 * logits, rng.random((rows, 4)) < probabilities(logits, "multilabel")
    chances = probabilities(logits, "classification").cumsum(1)
    return 0.3 * logits, (rng.random((rows, 1)) > chances[:, :-1]).sum(1)


def objective(logits: np.ndarray, targets: np.ndarray, problem: Any, heat: float) -> float:
    """The sum of the log-losses, and the mean loss of one more row whose label is drawn at random."""
    z = logits / heat
    labels = range(logits.shape[1])
    if problem == "multilabel":
        extra = np.mean([log_losses(z, np.full(z.shape, label), problem).mean() for label in (False, True)])
    else:
        extra = np.mean([log_losses(z, np.full(len(z), label), problem).mean() for label in labels])
    return float(log_losses(z, targets, problem).sum() + extra)


@pytest.mark.parametrize("problem", ["classification", "multilabel"])
@pytest.mark.parametrize("start", [1e-3, 1.0, 100.0])
def test_temperature_equals_brute_force(problem: Any, start: float) -> None:
    logits, targets = sample(problem)
    heats = np.geomspace(0.1, 1, 2001)
    brute = heats[np.argmin([objective(logits, targets, problem, heat) for heat in heats])]
    found = temperature(logits, targets, problem, start)
    assert found == pytest.approx(brute, rel=2e-3)
    eased = [objective(logits, targets, problem, found * factor) for factor in (0.9999, 1, 1.0001)]
    assert eased[1] == min(eased)


@pytest.mark.parametrize("problem", ["classification", "multilabel"])
def test_temperature_follows_the_scale_of_the_logits(problem: Any) -> None:
    logits, targets = sample(problem)
    once = temperature(logits, targets, problem)
    assert temperature(20 * logits, targets, problem) == pytest.approx(20 * once, rel=1e-6)


def test_perfect_logits_claim_no_certainty() -> None:
    targets = np.arange(20) % 2
    logits = np.where(targets[:, None] == np.arange(2), 1.0, -1.0)
    heat = temperature(logits, targets, "classification")
    assert probabilities(logits / heat, "classification").max() == pytest.approx(1 - 0.5 / 21)


def test_logits_that_are_wrong_more_than_chance_end_at_the_hot_bound() -> None:
    targets = np.arange(20) % 2
    logits = np.where(targets[:, None] == np.arange(2), -1.0, 1.0)
    assert temperature(logits, targets, "classification") == pytest.approx(1e4)


@pytest.mark.parametrize("logits", [np.zeros((5, 3)), np.ones((5, 1)) * 4])
def test_logits_that_say_nothing_keep_their_scale(logits: np.ndarray) -> None:
    assert temperature(logits, np.zeros(5, np.int64), "classification", start=0.1) == 1.0


def test_regression_has_no_temperature() -> None:
    assert temperature(np.ones((3, 1)), np.arange(3.0), "regression") == 1.0


def test_log_losses_agree_with_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    logits, targets = sample("classification")
    chances = probabilities(logits, "classification")
    np.testing.assert_allclose(chances.sum(1), 1)
    assert log_losses(logits, targets, "classification").mean() == pytest.approx(log_loss(targets, chances))
    logits, labels = sample("multilabel")
    chances = probabilities(logits, "multilabel")
    each = [log_loss(labels[:, column], chances[:, column]) for column in range(4)]
    assert log_losses(logits, labels, "multilabel").mean() == pytest.approx(np.mean(each))


def test_predicting_the_mean_costs_one() -> None:
    values = np.array([3.0, 5.0, 10.0])
    assert log_losses(np.full((3, 1), values.mean()), values, "regression").mean() == pytest.approx(1)
    assert log_losses(np.full((3, 1), 2.0), np.full(3, 2.0), "regression").tolist() == [0, 0, 0]


@pytest.mark.parametrize("problem", ["classification", "multilabel"])
def test_extreme_logits_stay_finite(problem: Any) -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    targets = np.array([0, 0]) if problem == "classification" else np.array([[True, False], [True, False]])
    assert np.isfinite(probabilities(logits, problem)).all()
    losses = log_losses(logits, targets, problem)
    assert losses[0] == 0
    assert losses[1] == {"classification": 2e4, "multilabel": 1e4}[problem]


def test_standard_error() -> None:
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(1)
    assert standard_error(np.array([1.0])) == float("inf")
