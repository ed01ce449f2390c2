"""Logistic regression with an L2 penalty: softmax over classes, or one sigmoid a label.

Minimised is ``sum of log-losses + penalty / 2 * ||W||^2`` over standardised embeddings, the intercept
free (scikit-learn's ``C`` is ``1 / penalty``). It runs on the principal components of the ridge,
which is the same problem rotated: never more than N columns, and almost a diagonal Hessian, by
which L-BFGS is preconditioned. The fit to all rows and those without one fold each run together,
because one wide matrix product costs little more than a narrow one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import ridge
from headstart.calibration import log_losses, probabilities, temperature
from headstart.errors import unknown_name
from headstart.heads import FittedHead, Head, whole_folds
from headstart.types import FloatArray, IndexArray, LinearHead, Problem

__all__ = ["HEAD", "fit"]

PENALTIES = 10.0 ** (np.arange(-12, 25) / 4)
TOLERANCE = 1e-5
"""Relative decrease of the objective at which a fit stops."""
FLOOR = 0.01
"""Nats a row below which that decrease counts as absolute: separable data would never stop."""
WORTH = 4
"""Decimals of the log-loss that are worth another penalty: separable rows would walk on for nothing."""
LARGEST = 2**25
"""Logits (rows x fits x outputs) that are held at once."""
ABSENT = -1e30


@dataclass(frozen=True)
class Fits:
    """F penalised fits to different subsets of the same N rows; weights are ``(k + 1, F, C)``, intercept last."""

    design: FloatArray
    """(N, k + 1): components and a column of ones; its precision is that of the products."""
    curvature: FloatArray
    """(k + 1, C): squared column lengths times the mean variance of each output, the expected Hessian diagonal."""
    hits: FloatArray
    """(N, C) in {0, 1}."""
    training: FloatArray
    """(N, F, 1) in {0, 1}: which rows a fit may learn from."""
    learnable: NDArray[np.bool_]
    """(F, C): outputs with something to learn in the rows of a fit."""
    softmax: bool

    def optimum(self, start: FloatArray, penalty: float, tolerance: float) -> FloatArray:
        """The weights of all fits at this penalty, beginning from ``start``."""
        penalties = np.full((len(start), 1, 1), penalty)
        penalties[-1] = 0
        scaling = 1 / np.sqrt(penalties + self.curvature[:, None])

        def objective(flat: FloatArray) -> tuple[float, FloatArray]:
            weights = flat.reshape(start.shape) * scaling
            loss, slope = self.loss(weights)
            shrinking = penalties * weights
            return loss + 0.5 * float((shrinking * weights).sum()), ((slope + shrinking) * scaling).ravel()

        enough = FLOOR * float(self.training.sum())
        return minimise(objective, (start / scaling).ravel(), tolerance, enough).reshape(start.shape) * scaling

    def loss(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Summed log-loss of all fits on their own rows, and its gradient."""
        narrow = weights.reshape(len(weights), -1).astype(self.design.dtype)
        logits = (self.design @ narrow).reshape(len(self.design), *weights.shape[1:])
        losses, slope = self._softmax(logits) if self.softmax else self._sigmoid(logits)
        slope *= self.training
        gradient = self.design.T @ slope.reshape(len(slope), -1)
        return float((losses * self.training).sum(dtype=np.float64)), gradient.astype(np.float64).reshape(weights.shape)

    def _softmax(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        logits += np.where(self.learnable, 0, ABSENT).astype(logits.dtype)
        logits -= logits.max(2, keepdims=True)
        right = np.einsum("nfc,nc->nf", logits, self.hits)[:, :, None]
        np.exp(logits, out=logits)
        total = logits.sum(2, keepdims=True)
        logits /= total
        logits -= self.hits[:, None]
        return np.log(total) - right, logits

    def _sigmoid(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        hits = self.hits[:, None]
        small = np.exp(-np.abs(logits))
        losses = (np.maximum(logits, 0) - logits * hits + np.log1p(small)) * self.learnable
        slope = np.where(logits >= 0, 1, small) / (1 + small)
        slope -= hits
        slope *= self.learnable
        return losses, slope

    def complete(self, weights: FloatArray) -> FloatArray:
        """Gives outputs with nothing to learn the odds of half an example, where the optimum is infinitely far.

        Softmax logits, free up to a shift, become log-probabilities on average over the rows of the fit.
        """
        done = weights.copy()
        rows = np.maximum(self.training.sum(0), 1)
        half = np.broadcast_to(np.log(0.5 / rows), self.learnable.shape)
        if not self.softmax:
            positive = np.einsum("nf,nc->fc", self.training[:, :, 0], self.hits)
            half = np.log((positive + 0.5) / (self.training.sum(0) - positive + 0.5))
        else:
            logits = (self.design @ done.reshape(len(done), -1)).reshape(len(self.design), *done.shape[1:])
            logits = logits + np.where(self.learnable, 0, ABSENT)
            top = logits.max(2, keepdims=True)
            total = top + np.log(np.exp(logits - top).sum(2, keepdims=True))
            done[-1] -= (total * self.training).sum(0) / rows
        done[:-1] *= self.learnable
        done[-1] = np.where(self.learnable, done[-1], half)
        return done


def minimise(
    objective: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, tolerance: float, floor: float = 0.0
) -> FloatArray:
    """The minimum ``(P,)`` of a convex function by L-BFGS (Nocedal & Wright 2006, algorithm 7.4) with backtracking.

    SciPy's brings a BLAS of its own, whose waiting threads take the cores from NumPy's: on two
    cores a whole fit is 2 to 3 times slower with it.

    Args:
        objective: Value and gradient ``(P,)`` at a point ``(P,)``, scaled so that the Hessian is near the identity.
        start: (P,).
        tolerance: Stops when a step lowers the value by less than this share of it.
        floor: Values below count as this one in the share.
    """
    point, (value, slope) = start, objective(start)
    pairs: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=10)
    for _ in range(500):
        direction = -_newton(slope, pairs)
        expected, size = float(direction @ slope), 1.0
        lower, ahead = objective(point + direction)
        while not lower <= value + 1e-4 * size * expected:
            size *= min(0.5, max(0.1, -expected * size / 2 / (lower - value - expected * size)))
            if size < 1e-6:
                return point
            lower, ahead = objective(point + size * direction)
        gained, move, bend = value - lower, size * direction, ahead - slope
        point, value, slope = point + move, lower, ahead
        if gained <= tolerance * max(value, floor):
            break
        if move @ bend > 0:
            pairs.append((move, bend))
    return point


def _newton(slope: FloatArray, pairs: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """The gradient times the inverse Hessian as the last moves and their changes of gradient show it."""
    step, shares = slope.copy(), []
    for move, bend in reversed(pairs):
        shares.append((move @ step) / (move @ bend))
        step -= shares[-1] * bend
    if pairs:
        move, bend = pairs[-1]
        step *= (move @ bend) / (bend @ bend)
    for (move, bend), share in zip(pairs, reversed(shares), strict=True):
        step += (share - (bend @ step) / (move @ bend)) * move
    return step


@dataclass(frozen=True)
class Trial:
    """All fits at one penalty."""

    weights: FloatArray
    """(k + 1, 1 + folds, C): the fit to all rows, then those without one fold each."""
    temperature: float
    out_of_fold: FloatArray
    losses: FloatArray


def fit(
    embeddings: FloatArray,
    targets: np.ndarray,
    folds: IndexArray | None,
    problem: Problem,
    outputs: int,
    start: FittedHead | None = None,
) -> FittedHead:
    """Logistic regression at the penalty of the lowest out-of-fold log-loss, searched downhill from the ridge's.

    float64 embeddings are computed with in float64, all others in float32 with a float64 state.
    An output without an example among the rows of a fit gets the odds of half an example.

    Args:
        embeddings: (N, D).
        targets: Classes (N,) or labels (N, outputs).
        folds: (N,) fold numbers, merged to few; None: stratified ones.
        problem: ``classification`` or ``multilabel``.
        outputs: Number of logits.
        start: The ridge fitted to the same rows; fitted here when None.

    Raises:
        UsageError: For regression.
        DataError: If embeddings or targets cannot be used.
    """
    if problem not in HEAD.problems:
        raise unknown_name("problem of the logistic head", problem, HEAD.problems)
    few = whole_folds(folds, targets)
    found = start.selection if start else None
    found = found or ridge.select(embeddings, targets, problem, outputs, few)
    precision = np.float64 if embeddings.dtype == np.float64 else np.float32
    batches = list(_batches(found, problem, few, precision))
    tried: dict[int, Trial] = {}

    def trial(index: int) -> Trial:
        if index not in tried:
            near = tried[min(tried, key=lambda other: abs(other - index))].weights if tried else _warm(found, few)
            tried[index] = _trial(batches, near, float(PENALTIES[index]), targets, problem, few)
        return tried[index]

    guess = int(np.abs(np.log(PENALTIES / (found.penalty * found.temperature / 2))).argmin())
    index = ridge.descend(lambda index: round(float(trial(index).losses.mean()), WORTH), [guess], len(PENALTIES), 2)
    chosen = tried[index]
    weight, bias = found.factor.original(chosen.weights[:-1, 0], chosen.weights[-1, 0])
    head = LinearHead(
        kind="logistic",
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=chosen.temperature,
        penalty=float(PENALTIES[index]),
    )
    return FittedHead(head, chosen.out_of_fold, chosen.losses, found)


HEAD = Head(fit, ("classification", "multilabel"))


def _batches(
    found: ridge.Selection, problem: Problem, folds: IndexArray, precision: type[np.floating[Any]]
) -> Iterator[tuple[IndexArray, Fits]]:
    """The fits (0: all rows, 1 + f: without fold f) in as few batches as memory allows."""
    factor, hits = found.factor, found.responses.values > 0
    rows, outputs = hits.shape
    design: FloatArray = np.hstack([factor.components, np.ones((rows, 1))]).astype(precision)
    chances = probabilities(found.out_of_fold, problem)
    curvature = np.append(factor.values, rows)[:, None] * np.maximum((chances * (1 - chances)).mean(0), 1e-3)
    numbers = np.arange(-1, folds.max() + 1)
    training = (folds[:, None] != numbers) * 1.0
    seen = training.T @ hits > 0
    learnable = seen if problem == "classification" else seen & (training.T @ ~hits > 0)
    for batch in np.array_split(numbers + 1, min(len(numbers), -(-rows * outputs * len(numbers) // LARGEST))):
        subset = training[:, batch, None].astype(precision)
        yield (
            batch,
            Fits(design, curvature, hits.astype(precision), subset, learnable[batch], problem == "classification"),
        )


def _warm(found: ridge.Selection, folds: IndexArray) -> FloatArray:
    """The ridge's weights over its temperature, for all rows and without each fold.

    A ridge without a fold is the ridge whose responses in that fold are its own predictions
    there, so that no start has seen the rows it is judged on.
    """
    factor, values = found.factor, found.responses.values
    predicted = factor.out_of_fold(values, found.penalty, folds)
    weights = []
    for number in range(-1, int(folds.max()) + 1):
        responses = np.where(folds[:, None] == number, predicted, values)
        weights.append(np.vstack(factor.coefficients(responses, found.penalty)))
    return np.stack(weights, 1) / found.temperature


def _trial(
    batches: list[tuple[IndexArray, Fits]],
    start: FloatArray,
    penalty: float,
    targets: np.ndarray,
    problem: Problem,
    folds: IndexArray,
) -> Trial:
    weights = np.empty_like(start)
    for batch, fits in batches:
        weights[:, batch] = fits.complete(fits.optimum(start[:, batch] * fits.learnable, penalty, TOLERANCE))
    design = batches[0][1].design
    raw = np.empty((len(folds), start.shape[2]))
    for rows in ridge.blocks(folds):
        raw[rows] = design[rows] @ weights[:, folds[rows[0]] + 1]
    heat = temperature(raw, targets, problem)
    return Trial(weights, heat, raw / heat, log_losses(raw / heat, targets, problem))
