"""From logits to honest probabilities: log-losses of single examples, and one temperature."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from headstart.types import FloatArray, Problem

__all__ = ["log_losses", "probabilities", "standard_error", "temperature"]

COLDEST, HOTTEST = 1e-4, 1e4


def probabilities(logits: FloatArray, problem: Problem) -> FloatArray:
    """Softmax or, for multilabel, sigmoid of calibrated logits ``(N, C)``; regression: the values as they are."""
    values = np.asarray(logits, np.float64)
    if problem == "regression":
        return values
    if problem == "multilabel":
        return np.asarray(np.exp(-_softplus(-values)))
    odds = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def log_losses(logits: FloatArray, targets: np.ndarray, problem: Problem) -> FloatArray:
    """What each prediction costs, ``(N,)``; lower is better.

    Args:
        logits: Calibrated, ``(N, C)``; for regression the values ``(N, 1)``.
        targets: Classes ``(N,)``, labels ``(N, C)`` bool, or values ``(N,)``.
        problem: Decides the loss.

    Returns:
        Classification: minus the log probability of the class, in nats. Multilabel: the mean of
        that over the labels. Regression: squared error over the variance of ``targets``, so that
        1 is what predicting their mean costs.
    """
    values = np.asarray(logits, np.float64)
    if problem == "regression":
        spread = np.std(targets) or 1.0
        return np.asarray(((values.reshape(len(targets)) - targets) / spread) ** 2)
    if problem == "multilabel":
        return np.asarray(_softplus(np.where(targets, -values, values)).mean(1))
    shifted = values - values.max(1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(1)) - np.take_along_axis(shifted, targets[:, None], 1)[:, 0])


def standard_error(losses: FloatArray) -> float:
    """Standard error of the mean of ``(N,)`` losses; infinite for fewer than two."""
    return float(np.std(losses, ddof=1) / sqrt(len(losses))) if len(losses) > 1 else float("inf")


def temperature(logits: FloatArray, targets: np.ndarray, problem: Problem, start: float = 1.0) -> float:
    """The one number to divide out-of-fold logits by (Guo et al. 2017, section 4.2).

    It minimises the summed log-loss plus the mean loss of one more example whose label is drawn
    at random. That example keeps the temperature of perfectly separated logits above zero, where
    the log-loss alone would claim certainty from two rows; it weighs 1/N.

    The objective is convex in the inverse temperature: Newton, kept inside a shrinking bracket.

    Args:
        logits: Out-of-fold, ``(N, C)``.
        targets: Classes ``(N,)`` or labels ``(N, C)`` bool.
        problem: ``regression`` has no temperature: 1.
        start: Where to begin; a near guess saves passes over the logits.

    Returns:
        A temperature in [1e-4, 1e4]; 1 where the logits say nothing.
    """
    if problem == "regression":
        return 1.0
    values = np.asarray(logits, np.float64)
    if problem == "classification":
        values = values - values.max(1, keepdims=True)
    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1 / start
    for _ in range(100):
        slope, bend = _slopes(inverse, values, targets, problem)
        if slope == 0:
            return 1 / inverse if bend > 0 else 1.0
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / bend if bend > 0 else low
        following = newton if low < newton < high else sqrt(low * high)
        moved, inverse = abs(log(following / inverse)), following
        if moved < 1e-9:
            break
    return 1 / inverse


def _slopes(inverse: float, values: np.ndarray, targets: np.ndarray, problem: Problem) -> tuple[float, float]:
    """First and second derivative of the objective by the inverse temperature; values ``(N, C)``, row maxima 0."""
    rows, labels = values.shape
    if problem == "multilabel":
        chances = np.exp(-_softplus(-inverse * values))
        spread = chances * (1 - chances) * values**2
        expected, hit = float((chances * values).sum()), float(values[np.asarray(targets, bool)].sum())
        even, scale = float(values.sum()) / 2, labels
    else:
        chances = np.exp(inverse * values)
        chances /= chances.sum(1, keepdims=True)
        weighted = chances * values
        mean = weighted.sum(1)
        spread = (weighted * values).sum(1) - mean**2
        expected, hit = float(mean.sum()), float(np.take_along_axis(values, targets[:, None], 1).sum())
        even, scale = float(values.mean(1).sum()), 1
    slope = (expected - hit + (expected - even) / rows) / scale
    return slope, float(spread.sum()) * (1 + 1 / rows) / scale


def _softplus(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(values, 0) + np.log1p(np.exp(-np.abs(values))))
