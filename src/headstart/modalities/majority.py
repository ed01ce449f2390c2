"""The baseline that looks at no input: the majority class, the label frequencies, or the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from headstart.classical import dealt_folds, prior_logits
from headstart.types import FloatArray, IndexArray, Task

__all__ = ["Majority", "make"]

TITLES = {"classification": "the majority class", "multilabel": "the label frequencies", "regression": "the mean"}


def make(task: Task, seed: int) -> Majority:
    """The baseline of this task; see `headstart.classical.Baseline`."""
    return Majority(task, seed)


class Majority:
    """Gives every input the same logits: those of the training targets' frequencies."""

    name, source, method = "majority baseline", "none", "prior"

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed, self.title = task, seed, TITLES[task.problem]

    def fit(self, inputs: Sequence[Any], targets: np.ndarray, folds: IndexArray | None = None) -> Self:
        """Counts N targets; rows of equal fold number ``(N,)`` are held out together."""
        if folds is None or len(folds) != len(inputs):
            folds = dealt_folds(targets, self.seed)
        several = len(np.unique(folds)) > 1
        self.held_out = np.arange(len(inputs) if several else 0)
        self.out_of_fold = np.zeros((len(self.held_out), self.task.outputs))
        for number in np.unique(folds) if several else ():
            self.out_of_fold[folds == number] = prior_logits(self.task, targets[folds != number])
        self._logits = prior_logits(self.task, targets)
        return self

    def logits(self, inputs: Sequence[Any]) -> FloatArray:
        """Logits ``(N, outputs)``, all rows the same."""
        return np.tile(self._logits, (len(inputs), 1))
