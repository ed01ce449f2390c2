"""scikit-learn estimators: lists of texts, image paths or PIL images as X."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from headstart import adapt, calibration, data, ranking, sources
from headstart.errors import DataError
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.store import cache_folder
from headstart.types import Arm, Dataset, Problem, Split

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from headstart.backbones import Source

__all__ = ["TransferClassifier", "TransferRegressor"]


class _Transfer(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: rank sources, adapt the best, keep the arm.

    Every row given to ``fit`` is trained on; measure with scikit-learn's own tools, or use
    `headstart.fit` for a proof on held-out rows.
    """

    _problem: Problem

    def __init__(self, source: str = "auto", method: str = "auto", modality: str | None = None, budget: float | None = None, random_state: int = 0, cache: bool = True) -> None:
        self.source = source
        self.method = method
        self.modality = modality
        self.budget = budget
        self.random_state = random_state
        self.cache = cache

    def _fit(self, X: Any, y: Any) -> Dataset:
        dataset = data.read((X, y), problem=self._problem, modality=self.modality)
        if dataset.excluded:
            first = "; ".join(f"{one.id}: {one.reason}" for one in dataset.excluded[:5])
            raise DataError(f"{len(dataset.excluded)} of {len(X)} examples cannot be used. {first}")
        task, table = dataset.task, dataset.examples
        split = _all_train(dataset, self.random_state)
        found = [suited(one, table, split.train) for one in sources.candidates(self.source, task.modality)]
        embedder = self._embedder()
        cards = tuple(one.card for one in found)
        self.ranking_ = ranking.rank(task, table, split, cards, self.random_state, self.budget, found, embedder)
        source = next(one for one in found if one.name == self.ranking_.chosen)
        methods = adapt.LADDER if self.method == "auto" else tuple(self.method.split(","))
        arms = adapt.adapt(task, table, split, source.card, methods, self.random_state, source, embedder)
        self.arm_: Arm = next(arm for arm in arms if arm.name == adapt.choose(task, table, arms))
        self.modality_, self.input_ = task.modality, source.card.input
        return dataset

    def _embedder(self) -> Embedder:
        return Embedder(pipeline_of, cache_folder() if self.cache else None)

    def _source(self) -> Source:
        return sources.resolve(self.arm_.source, self.modality_).with_input(self.input_)

    def transform(self, X: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings ``(N, D)`` float32 of the chosen source and layer."""
        check_is_fitted(self)
        table = data.table_of(X, self.modality_)
        return self._embedder().embed(self._source(), table, np.arange(len(table)))[self.arm_.layer]

    def _logits(self, X: Sequence[Any]) -> NDArray[Any]:
        return self.arm_.head.logits(self.transform(X)) / self.arm_.head.temperature

    def __sklearn_tags__(self) -> Tags:
        """Inputs are texts or images, not a table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


class TransferClassifier(ClassifierMixin, _Transfer):  # type: ignore[misc]
    """A classifier from a pretrained source.

    Args:
        source: ``auto`` ranks every usable source; a name; or several, comma-separated.
        method: How to adapt: ``auto`` or a name of the method table.
        modality: ``image`` or ``text``; None: guessed from X.
        budget: Seconds for ranking, or None.
        random_state: Decides every random number.
        cache: Keep embeddings on disk.

    Attributes:
        classes_: The classes, as given in ``y``.
        ranking_: Every source with its score.
        arm_: What was fitted: source, layer, head.
    """

    _problem: Problem = "classification"

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:
        """Fits to N texts, image paths or PIL images and their N classes.

        Raises:
            DataError: If an example or label cannot be used; names it.
        """
        dataset = self._fit(X, y)
        values = {str(value): value for value in np.unique(np.asarray(y))}
        self.classes_ = np.array([values.get(label, label) for label in dataset.task.labels])
        return self

    def decision_function(self, X: Sequence[Any]) -> NDArray[Any]:
        """Calibrated logits ``(N, C)``; of two classes, the difference ``(N,)``."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Sequence[Any]) -> NDArray[Any]:
        """Probabilities ``(N, C)`` in the order of ``classes_``."""
        return calibration.probabilities(self._logits(X), self._problem)

    def predict(self, X: Sequence[Any]) -> NDArray[Any]:
        """The likeliest class of each input, ``(N,)``."""
        return self.classes_[self._logits(X).argmax(1)]


class TransferRegressor(RegressorMixin, _Transfer):  # type: ignore[misc]
    """A regressor from a pretrained source; arguments and attributes as `TransferClassifier`."""

    _problem: Problem = "regression"

    def fit(self, X: Sequence[Any], y: Sequence[float]) -> Self:
        """Fits to N texts, image paths or PIL images and their N values.

        Raises:
            DataError: If an example or value cannot be used; names it.
        """
        self._fit(X, y)
        return self

    def predict(self, X: Sequence[Any]) -> NDArray[Any]:
        """The value of each input, ``(N,)``."""
        return self._logits(X)[:, 0]


def _all_train(dataset: Dataset, seed: int) -> Split:
    """Every row in ``train``, with the folds that `headstart.data.split` deals."""
    from dataclasses import replace

    return data.split(replace(dataset, given=("train",) * len(dataset.examples)), seed=seed, test_share=0.0)
