"""What one arm did on each test row, counted in the ways the report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.types import ArmResult, Problem, Task

__all__ = ["Bins", "LabelRow", "Mistake", "Outcome", "reliability"]

BINS = 15
"""Equal-width bins of confidence, the usual number for the expected calibration error (Guo et al. 2017)."""


@dataclass(frozen=True)
class Bins:
    """A reliability curve: occupied bins of confidence only."""

    confidence: NDArray[np.float64]
    """Mean confidence of each bin."""
    correct: NDArray[np.float64]
    """Share of right decisions in each bin."""
    size: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy by bin (Guo et al. 2017, eq. 3)."""
        return float(np.sum(self.size * np.abs(self.confidence - self.correct)) / max(1, self.size.sum()))


@dataclass(frozen=True)
class LabelRow:
    """How one label fared."""

    label: str
    given: int
    predicted: int
    right: int

    @property
    def precision(self) -> float:
        """Share of its predictions that are right; NaN where it was never predicted."""
        return self.right / self.predicted if self.predicted else float("nan")

    @property
    def recall(self) -> float:
        """Share of its rows that were found; NaN where it has none."""
        return self.right / self.given if self.given else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where the label has no rows."""
        return 2 * self.right / (self.given + self.predicted) if self.given else float("nan")


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction."""

    id: str
    given: str
    predicted: str
    size: float
    """Probability of the wrong decision; for regression the signed error, predicted minus true."""


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> Bins:
    """The reliability curve of N decisions, from their confidence in [0, 1] and whether they were right."""
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    size = np.bincount(place, minlength=bins)
    kept = size > 0
    mean = np.bincount(place, confidence, bins)[kept] / size[kept]
    share = np.bincount(place, right.astype(np.float64), bins)[kept] / size[kept]
    return Bins(mean, share, size[kept])


@dataclass(frozen=True)
class Outcome:
    """Predictions of one arm beside the targets; rows without a target or with a non-finite output are left out."""

    problem: Problem
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    targets: NDArray[Any]
    """Class numbers (N,), label flags (N, C), or values (N,)."""
    output: NDArray[np.float64]
    """Probabilities (N, C), or predicted values (N,)."""

    @classmethod
    def of(cls, task: Task | None, arm: ArmResult | None, targets: NDArray[Any] | None) -> Outcome | None:
        """The outcome of an arm, or None where the run does not hold what it takes."""
        if task is None or arm is None or targets is None:
            return None
        logits = np.asarray(arm.predictions.logits, np.float64)
        ids = arm.predictions.ids
        wanted = (len(ids), task.outputs)
        if logits.shape != wanted or targets.shape != (wanted if task.problem == "multilabel" else wanted[:1]):
            return None
        known = np.isfinite(logits).all(axis=1)
        if task.problem == "classification":
            known &= (targets >= 0) & (targets < task.outputs)
        elif task.problem == "regression":
            known &= np.isfinite(targets)
        if not known.any():
            return None
        kept = tuple(ids[row] for row in np.flatnonzero(known))
        return cls(task.problem, task.labels, kept, targets[known], _output(task.problem, logits[known]))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def predicted(self) -> NDArray[Any]:
        """Class numbers (N,), label flags (N, C) above probability 0.5, or values (N,)."""
        if self.problem == "classification":
            return np.asarray(self.output.argmax(axis=1))
        return np.asarray(self.output > 0.5) if self.problem == "multilabel" else self.output

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Decisions that were right: (N,), or (N, C) for several labels."""
        return np.asarray(self.predicted == self.targets)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of each decision: (N,), or (N, C) for several labels."""
        if self.problem == "classification":
            return np.asarray(self.output.max(axis=1))
        return np.maximum(self.output, 1 - self.output)

    @cached_property
    def residuals(self) -> NDArray[np.float64]:
        """Predicted minus true value, (N,)."""
        return np.asarray(self.output - self.targets, np.float64)

    def bins(self) -> Bins:
        """The reliability curve of all decisions."""
        return reliability(self.confidence.ravel(), self.right.ravel())

    def confusion(self) -> NDArray[np.int64]:
        """Counts (C, C): rows by given class, columns by predicted class."""
        classes = len(self.labels)
        return np.bincount(self.targets * classes + self.predicted, minlength=classes**2).reshape(classes, classes)

    def confused(self, limit: int) -> list[tuple[int, int, int]]:
        """The most frequent mistakes as (given, predicted, count); single ones only where no pair is more frequent."""
        wrong = ~self.right
        pairs, sizes = np.unique(np.stack([self.targets[wrong], self.predicted[wrong]]), axis=1, return_counts=True)
        order = np.argsort(-sizes, kind="stable")[:limit]
        frequent = order[sizes[order] > 1]
        return [(int(pairs[0, at]), int(pairs[1, at]), int(sizes[at])) for at in (frequent if len(frequent) else order)]

    def by_label(self) -> list[LabelRow]:
        """One row a label, the worst found first, labels without rows last."""
        if self.problem == "multilabel":
            flags = self.targets.astype(bool)
            parts = (flags.sum(axis=0), self.predicted.sum(axis=0), (flags & self.predicted).sum(axis=0))
        else:
            classes = len(self.labels)
            counted = (self.targets, self.predicted, self.targets[self.right])
            parts = tuple(np.bincount(each, minlength=classes) for each in counted)  # type: ignore[assignment]
        rows = [LabelRow(label, int(n), int(p), int(r)) for label, n, p, r in zip(self.labels, *parts, strict=True)]
        return sorted(rows, key=lambda row: (row.given == 0, row.recall if row.given else 0.0, -row.given))

    def mistakes(self, limit: int) -> list[Mistake]:
        """The worst mistakes: the surest wrong decisions, or the largest errors."""
        if self.problem == "regression":
            order = np.argsort(-np.abs(self.residuals), kind="stable")[:limit]
            return [Mistake(self.ids[at], *self._values(at), float(self.residuals[at])) for at in order]
        sure = np.where(self.right, -1.0, self.confidence)
        order = np.argsort(-sure, axis=None, kind="stable")[:limit]
        places = [np.unravel_index(at, sure.shape) for at in order if sure.flat[at] >= 0]
        return [self._mistake(place) for place in places]

    def _values(self, at: int) -> tuple[str, str]:
        from headstart.report.figures import plain

        return plain(float(self.targets[at]), 4), plain(float(self.output[at]), 4)

    def _mistake(self, place: tuple[Any, ...]) -> Mistake:
        row, size = int(place[0]), float(self.confidence[place])
        if self.problem == "classification":
            return Mistake(self.ids[row], self.labels[self.targets[row]], self.labels[self.predicted[row]], size)
        label = self.labels[int(place[1])]
        had = bool(self.targets[place])
        return Mistake(self.ids[row], label if had else f"not {label}", f"not {label}" if had else label, size)

    def summary(self) -> Mapping[str, float]:
        """Of regression errors: mean, spread, median and 90th percentile of the absolute error, largest."""
        size = np.abs(self.residuals)
        return {
            "Mean error (bias)": float(self.residuals.mean()),
            "Standard deviation": float(self.residuals.std()),
            "Median absolute error": float(np.median(size)),
            "90% of errors are below": float(np.quantile(size, 0.9)),
            "Largest error": float(size.max()),
        }


def _output(problem: Problem, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if problem == "regression":
        return logits[:, 0]
    if problem == "multilabel":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
