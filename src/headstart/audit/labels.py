"""Labels that do not look like their examples, found by a probe that never saw the example it judges."""

from __future__ import annotations

import numpy as np

from headstart import heads
from headstart.calibration import probabilities
from headstart.types import FloatArray, IndexArray, Suspect, Task

__all__ = ["suspects"]

FAR = 5.0
"""Robust standard deviations from which on a number is suspect."""


def suspects(
    task: Task, ids: tuple[str, ...], targets: np.ndarray, embeddings: FloatArray, folds: IndexArray
) -> tuple[tuple[Suspect, ...], FloatArray]:
    """Examples whose label is probably wrong, and how plausible every label is.

    Classes: confident learning (Northcutt et al., JAIR 2021, eqs. 1-2): another class is at least as
    probable as it is on average among the rows that carry it. Several labels: the same, label by label.
    Numbers: the out-of-fold error is far outside the usual.

    Args:
        task: What is to be learned.
        ids: N names.
        targets: Their targets; none unlabelled.
        embeddings: (N, D).
        folds: (N,) fold numbers; copies and groups share a fold.

    Returns:
        The suspects, the least plausible first, and the plausibility ``(N,)`` in [0, 1] of every label.
    """
    found = heads.best(embeddings, targets, folds, task.problem, task.outputs, names=("ridge",))
    plausible, likely = _judged(task, targets, probabilities(found.out_of_fold, task.problem))
    order = [row for row in np.argsort(plausible, kind="stable") if likely[row]]
    given = _named(task, targets)
    return tuple(Suspect(ids[row], given[row], str(likely[row]), float(plausible[row])) for row in order), plausible


def _judged(task: Task, targets: np.ndarray, predicted: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Plausibility ``(N,)`` of each target, and the likelier one by name, empty where the given one will do."""
    if task.problem == "regression":
        return _far(targets, predicted[:, 0])
    if task.problem == "multilabel":
        return _flags(task, targets, predicted)
    rows = np.arange(len(targets))
    own = predicted[rows, targets]
    usual = _usual(targets, predicted)
    over = np.where(predicted >= usual, predicted, -1.0)
    over[rows, targets] = -1.0
    other = over.argmax(1)
    likely = np.array([task.labels[k] for k in other], object)
    likely[(over.max(1) < 0) | (predicted[rows, other] <= own)] = ""
    return own, likely


def _usual(targets: np.ndarray, predicted: FloatArray) -> FloatArray:
    """Mean probability of each class among the rows that carry it, (C,); 1 where none does."""
    sums = np.zeros(predicted.shape[1])
    np.add.at(sums, targets, predicted[np.arange(len(targets)), targets])
    counts = np.bincount(targets, minlength=len(sums))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), 1.0))


def _flags(task: Task, targets: np.ndarray, predicted: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """`_judged` for several labels a row: the worst of its flags."""
    own = np.where(targets, predicted, 1 - predicted)
    counts = np.maximum([targets.sum(0), (~targets).sum(0)], 1)
    present = (own * targets).sum(0) / counts[0]
    absent = (own * ~targets).sum(0) / counts[1]
    wrong = (1 - own >= np.where(targets, absent, present)) & (own < 0.5)
    worst = np.where(wrong, own, np.inf).argmin(1)
    flagged = wrong.any(1)
    likely = np.array(
        [
            ("" if not flag else f"not {task.labels[k]}" if row[k] else f"also {task.labels[k]}")
            for row, k, flag in zip(targets, worst, flagged, strict=True)
        ],
        object,
    )
    return own.min(1), likely


def _far(targets: np.ndarray, predicted: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """`_judged` for numbers: errors in robust standard deviations; plausible as a two-sided normal tail."""
    from scipy.special import erfc

    errors = predicted - targets
    centre = np.median(errors)
    spread = 1.4826 * float(np.median(np.abs(errors - centre))) or 1.0
    far = np.abs(errors - centre) / spread
    likely = np.array([f"{value:.6g}" if gap > FAR else "" for value, gap in zip(predicted, far, strict=True)], object)
    return np.asarray(erfc(far / np.sqrt(2))), likely


def _named(task: Task, targets: np.ndarray) -> list[str]:
    if task.problem == "regression":
        return [f"{value:.6g}" for value in targets]
    if task.problem == "multilabel":
        return [", ".join(task.labels[k] for k in np.flatnonzero(row)) or "(none)" for row in targets]
    return [task.labels[k] for k in targets]
