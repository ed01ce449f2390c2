"""SFDA: self-challenging Fisher discriminant analysis (Shao et al. 2022, "Not all models are equal", section 4)."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from headstart.scores import Score, class_means, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """Mean probability of the right class, after each row was moved towards the other classes as far as it was unsure.

    Computed in the principal axes, which changes nothing: across them there are no differences between rows.
    The published code moves the rows of its argument in place; this one does not. With fewer rows than dimensions
    classes can be told apart without an error, and it is near 1 for every source.
    """
    components, _ = principal(embeddings)
    if classes.max() == 0 or not components.shape[1]:
        return float((np.bincount(classes) ** 2).sum() / len(classes) ** 2)
    within = _within(components, classes)
    # The width before, not the rank, divides the trace: the shrinkage target is a sphere in all D dimensions.
    strength = max(float(np.exp(-5 * np.linalg.eigvalsh(within)[-1])), 1e-10)
    sure = softmax(_probabilities(components, classes, strength, embeddings.shape[1]), axis=1)
    keep = sure[np.arange(len(classes)), classes][:, None]
    means, _ = class_means(components, classes)
    others = (means.sum(0) - means) / (len(means) - 1)
    moved = keep * components + (1 - keep) * others[classes]
    final = _probabilities(moved, classes, strength, embeddings.shape[1])
    return float(final[np.arange(len(classes)), classes].mean())


def _within(rows: FloatArray, classes: IndexArray) -> FloatArray:
    """Covariance ``(k, k)`` around the class means."""
    spread = rows - class_means(rows, classes)[0][classes]
    return np.asarray(spread.T @ spread / len(rows))


def _probabilities(rows: FloatArray, classes: IndexArray, strength: float, dim: int) -> FloatArray:
    """Class probabilities ``(N, C)`` of the rows themselves by a linear discriminant with a shrunk covariance."""
    within = _within(rows, classes)
    sphere = strength * np.trace(within) / dim
    shrunk = (1 - strength) * within
    # The last term keeps rows that lie on their class means from dividing by zero.
    shrunk.flat[:: len(shrunk) + 1] += sphere + np.finfo(np.float64).eps * np.einsum("nk,nk->", rows, rows) / len(rows)
    means, shares = class_means(rows, classes)
    weight = np.linalg.solve(shrunk, means.T)
    return np.asarray(softmax(rows @ weight - 0.5 * (means.T * weight).sum(0) + np.log(shares), axis=1))


SCORE = Score(of_classes(score), problems=("classification", "multilabel"))
