"""Metrics with counts: each one a function of row weights, so that a bootstrap measures many draws at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_expit, log_softmax

from headstart.errors import UsageError, unknown_name
from headstart.types import FloatArray, Problem

__all__ = [
    *("METRICS", "Difference", "Measured", "Metric", "correct", "difference", "measured", "metrics"),
    *("valid_metrics", "value"),
]

Targets = NDArray[Any]
BINS = 15
"""Equal-width bins of the expected calibration error."""


@dataclass(frozen=True)
class Measured:
    """A metric on fixed rows, as a function of row weights ``(B, N)`` (counts) giving ``(B,)`` values."""

    rows: Any
    """(N, K), dense or sparse: all that the metric sees of each example."""
    reduce: Callable[[FloatArray, Any], FloatArray]

    def __call__(self, weights: FloatArray) -> FloatArray:
        """The metric under each of B weightings."""
        return self.reduce(weights, self.rows)


@dataclass(frozen=True)
class Metric:
    """A named metric."""

    name: str
    higher_is_better: bool
    by_problem: Mapping[Problem, Callable[[FloatArray, Targets], Measured]]
    """Problem -> (logits, targets) -> the metric on these rows."""
    share: bool = False
    """A share of rows that are right: the power formula of `headstart.stats` applies, roughly."""
    by_class: bool = False
    """A mean over the true class of single labels, however few rows a class has."""


def _of_sums(rows: Any, finish: Callable[[FloatArray], FloatArray]) -> Measured:
    """A metric that depends on the examples only through sums of their contributions."""
    return Measured(rows, lambda weights, rows: finish(weights @ rows))


def _mean(contributions: Any) -> Measured:
    columns = np.column_stack([np.ones(len(contributions)), np.asarray(contributions, np.float64)])
    return _of_sums(columns, lambda sums: sums[:, 1] / sums[:, 0])


def _one_hot(labels: NDArray[np.int64], classes: int, values: Any = 1.0) -> Any:
    """(N, C) CSR with one value a row, at its label."""
    spread = np.broadcast_to(np.asarray(values, np.float64), labels.shape)
    return sparse.csr_array((spread, (np.arange(len(labels)), labels)), (len(labels), classes))


def _over_present(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Mean of ratios ``(B, C)`` over the classes whose denominator is not 0."""
    present = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=present)
    return np.asarray(ratios.sum(axis=1) / np.maximum(1, present.sum(axis=1)))


def _hits(logits: FloatArray, targets: Targets) -> NDArray[np.bool_]:
    return np.asarray(np.argmax(logits, axis=1) == targets)


def _accuracy(logits: FloatArray, targets: Targets) -> Measured:
    return _mean(_hits(logits, targets))


def _balanced_accuracy(logits: FloatArray, targets: Targets) -> Measured:
    classes = logits.shape[1]
    hits = _one_hot(targets, classes, _hits(logits, targets))
    rows = sparse.hstack([hits, _one_hot(targets, classes)], format="csr")
    return _of_sums(rows, lambda sums: _over_present(sums[:, :classes], sums[:, classes:]))


def _macro_f1(logits: FloatArray, targets: Targets) -> Measured:
    """2 TP / (true + predicted), averaged over the classes that are true or predicted somewhere."""
    classes = logits.shape[1]
    hits = _one_hot(targets, classes, _hits(logits, targets))
    seen = _one_hot(targets, classes) + _one_hot(np.argmax(logits, axis=1), classes)
    rows = sparse.hstack([2 * hits, seen], format="csr")
    return _of_sums(rows, lambda sums: _over_present(sums[:, :classes], sums[:, classes:]))


def _log_loss(logits: FloatArray, targets: Targets) -> Measured:
    return _mean(-log_softmax(np.asarray(logits, np.float64), axis=1)[np.arange(len(targets)), targets])


def _ece(logits: FloatArray, targets: Targets) -> Measured:
    """Sum over bins of |right - confidence| / N, of the top class (Guo et al. 2017, equation 3)."""
    confidence = np.exp(np.max(log_softmax(np.asarray(logits, np.float64), axis=1), axis=1))
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = _one_hot(bins, BINS, _hits(logits, targets) - confidence)
    return Measured(rows, lambda weights, rows: np.abs(weights @ rows).sum(axis=1) / weights.sum(axis=1))


def _many_counts(logits: FloatArray, targets: Targets) -> FloatArray:
    """(N, 2C): twice the hits, then true plus predicted, a label."""
    predicted = np.asarray(logits) > 0
    return np.column_stack([2.0 * (predicted & targets), predicted.astype(np.float64) + targets])


