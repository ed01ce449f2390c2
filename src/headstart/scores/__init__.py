"""Transferability scores: how well a frozen source's embeddings suit a task, without training the source.

An entry of the table is a `Score`, called as

    score(embeddings, targets, problem, source_probabilities=None) -> float

with embeddings ``(N, D)``, the targets of a problem (classes ``(N,)`` int64, labels ``(N, C)`` bool,
values ``(N,)`` float64) and, where the source still has its head, that head's probabilities ``(N, Z)``;
training rows only. **Higher is better**, always. It is deterministic and pure: it changes none of its
arguments, and the order of the rows does not matter. Inside, everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart import ridge
from headstart.errors import UsageError
from headstart.registry import Registry
from headstart.types import FloatArray, IndexArray, Problem

__all__ = [
    "SCORES",
    "Score",
    "class_means",
    "defined",
    "expected_log_prediction",
    "in_fixed_order",
    "indicators",
    "of_classes",
    "principal",
]

SCORES = Registry(
    "score",
    {
        "ridge_loo": "headstart.scores.ridge_loo:SCORE",
        "logme": "headstart.scores.logme:SCORE",
        "knn": "headstart.scores.knn:SCORE",
        "hscore": "headstart.scores.hscore:SCORE",
        "sfda": "headstart.scores.sfda:SCORE",
        "leep": "headstart.scores.leep:SCORE",
        "nce": "headstart.scores.nce:SCORE",
        "gbc": "headstart.scores.gbc:SCORE",
        "nleep": "headstart.scores.nleep:SCORE",
        "pactran": "headstart.scores.pactran:SCORE",
        "parc": "headstart.scores.parc:SCORE",
        "transrate": "headstart.scores.transrate:SCORE",
    },
)
"""What each measures stands in its own file."""

Evaluate = Callable[[FloatArray, np.ndarray, Problem], float]
ALL: tuple[Problem, ...] = ("classification", "multilabel", "regression")


@dataclass(frozen=True)
class Score:
    """An entry of the table of scores."""

    evaluate: Evaluate
    """Of what the score looks at, finite float64 ``(N, .)``, the targets and the problem."""
    problems: tuple[Problem, ...] = ALL
    """Problems it is defined for."""
    source_head: bool = False
    """Whether it looks at the probabilities of the source's own head instead of the embeddings."""
    experimental: bool = False
    """Whether published comparisons speak against relying on it; computed only where it is asked for."""

    def __call__(
        self,
        embeddings: FloatArray,
        targets: np.ndarray,
        problem: Problem,
        source_probabilities: FloatArray | None = None,
    ) -> float:
        """The score of a source, see the module's docstring.

        Raises:
            UsageError: If it is not defined for this problem, or needs probabilities that were not given.
            DataError: If what it looks at is empty or not finite.
        """
        if problem not in self.problems:
            raise UsageError(f"this score is not defined for {problem}, only for {', '.join(self.problems)}")
        if self.source_head and source_probabilities is None:
            raise UsageError("this score needs the probabilities of the source's own head")
        observed = source_probabilities if self.source_head and source_probabilities is not None else embeddings
        ridge.check(observed)
        return float(self.evaluate(np.asarray(observed, np.float64), targets, problem))


def defined(problem: Problem, source_head: bool, experimental: bool = False) -> tuple[str, ...]:
    """Names of the scores that a problem and a source with or without its head allow, in the table's order."""
    return tuple(
        name
        for name, score in SCORES.items()
        if problem in score.problems
        and (source_head or not score.source_head)
        and (experimental or not score.experimental)
    )


def of_classes(function: Callable[[FloatArray, IndexArray], float]) -> Evaluate:
    """Evaluates a function of classes ``0 .. C - 1`` that all have examples.

    Of several labels an example, each with examples on both sides is a problem of two classes; the mean counts,
    and 0 where there is none.
    """

    def evaluate(observed: FloatArray, targets: np.ndarray, problem: Problem) -> float:
        if problem == "classification":
            return function(observed, np.unique(targets, return_inverse=True)[1].astype(np.int64))
        columns = [column.astype(np.int64) for column in targets.T if column.any() and not column.all()]
        return float(np.mean([function(observed, column) for column in columns])) if columns else 0.0

    return evaluate


def indicators(classes: IndexArray) -> FloatArray:
    """One column a class, ``(N, C)``: 1 for its own rows, else 0."""
    return np.asarray(classes[:, None] == np.arange(classes.max() + 1), np.float64)


def class_means(embeddings: FloatArray, classes: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Mean embedding ``(C, D)`` and share of the rows ``(C,)`` of each class."""
    members = indicators(classes)
    sizes = members.sum(0)
    return members.T @ embeddings / sizes[:, None], sizes / len(classes)


def principal(embeddings: FloatArray, center: bool = True) -> tuple[FloatArray, FloatArray]:
    """The rows in their principal axes, smallest first: ``(N, k)``, and the squared lengths of these columns ``(k,)``.

    Distances and inner products stay what they are. k is the rank, at most min(N, D). The sign of an axis,
    which no data decide, is such that its longest entry is positive.
    """
    rows, dim = embeddings.shape
    moved = embeddings - embeddings.mean(0) if center else embeddings
    if rows < dim:
        values, vectors = ridge.eigen(moved @ moved.T)
        components = vectors * np.sqrt(values)
    else:
        values, basis = ridge.eigen(moved.T @ moved)
        components = moved @ basis
    longest = np.abs(components).argmax(0)
    return components * np.sign(components[longest, np.arange(len(values))]), values


def in_fixed_order(embeddings: FloatArray, classes: IndexArray) -> tuple[FloatArray, IndexArray]:
    """The same rows in an order that their contents decide: seeded draws then pick the same rows every time."""
    order = sorted(range(len(embeddings)), key=lambda row: (embeddings[row].tobytes(), classes[row]))
    return embeddings[order], classes[order]


def expected_log_prediction(probabilities: FloatArray, classes: IndexArray) -> float:
    """LEEP (Nguyen et al. 2020, eq. 2): mean of ``ln sum_z P(y_i | z) theta_iz``, in nats, at most 0.

    Args:
        probabilities: theta, (N, Z): of source classes or clusters z; rows sum to 1.
        classes: (N,); P(y | z) is their empirical distribution given z.
    """
    joint = indicators(classes).T @ probabilities
    given = joint / np.maximum(joint.sum(0), np.finfo(np.float64).tiny)
    predicted = (probabilities * given[classes]).sum(1)
    return float(np.log(np.maximum(predicted, np.finfo(np.float64).tiny)).mean())
