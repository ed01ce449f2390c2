"""Linear models on hand-made features: the classical baselines that a transferred model has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax

from headstart.calibration import log_losses, temperature
from headstart.types import FloatArray, IndexArray, Problem, Task

__all__ = ["Baseline", "Extractor", "FeatureBaseline", "compact", "dealt_folds", "fit_linear", "prior_logits"]

AFFORDABLE = 4_000_000
"""Entries times outputs up to which every fold is held out once; beyond, the first fold alone is."""
LARGE = 20_000_000
"""Entries times outputs beyond which the strength is chosen on a share of the rows, and not the weakest
penalty, which takes several times the steps."""
DENSE_DISCOUNT = 20
"""How many times faster a dense entry is multiplied than a sparse one."""
FEW_ROWS, WIDE = 1_500, 4
"""Up to so many rows, and from so many columns a row on, features are turned into as many columns as rows first."""
FINE, COARSE = 3e-3, 1e-2
"""Relative gradient norms to stop at: usually, and for large problems."""


class Baseline(Protocol):
    """What every entry of the table of baselines makes: ``make(task, seed) -> Baseline``."""

    name: str
    """Contains ``baseline``."""
    source: str
    method: str
    title: str
    """What it is, in the middle of a sentence."""
    held_out: IndexArray
    """After ``fit``: positions in its inputs that were predicted by a fit that had not seen their fold."""
    out_of_fold: FloatArray
    """After ``fit``: calibrated logits (len(held_out), outputs) of these."""

    def fit(self, inputs: Sequence[Any], targets: np.ndarray, folds: IndexArray | None = None) -> Self:
        """Learns from N labelled inputs; rows of equal fold number ``(N,)`` are held out together."""

    def logits(self, inputs: Sequence[Any]) -> FloatArray:
        """Calibrated logits ``(N, outputs)``, float64 and finite; regression: the values."""


class Extractor(Protocol):
    """Inputs to features. What is counted once a row is kept apart from what is learned from many rows."""

    def fit(self, inputs: Sequence[Any]) -> Any:
        """Raw features of training inputs, (N, F) dense or CSR."""

    def transform(self, inputs: Sequence[Any]) -> Any:
        """Raw features of other inputs, the same columns."""

    def scaling(self, raw: Any) -> Callable[[Any], Any]:
        """Learns from raw training rows how raw rows become features."""


class Link(NamedTuple):
    """A loss of linear predictors Z ``(N, C)`` and responses Y: its sum, its mean response, its curvature times Q."""

    loss: Callable[[FloatArray, FloatArray], float]
    mean: Callable[[FloatArray], FloatArray]
    bend: Callable[[FloatArray, FloatArray], FloatArray]


LINKS: dict[Problem, Link] = {
    "classification": Link(
        lambda z, y: -float((log_softmax(z, axis=1) * y).sum()),
        lambda z: np.asarray(softmax(z, axis=1)),
        lambda p, q: p * (q - (p * q).sum(axis=1, keepdims=True)),
    ),
    "multilabel": Link(lambda z, y: float((np.logaddexp(0, z) - z * y).sum()), expit, lambda p, q: p * (1 - p) * q),
    "regression": Link(lambda z, y: 0.5 * float(((z - y) ** 2).sum()), lambda z: z, lambda _, q: q),
}


def fit_linear(
    features: Any,
    responses: FloatArray,
    strength: float,
    problem: Problem,
    start: FloatArray | None = None,
    tolerance: float = FINE,
) -> FloatArray:
    """Penalised linear model by truncated Newton steps (Lin, Weng and Keerthi 2008, for softmax as well).

    Minimised is ``loss / N + ||W||^2 / (2 N strength)``, the intercept free: scikit-learn's ``C``, or
    one over its ridge ``alpha``. Newton beats L-BFGS several-fold where features are many and sparse.

    Args:
        features: (N, F), dense or CSR.
        responses: (N, C): indicators of classes or labels, or values.
        strength: Inverse penalty, above 0.
        problem: Decides the loss.
        start: (F + 1, C) to begin from; zeros when None.
        tolerance: Gradient norm to stop at, relative to that at zero.

    Returns:
        Coefficients (F + 1, C), the intercept last.
    """
    rows, columns = features.shape
    # CSR again where the features are: its products do not write all over memory
    link, transposed = LINKS[problem], features.T.tocsr() if hasattr(features, "tocsr") else features.T
    penalty = np.full((columns + 1, 1), 1 / (strength * rows))
    penalty[-1] = 1e-9

    def predict(weights: FloatArray) -> FloatArray:
        narrow = weights.astype(features.dtype)
        return np.asarray(features @ narrow[:-1] + narrow[-1], np.float64)

    def pull(slopes: FloatArray) -> FloatArray:
        return np.asarray(np.vstack([transposed @ slopes.astype(features.dtype), slopes.sum(axis=0)]) / rows)

    def objective(z: FloatArray, weights: FloatArray) -> float:
        return float(link.loss(z, responses) / rows + 0.5 * (penalty * weights**2).sum())

    weights = np.zeros((columns + 1, responses.shape[1])) if start is None else start
    first = float(np.linalg.norm(pull(link.mean(np.zeros(responses.shape)) - responses))) or 1.0
    z = predict(weights)
    for _ in range(50):
        mean = link.mean(z)
        gradient = pull(mean - responses) + penalty * weights
        size = float(np.linalg.norm(gradient))
        if size <= tolerance * first:
            break
        precision = tolerance if problem == "regression" else min(0.25, np.sqrt(size / first))
        step = _conjugate(lambda q, p=mean: pull(link.bend(p, predict(q))) + penalty * q, -gradient, precision)  # type: ignore[misc]
        moved, slope, now, share = predict(step), float((gradient * step).sum()), objective(z, weights), 1.0
        while objective(z + share * moved, weights + share * step) > now + 1e-4 * share * slope:
            share /= 2
            if share < 1e-6:  # as exact as the features' precision allows
                return weights
        weights, z = weights + share * step, z + share * moved
    return weights


def compact(features: Any) -> tuple[Any, Callable[[FloatArray], FloatArray]]:
    """Features of few rows in no more columns than rows, and the way back for the weights of `fit_linear`.

    A penalised linear model's weights are a combination of its rows (Kimeldorf and Wahba 1971), so it is the same
    model in the coordinates of their span, ``X = R V'`` with orthonormal ``V``; a step there costs a fraction.

    Args:
        features: (N, F), dense or CSR.

    Returns:
        ``R`` (N, r) dense, and a function of weights (r + 1, C) to (F + 1, C), the intercept last in both; the
        features as they are, where rows are many or columns few.
    """
    rows, columns = features.shape
    if rows > FEW_ROWS or columns < WIDE * rows:
        return features, lambda weights: weights
    exact = features.astype(np.float64)
    gram = exact @ exact.T
    sizes, directions = np.linalg.eigh(gram.toarray() if hasattr(gram, "toarray") else gram)
    kept = sizes > 1e-10 * max(float(sizes[-1]), 1e-300)
    lengths, directions = np.sqrt(sizes[kept]), directions[:, kept]
    across = exact.T.tocsr() if hasattr(exact, "tocsr") else exact.T

    def widened(weights: FloatArray) -> FloatArray:
        return np.asarray(np.vstack([across @ (directions @ (weights[:-1] / lengths[:, None])), weights[-1:]]))

    return (directions * lengths).astype(features.dtype), widened


def _conjugate(curvature: Callable[[FloatArray], FloatArray], goal: FloatArray, precision: float) -> FloatArray:
    """Conjugate gradients for ``curvature(x) = goal``, until the residual is this share of the goal."""
    found, residual, direction = np.zeros_like(goal), goal.copy(), goal.copy()
    square = first = float((residual**2).sum())
    for _ in range(100):
        bent = curvature(direction)
        along = float((direction * bent).sum())
        if along <= 0:
            break
        found += square / along * direction
        residual -= square / along * bent
        before, square = square, float((residual**2).sum())
        if square <= precision**2 * first:
            break
        direction = residual + square / before * direction
    return found


@dataclass(frozen=True)
class _Model:
    """A fitted linear model with its scaling; outputs that had nothing to learn are constants."""

    scale: Callable[[Any], Any]
    weights: FloatArray
    learned: np.ndarray
    """(C,) bool."""
    constants: FloatArray
    """(C,): `prior_logits` of the rows it was fitted to."""
    problem: Problem
    center: float
    spread: float
    """Of the values it was fitted to; 0 and 1 but for regression."""

    def logits(self, raw: Any) -> FloatArray:
        features = self.scale(raw)
        narrow = self.weights.astype(features.dtype)
        found = np.asarray(features @ narrow[:-1] + narrow[-1], np.float64)
        if self.problem == "classification":
            found = found - logsumexp(found, axis=1, keepdims=True)
        full = np.tile(self.constants, (len(found), 1))
        full[:, self.learned] = found * self.spread + self.center
        return full


class _Trial(NamedTuple):
    """Held-out rows as predicted at one strength."""

    logits: FloatArray
    """Calibrated."""
    temperature: float
    loss: float


def _trial(logits: FloatArray, targets: np.ndarray, problem: Problem) -> _Trial:
    if not len(targets):
        return _Trial(logits, 1.0, 0.0)
    heat = temperature(logits, targets, problem)
    return _Trial(logits / heat, heat, float(log_losses(logits / heat, targets, problem).mean()))


class FeatureBaseline:
    """A penalised linear model on extracted features, its penalty and temperature from held-out rows.

    Args:
        task: What is to be learned.
        seed: Decides the folds where none are given.
        extractor: Inputs to features.
        source: Name of the features.
        features: What the features are, in the middle of a sentence.
        strengths: Inverse penalties to choose from, ascending.
    """

    name = "classical baseline"

    def __init__(
        self, task: Task, seed: int, extractor: Extractor, source: str, features: str, strengths: Sequence[float]
    ) -> None:
        self.task, self.seed, self.source, self.strengths = task, seed, source, tuple(strengths)
        self.method = "ridge" if task.problem == "regression" else "logistic"
        self.title = f"{features} + {self.method} regression"
        self._extractor = extractor

    def fit(self, inputs: Sequence[Any], targets: np.ndarray, folds: IndexArray | None = None) -> Self:
        """Learns from N labelled inputs; rows of equal fold number ``(N,)`` are held out together."""
        raw = self._extractor.fit(inputs)
        if folds is None or len(folds) != len(inputs):
            folds = dealt_folds(targets, self.seed)
        work = _entries(raw) * self.task.outputs
        self.held_out, trials = self._held_out(raw, targets, folds, work)
        middle = self.strengths[len(self.strengths) // 2]
        self.strength = min(trials, key=lambda one: trials[one].loss) if len(self.held_out) else middle
        self.out_of_fold, self.temperature, _ = trials[self.strength]
        precision = FINE if work <= LARGE else COARSE
        self._model = self._fitted(raw, targets, [self.strength], precision)[self.strength]
        return self

    def logits(self, inputs: Sequence[Any]) -> FloatArray:
        """Calibrated logits ``(N, outputs)``, float64 and finite; regression: the values."""
        return self._model.logits(self._extractor.transform(inputs)) / self.temperature

    def _held_out(
        self, raw: Any, targets: np.ndarray, folds: IndexArray, work: float
    ) -> tuple[IndexArray, dict[float, _Trial]]:
        """Positions that were held out, and how each strength predicted them."""
        numbers = np.unique(folds)
        if len(numbers) < 2:
            numbers = numbers[:0]
        elif work > AFFORDABLE:
            numbers = numbers[:1]
        strengths = self.strengths if work <= LARGE else self.strengths[:-1]
        kept = [np.flatnonzero(folds == number) for number in numbers]
        logits: dict[float, list[FloatArray]] = {one: [np.zeros((0, self.task.outputs))] for one in strengths}
        for number, held in zip(numbers, kept, strict=True):
            seen = np.flatnonzero(folds != number)[:: max(1, int(work // LARGE))]
            for strength, model in self._fitted(raw[seen], targets[seen], strengths, FINE).items():
                logits[strength].append(model.logits(raw[held]))
        rows = np.concatenate([np.zeros(0, np.int64), *kept])
        return rows, {
            strength: _trial(np.concatenate(parts), targets[rows], self.task.problem)
            for strength, parts in logits.items()
        }

    def _fitted(
        self, raw: Any, targets: np.ndarray, strengths: Iterable[float], tolerance: float
    ) -> dict[float, _Model]:
        """One model a strength, each begun where the one before ended."""
        problem = self.task.problem
        center, spread = 0.0, 1.0
        if problem == "regression":
            center, spread = float(np.mean(targets)), float(np.std(targets)) or 1.0
            targets = (targets - center) / spread
        responses, learned = self._responses(targets)
        scale, constants = self._extractor.scaling(raw), prior_logits(self.task, targets)
        features, widened = compact(scale(raw))
        models: dict[float, _Model] = {}
        weights = None
        for strength in strengths:
            weights = fit_linear(features, responses[:, learned], strength, problem, weights, tolerance)
            models[strength] = _Model(scale, widened(weights), learned, constants, problem, center, spread)
        return models

    def _responses(self, targets: np.ndarray) -> tuple[FloatArray, np.ndarray]:
        """(N, C) for `fit_linear`, and which outputs have something to learn."""
        if self.task.problem == "regression":
            return targets[:, None], np.ones(1, bool)
        if self.task.problem == "multilabel":
            return targets.astype(np.float64), np.asarray(targets.any(axis=0) & ~targets.all(axis=0))
        responses = np.eye(self.task.outputs)[targets]
        return responses, np.asarray(responses.any(axis=0))


def prior_logits(task: Task, targets: np.ndarray) -> FloatArray:
    """Logits ``(outputs,)`` that know the targets' frequencies alone; regression: their mean.

    A class or label without an example gets the odds of half an example.
    """
    if task.problem == "regression":
        return np.array([np.mean(targets)])
    if task.problem == "multilabel":
        positive = targets.sum(axis=0)
        return np.asarray(np.log((positive + 0.5) / (len(targets) - positive + 0.5)))
    counts = np.bincount(targets, minlength=task.outputs)
    return np.asarray(np.log(np.maximum(counts, 0.5) / len(targets)))


def dealt_folds(targets: np.ndarray, seed: int, folds: int = 5) -> IndexArray:
    """Fold numbers ``(N,)``: rows in random order, sorted by target, dealt out in turn."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    keys = targets[shuffled]
    order = shuffled[np.lexsort(keys.T) if keys.ndim > 1 else np.argsort(keys, kind="stable")]
    dealt = np.empty(len(targets), np.int64)
    dealt[order] = np.arange(len(targets)) % folds
    return dealt


def _entries(raw: Any) -> float:
    """Entries to multiply with, in sparse ones."""
    return float(getattr(raw, "nnz", raw.size / DENSE_DISCOUNT))
