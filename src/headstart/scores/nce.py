"""NCE (Tran et al. 2019): what is left unknown of the classes when one knows the source's own class."""

from __future__ import annotations

import numpy as np

from headstart.scores import Score, indicators, of_classes
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score"]


def score(source_probabilities: FloatArray, classes: IndexArray) -> float:
    """Minus the empirical conditional entropy ``H(classes | argmax of source_probabilities)``, in nats; at most 0."""
    labels = np.unique(source_probabilities.argmax(1), return_inverse=True)[1].astype(np.int64)
    joint = indicators(classes).T @ indicators(labels) / len(classes)
    given = joint / joint.sum(0)
    return float((joint * np.log(np.where(joint > 0, given, 1.0))).sum())


SCORE = Score(of_classes(score), problems=("classification", "multilabel"), source_head=True)
