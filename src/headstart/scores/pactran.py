"""PACTran-Gauss: a PAC-Bayesian bound of a linear classifier's loss (Ding et al. 2022, eq. 10), negated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from headstart.scores import Score, indicators, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]

STRENGTH = 1.0
"""lambda / n of the paper, the middle one of those it tries."""
VARIANCE = 100.0
"""sigma_0^2 times D, which goes with that."""


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """Minus ``min_W [cross-entropy + ||W||^2 / (2 l)] + C D s / (2 l) ln(tr(Hessian) l / (C D))``.

    With l = lambda N and s = sigma_0^2. W lies in the span of the centred rows, so it is sought in their
    principal axes; the trace, the same in all bases, counts all D dimensions.
    """
    rows, width = principal(embeddings)[0], embeddings.shape[1]
    members, penalty = indicators(classes), STRENGTH * len(classes)
    shape = (rows.shape[1] + 1, members.shape[1])
    inputs = np.hstack([rows, np.ones((len(rows), 1))])

    def bound(flat: FloatArray) -> tuple[float, FloatArray]:
        weight = flat.reshape(shape)
        logits = inputs @ weight
        loss = -(members * log_softmax(logits, axis=1)).sum() / len(rows) + (weight[:-1] ** 2).sum() / (2 * penalty)
        slope = inputs.T @ (softmax(logits, axis=1) - members) / len(rows)
        slope[:-1] += weight[:-1] / penalty
        return float(loss), slope.ravel()

    found = minimize(
        bound,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8},
    )
    chances = softmax(inputs @ found.x.reshape(shape), axis=1)
    unsure = chances * (1 - chances)
    size = members.shape[1] * width
    trace = float(((rows**2).sum(1) @ unsure).sum() + size / penalty + unsure.sum())
    return -float(found.fun + VARIANCE / width * size / (2 * penalty) * np.log(trace * penalty / size))


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), experimental=True)
