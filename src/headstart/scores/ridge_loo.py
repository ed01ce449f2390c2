"""Leave-one-out log-loss of a ridge at its best penalty and temperature."""

from __future__ import annotations

import numpy as np

from headstart import ridge
from headstart.scores import Score
from headstart.types import FloatArray, IndexArray, Problem

__all__ = ["SCORE", "losses", "score"]


def score(embeddings: FloatArray, targets: np.ndarray, problem: Problem) -> float:
    """Minus the mean of `losses`: nats, or for regression the unexplained share of the variance.

    Raises:
        DataError: If embeddings or targets cannot be used.
    """
    return -float(losses(embeddings, targets, problem).mean())


def losses(
    embeddings: FloatArray, targets: np.ndarray, problem: Problem, folds: IndexArray | None = None
) -> FloatArray:
    """Out-of-fold loss of each row, ``(N,)``; differences of two sources give a paired standard error.

    Classes without an example play no part.

    Args:
        embeddings: (N, D).
        targets: Classes (N,), labels (N, C) bool, or values (N,).
        problem: Decides the loss, see `headstart.calibration.log_losses`.
        folds: (N,) fold numbers where groups or duplicates must be left out together; None: leave one out.

    Raises:
        DataError: If embeddings or targets cannot be used.
    """
    present, outputs = targets, targets.shape[1] if targets.ndim > 1 else 1
    if problem == "classification":
        classes, present = np.unique(targets, return_inverse=True)
        outputs = len(classes)
    return ridge.select(embeddings, present, problem, outputs, folds).losses


SCORE = Score(score)
