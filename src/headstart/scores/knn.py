"""Nearest neighbours, each row left out in turn: what is near in the embedding should be alike in the target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.scores import Score, indicators
from headstart.types import FloatArray, IndexArray, Problem

__all__ = ["SCORE", "losses", "score"]

NEIGHBOURS = 5
SAME = 1e-9
"""Cosines closer than this are equal: the order of the rows moves them by less."""


def score(embeddings: FloatArray, targets: np.ndarray, problem: Problem) -> float:
    """Minus the mean of `losses`: nats, or for regression the unexplained share of the variance.

    Equal rows are each other's nearest neighbours, so data with many duplicates look too easy.
    """
    return -float(losses(embeddings, targets, problem).mean())


def losses(
    embeddings: FloatArray, targets: np.ndarray, problem: Problem, folds: IndexArray | None = None
) -> FloatArray:
    """Loss ``(N,)`` of predicting each row by its five nearest others (cosine) and one vote of all others.

    The vote of all others is their class frequencies after adding one example a class (or their mean value):
    it keeps a class that no neighbour has from costing infinitely much. Rows as near as the fifth share
    its place. In memory: N^2 numbers.

    Args:
        embeddings: (N, D).
        targets: Classes (N,), labels (N, C) bool, or values (N,).
        problem: Decides the loss.
        folds: (N,) fold numbers: rows of one fold are no others of each other, where groups or duplicates must be
            left out together; None: each row is a fold of its own.
    """
    rows = len(embeddings)
    if problem == "regression":
        columns: FloatArray = np.asarray(targets, np.float64)[:, None]
    elif problem == "multilabel":
        columns = np.asarray(targets, np.float64)
    else:
        columns = indicators(np.unique(targets, return_inverse=True)[1].astype(np.int64))
    others = ~np.eye(rows, dtype=bool) if folds is None else folds[:, None] != folds
    near = _nearness(embeddings, others)
    choices = {"classification": columns.shape[1], "multilabel": 2, "regression": 0}[problem]
    everyone = (others @ columns + (choices > 0)) / np.maximum(others.sum(1, keepdims=True) + choices, 1)
    predicted = (near @ columns + everyone) / (near.sum(1, keepdims=True) + 1)
    if problem == "regression":
        return np.asarray((predicted - columns)[:, 0] ** 2 / (columns.var() or 1.0))
    if problem == "multilabel":
        return np.asarray(-np.log(np.where(targets, predicted, 1 - predicted)).mean(1))
    return np.asarray(-np.log((predicted * columns).sum(1)))


def _nearness(embeddings: FloatArray, others: NDArray[np.bool_]) -> FloatArray:
    """Weights ``(N, N)`` of each row's nearest others; they sum to 5 in a row, or to the fewest others of any row."""
    exact = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    unit = exact / np.where(lengths > 0, lengths, 1)
    cosines = np.where(others, unit @ unit.T, -np.inf)
    count = min(NEIGHBOURS, int(others.sum(1).min()))
    if not count:
        return np.zeros_like(cosines)
    last = -np.partition(-cosines, count - 1, axis=1)[:, count - 1 : count]
    nearer = cosines > last + SAME
    level = (np.abs(cosines - last) <= SAME).astype(np.float64)
    left = count - nearer.sum(1, keepdims=True)
    return np.asarray(nearer + level * left / level.sum(1, keepdims=True))


SCORE = Score(score)
