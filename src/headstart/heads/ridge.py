"""Ridge regression on +-1 targets, its penalty and temperature chosen by exact out-of-fold predictions."""

from __future__ import annotations

import numpy as np

from headstart import ridge
from headstart.heads import FittedHead, Head
from headstart.types import FloatArray, IndexArray, LinearHead, Problem

__all__ = ["HEAD", "fit"]


def fit(
    embeddings: FloatArray,
    targets: np.ndarray,
    folds: IndexArray | None,
    problem: Problem,
    outputs: int,
    start: FittedHead | None = None,  # noqa: ARG001 - the contract of a head
) -> FittedHead:
    """The ridge of `headstart.ridge.select`; ``folds`` None means leave-one-out, ``start`` is not needed.

    Raises:
        DataError: If embeddings or targets cannot be used.
    """
    found = ridge.select(embeddings, targets, problem, outputs, folds)
    weight, bias = found.factor.solve(found.responses.values, found.penalty)
    head = LinearHead(
        kind="ridge",
        weight=(weight * found.responses.scale).astype(np.float32),
        bias=(bias * found.responses.scale + found.responses.center).astype(np.float32),
        temperature=found.temperature,
        penalty=found.penalty,
    )
    return FittedHead(head, found.out_of_fold, found.losses, found)


HEAD = Head(fit)
