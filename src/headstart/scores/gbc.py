"""GBC: separation of classes by Bhattacharyya coefficients (Pandy et al. 2022, eq. 3-5, spherical covariance)."""

from __future__ import annotations

import numpy as np

from headstart.scores import Score, class_means, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]

AXES = 64
"""Largest principal axes that are looked at, as in the paper."""
FLOOR = 1e-3
"""Share of the whole variance below which a class's variance counts as this share: classes of one row have none."""


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """Minus the sum of the overlaps ``exp(-Bhattacharyya distance)`` of all pairs of classes."""
    rows = principal(embeddings)[0][:, -AXES:]
    width = max(rows.shape[1], 1)
    means, shares = class_means(rows, classes)
    spread = ((rows - means[classes]) ** 2).sum(1)
    variances = np.bincount(classes, spread) / (shares * len(rows)) / width
    variances = np.maximum(variances, FLOOR * (rows**2).sum() / len(rows) / width)
    variances = np.maximum(variances, np.finfo(np.float64).tiny)
    first, second = np.triu_indices(len(means), 1)
    middle = (variances[first] + variances[second]) / 2
    apart = ((means[first] - means[second]) ** 2).sum(1) / (8 * middle)
    shape = width / 2 * (np.log(middle) - (np.log(variances[first]) + np.log(variances[second])) / 2)
    return -float(np.exp(-apart - shape).sum())


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), experimental=True)