def _many_macro_f1(logits: FloatArray, targets: Targets) -> Measured:
    classes = targets.shape[1]
    return _of_sums(_many_counts(logits, targets), lambda sums: _over_present(sums[:, :classes], sums[:, classes:]))


def _many_micro_f1(logits: FloatArray, targets: Targets) -> Measured:
    hits, seen = np.split(_many_counts(logits, targets), 2, axis=1)
    rows = np.column_stack([hits.sum(axis=1), seen.sum(axis=1)])
    return _of_sums(rows, lambda sums: _over_present(sums[:, :1], sums[:, 1:]))


def _subset_accuracy(logits: FloatArray, targets: Targets) -> Measured:
    return _mean(((np.asarray(logits) > 0) == targets).all(axis=1))


def _many_log_loss(logits: FloatArray, targets: Targets) -> Measured:
    signed = np.where(targets, logits, -np.asarray(logits, np.float64))
    return _mean(-log_expit(signed).mean(axis=1))


def _average_precision(logits: FloatArray, targets: Targets) -> Measured:
    """Area under precision by recall in steps, averaged over the labels that have a true row; 0 if none has."""
    classes = targets.shape[1]

    def reduce(weights: FloatArray, rows: FloatArray) -> FloatArray:
        found = np.zeros((len(weights), classes))
        positives = weights @ rows[:, classes:]
        for label in range(classes):
            found[:, label] = _precision_sum(weights, rows[:, label], rows[:, classes + label])
        return _over_present(found, positives)

    return Measured(np.column_stack([logits, targets]).astype(np.float64), reduce)


