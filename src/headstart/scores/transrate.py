"""TransRate: mutual information of embeddings and classes by coding rates (Huang et al. 2022, eq. 6)."""

from __future__ import annotations

import numpy as np

from headstart.scores import Score, class_means, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]

DISTORTION = 1e-4


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """Coding rate of the centred rows, scaled to a sum of squares of 1, minus that of each class by its size; nats.

    Two things the widely used code does otherwise: classes count by their rows, as in the paper, and each is
    centred. A rate stands for an entropy, which does not depend on where the class lies; without centring, two
    classes of one size on opposite sides of the origin cannot be told from noise.
    """
    rows = principal(embeddings)[0]
    rows = rows / (np.sqrt((rows**2).sum()) or 1.0)
    inner = rows - class_means(rows, classes)[0][classes]
    sizes = np.bincount(classes)
    within = [size * _rate(inner[classes == label]) for label, size in enumerate(sizes.tolist())]
    return _rate(rows) - float(sum(within)) / len(rows)


def _rate(rows: FloatArray) -> float:
    """``1/2 ln det(I + Z'Z / (n eps))`` from the smaller of the two equal determinants."""
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (len(rows) * DISTORTION))[1])


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), experimental=True)
