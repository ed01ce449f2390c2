"""H-score with a shrunk covariance (Ibrahim et al. 2021, "Newer is not always better", eq. 4)."""

from __future__ import annotations

from headstart.scores import Score, class_means, of_classes, principal
from headstart.types import FloatArray, IndexArray

__all__ = ["SCORE", "score", "shrinkage"]


def score(embeddings: FloatArray, classes: IndexArray) -> float:
    """``(1 - a) tr[((1 - a) S + a s I)^-1 S_b]``: share of the variance that the classes explain, summed over axes.

    S is the covariance of the embeddings, s its mean eigenvalue, S_b the covariance of the class means and
    a the shrinkage of Ledoit and Wolf. Without it, with fewer rows than dimensions, every set of labels gives
    the score ``C - 1`` to every source (or worse: rounding noise inverted).
    """
    components, values = principal(embeddings)
    rows, dim = embeddings.shape
    if not len(values):
        return 0.0
    shrunk = shrinkage(components, values, dim)
    spread = (1 - shrunk) * values / rows + shrunk * values.sum() / rows / dim
    means, shares = class_means(components, classes)
    return float((1 - shrunk) * (shares @ means**2 / spread).sum())


def shrinkage(components: FloatArray, values: FloatArray, dim: int) -> float:
    """Ledoit and Wolf's weight in [0, 1] of the sphere in the covariance of ``dim`` columns (2004, lemma 3.2 ff.).

    Args:
        components: (N, k) centred rows in principal axes.
        values: (k,) squared lengths of their columns.
        dim: Number of columns before, D.
    """
    rows = len(components)
    squares = ((values / rows) ** 2).sum()
    distance = squares - (values.sum() / rows) ** 2 / dim
    noise = (((components**2).sum(1) ** 2).mean() - squares) / rows
    return float(min(max(noise / distance, 0.0), 1.0)) if distance > 0 else 0.0


SCORE = Score(of_classes(score), problems=("classification", "multilabel"))