def _precision_sum(weights: FloatArray, scores: FloatArray, truth: FloatArray) -> FloatArray:
    """Sum of precision over the true rows of one label ``(B,)``; rows of equal score count together."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    ranked = weights[:, order]
    hits, taken = np.cumsum(ranked * truth[order], axis=1)[:, last], np.cumsum(ranked, axis=1)[:, last]
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1))


def _errors(logits: FloatArray, targets: Targets) -> FloatArray:
    return np.asarray(np.asarray(logits, np.float64).reshape(len(targets)) - targets)


def _mae(logits: FloatArray, targets: Targets) -> Measured:
    return _mean(np.abs(_errors(logits, targets)))


def _rmse(logits: FloatArray, targets: Targets) -> Measured:
    squared = _mean(_errors(logits, targets) ** 2)
    return Measured(squared.rows, lambda weights, rows: np.sqrt(squared.reduce(weights, rows)))


def _r2(logits: FloatArray, targets: Targets) -> Measured:
    """1 - squared error / squared deviation; of constant targets 1 where all are met, else 0."""
    deviation = targets - (targets.mean() if len(targets) else 0.0)
    rows = np.column_stack([np.ones(len(targets)), deviation, deviation**2, _errors(logits, targets) ** 2])

    def finish(sums: FloatArray) -> FloatArray:
        total = sums[:, 2] - sums[:, 1] ** 2 / sums[:, 0]
        varied = total > 1e-12 * np.maximum(sums[:, 2], np.finfo(np.float64).tiny)
        share = np.divide(sums[:, 3], total, out=np.ones(len(sums)), where=varied)
        return np.where(~varied & (sums[:, 3] == 0), 1.0, 1.0 - share)

    return _of_sums(rows, finish)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, {"classification": _accuracy}, share=True),
        Metric("balanced_accuracy", True, {"classification": _balanced_accuracy}, share=True, by_class=True),
        Metric("macro_f1", True, {"classification": _macro_f1, "multilabel": _many_macro_f1}),
        Metric("log_loss", False, {"classification": _log_loss, "multilabel": _many_log_loss}),
        Metric("ece", False, {"classification": _ece}),
        Metric("micro_f1", True, {"multilabel": _many_micro_f1}),
        Metric("subset_accuracy", True, {"multilabel": _subset_accuracy}, share=True),
        Metric("average_precision", True, {"multilabel": _average_precision}),
        Metric("mae", False, {"regression": _mae}),
        Metric("rmse", False, {"regression": _rmse}),
        Metric("r2", True, {"regression": _r2}),
    )
}
"""Name -> metric. Logits are calibrated; labels are decided by the largest (one label) or by > 0 (many labels)."""


def valid_metrics(problem: Problem) -> tuple[str, ...]:
    """Names of the metrics of this problem, in the order they are reported."""
    return tuple(name for name, metric in METRICS.items() if problem in metric.by_problem)


def measured(name: str, logits: FloatArray, targets: Targets, problem: Problem) -> Measured:
    """A metric on these rows, to be called with row weights.

    Args:
        name: A name of `METRICS`.
        logits: ``(N, outputs)``, calibrated; regression: the values ``(N, 1)``.
        targets: As in `headstart.types.Examples`, labelled rows only.
        problem: Decides which metrics apply.

    Raises:
        UsageError: If no metric has this name, or it is not one of this problem; lists the valid ones.
    """
    valid = valid_metrics(problem)
    if name not in METRICS:
        raise unknown_name("metric", name, valid)
    if name not in valid:
        raise UsageError(f"metric '{name}' does not apply to {problem}. Valid: {', '.join(valid)}")
    return METRICS[name].by_problem[problem](logits, targets)


def value(name: str, logits: FloatArray, targets: Targets, problem: Problem) -> float:
    """One metric on all rows; NaN without rows.

    Raises:
        UsageError: As `measured`.
    """
    on_rows = measured(name, logits, targets, problem)
    return float(on_rows(np.ones((1, len(targets))))[0]) if len(targets) else float("nan")


def metrics(logits: FloatArray, targets: Targets, problem: Problem) -> dict[str, float]:
    """Every metric of the problem, and ``n``, the number of rows; ``n`` alone where that is 0."""
    found = {name: value(name, logits, targets, problem) for name in valid_metrics(problem)} if len(targets) else {}
    return {**found, "n": len(targets)}


def correct(logits: FloatArray, targets: Targets) -> NDArray[np.bool_]:
    """Which rows of a classification are right ``(N,)``."""
    return _hits(logits, targets)


class Difference(NamedTuple):
    """The gain of one arm over another, for `headstart.stats.paired_bootstrap`."""

    statistic: Callable[[FloatArray], FloatArray]
    """Weights ``(B, K)`` of K kinds of rows -> the gain ``(B,)``; rows of a kind look the same to the metric."""
    counts: FloatArray
    """(K,): rows of each kind."""
    differing: int
    """Rows of which the metric sees something different in the two arms."""
    spare: FloatArray
    """(K,): one row more that was not seen, in shares; zeros where the metric takes all rows alike."""


def difference(name: str, logits: FloatArray, over: FloatArray, targets: Targets, problem: Problem) -> Difference:
    """The paired gain of one arm over another, positive where the first is better.

    A metric that takes classes alike and not rows may rest on a class of which no row tells the arms apart. For
    such the spare row is of any class that is there, and right in one of the arms.

    Args:
        name: A name of `METRICS`.
        logits: ``(N, outputs)`` of the arm.
        over: ``(N, outputs)`` of the arm it is compared with.
        targets: ``(N, ...)``.
        problem: Decides which metrics apply.

    Raises:
        UsageError: As `measured`.
    """
    rows, spare = len(targets), 0
    if METRICS[name].by_class if name in METRICS else False:
        logits, over, targets = _with_spare(logits, over, targets)
        spare = len(targets) - rows
    first, second = measured(name, logits, targets, problem), measured(name, over, targets, problem)
    sign = 1.0 if METRICS[name].higher_is_better else -1.0
    differing = np.count_nonzero(abs(first.rows - second.rows).sum(axis=1)[:rows])
    at, kind = _kinds(first.rows, second.rows)
    mine, theirs = first.rows[at], second.rows[at]
    return Difference(
        lambda weights: sign * (first.reduce(weights, mine) - second.reduce(weights, theirs)),
        np.bincount(kind[:rows], minlength=len(at)).astype(np.float64),
        int(differing),
        np.bincount(kind[rows:], minlength=len(at)) / max(1, spare),
    )


def _with_spare(
    logits: FloatArray, over: FloatArray, targets: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """The rows, and two more of each class that is there: one that the first arm alone gets right, and the reverse."""
    there, outputs = np.unique(targets), np.eye(logits.shape[1])
    right, wrong = outputs[there], outputs[(there + 1) % len(outputs)]
    return (
        np.concatenate([logits, right, wrong]),
        np.concatenate([over, wrong, right]),
        np.concatenate([targets, there, there]),
    )


def _kinds(first: Any, second: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A row of each kind ``(K,)`` and the kind of each row ``(N,)``, told apart by a random projection."""
    directions = np.random.default_rng(0).normal(size=(2, first.shape[1]))
    _, at, kind = np.unique(first @ directions[0] + second @ directions[1], return_index=True, return_inverse=True)
    return at, kind
