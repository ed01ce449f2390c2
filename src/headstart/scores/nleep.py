"""N-LEEP: LEEP with clusters in place of source classes (Li et al. 2021, "Ranking neural checkpoints", section 3.2)."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from headstart.scores import Score, expected_log_prediction, in_fixed_order, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "mixture", "score"]

ENERGY = 0.8
"""Share of the variance that the principal axes keep."""
CLUSTERS = 5
"""Clusters a class, but never more than half of the rows."""
STEPS = 100
SETTLED = 1e-3
"""Gain of the mean log likelihood below which the mixture is done."""
FLOOR = 1e-3
"""Share of an axis's variance that every cluster has on it at least."""


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """LEEP of the posteriors of a mixture of Gaussians with diagonal covariances, in nats.

    The mixture depends on where it begins, and with it the score: published comparisons find it unstable.
    """
    embeddings, classes = in_fixed_order(embeddings, classes)
    rows, values = principal(embeddings)
    kept = np.cumsum(values[::-1])[::-1] > (1 - ENERGY) * values.sum()
    rows = rows[:, kept]
    clusters = max(1, min(CLUSTERS * (int(classes.max()) + 1), len(rows) // 2))
    if not rows.shape[1] or clusters == 1:
        return expected_log_prediction(np.ones((len(classes), 1)), classes)
    return expected_log_prediction(mixture(rows, _seeds(rows, clusters)), classes)


def _seeds(rows: FloatArray, clusters: int) -> FloatArray:
    """First means ``(K, k)`` by k-means++ (Arthur and Vassilvitskii 2007): far apart, seeded."""
    generator = np.random.default_rng(0)
    picked = [int(generator.integers(len(rows)))]
    nearest = ((rows - rows[picked[0]]) ** 2).sum(1)
    while len(picked) < clusters and nearest.sum() > 0:
        picked.append(int(generator.choice(len(rows), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, ((rows - rows[picked[-1]]) ** 2).sum(1))
    return rows[picked]


def mixture(rows: FloatArray, means: FloatArray) -> FloatArray:
    """Posteriors ``(N, K)`` of a mixture of diagonal Gaussians after expectation maximisation.

    Args:
        rows: (N, k).
        means: (K, k) to begin from, with equal weights and the variances of all rows.
    """
    floor = FLOOR * rows.var(0)
    weights, variances = np.full(len(means), 1 / len(means)), np.tile(rows.var(0), (len(means), 1))
    before = -np.inf
    for _ in range(STEPS):
        joint = np.log(weights) + _densities(rows, means, variances)
        posteriors = np.exp(log_softmax(joint, axis=1))
        now = float(logsumexp(joint, axis=1).mean())
        if now - before < SETTLED:
            break
        before = now
        sizes = posteriors.sum(0) + 10 * np.finfo(np.float64).eps
        weights, means = sizes / sizes.sum(), posteriors.T @ rows / sizes[:, None]
        variances = np.maximum(posteriors.T @ rows**2 / sizes[:, None] - means**2, 0) + floor
    return np.asarray(posteriors)


def _densities(rows: FloatArray, means: FloatArray, variances: FloatArray) -> FloatArray:
    """Log density ``(N, K)`` of every row in every cluster."""
    scaled = means / variances
    distance = rows**2 @ (1 / variances).T - 2 * rows @ scaled.T + (means * scaled).sum(1)
    return np.asarray(-0.5 * (distance + np.log(2 * np.pi * variances).sum(1)))


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), experimental=True)
