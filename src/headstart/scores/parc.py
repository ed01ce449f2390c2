"""PARC: rows of the same class should be near each other (Bolya et al. 2021, section 4.2)."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from headstart.scores import Score, in_fixed_order, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]

AXES = 32
MOST_ROWS = 500
"""Pairs grow with the square of the rows."""


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """Spearman correlation, over pairs of rows, of their distances in the embedding and in the class; in [-1, 1].

    The distance is 1 - Pearson's correlation: of the standardised largest 32 principal axes, and of the classes
    as indicator vectors. 0 where one of the two does not vary.
    """
    if len(classes) > MOST_ROWS:
        embeddings, classes = in_fixed_order(embeddings, classes)
        kept = np.random.default_rng(0).permutation(len(classes))[:MOST_ROWS]
        embeddings, classes = embeddings[kept], classes[kept]
    rows = principal(embeddings)[0][:, -AXES:]
    spread = rows.std(0)
    rows = rows[:, spread > 0] / spread[spread > 0]
    rows = rows - rows.mean(1, keepdims=True) if rows.shape[1] else rows
    lengths = np.linalg.norm(rows, axis=1)
    rows = rows / np.where(lengths > 0, lengths, 1)[:, None]
    pairs = np.triu_indices(len(classes), 1)
    return _correlation(rankdata(-(rows @ rows.T)[pairs].round(9)), classes[pairs[0]] != classes[pairs[1]])


def _correlation(ranks: FloatArray, differ: np.ndarray) -> float:
    """Pearson's correlation of ranks with two values; ranks of two values are two values again."""
    spread = ranks.std() * differ.std() if len(ranks) else 0.0
    return float(((ranks - ranks.mean()) * (differ - differ.mean())).mean() / spread) if spread > 0 else 0.0


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), experimental=True)
