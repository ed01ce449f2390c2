"""scikit-learn estimators: lists of texts, image paths or PIL images as X."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
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
    from headstart.features import Pipeline

__all__ = ["TransferClassifier", "TransferRegressor"]

_TURNS = threading.Lock()
"""An embedder serves one thread at a time; scikit-learn's users predict from several."""
_LOADED = ("_embedder", "_source")
"""What a fitted estimator holds in memory only: it is neither copied nor pickled, but loaded again."""


class _Transfer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: rank sources, adapt the best, keep the arm."""

    _problem: Problem

    def __init__(
        self,
        source: str = "auto",
        method: str = "probe",
        modality: str | None = None,
        budget: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
        cache: bool = True,
        augment: bool = True,
    ) -> None:
        self.source = source
        self.method = method
        self.modality = modality
        self.budget = budget
        self.random_state = random_state
        self.cache = cache
        self.augment = augment

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
            {name: getattr(self, name) for name in ("source", "method", "budget", "augment")} | {"seed": self._seed()},
            environment={},
        )
        adapt.ladder(config.method)
        dataset = data.read((_examples(X), targets), problem=self._problem, modality=self.modality)  # type: ignore[arg-type]
        if dataset.excluded:
            first = "; ".join(f"{one.id}: {one.reason}" for one in dataset.excluded[:5])
            raise DataError(f"{len(dataset.excluded)} of {len(targets)} examples cannot be used. {first}")
        task, table = dataset.task, dataset.examples
        split = data.split(dataset, config.seed, test_share=0.0)
        found = [suited(one, table, split.train) for one in sources.candidates(config.source, task.modality)]
        for name in _LOADED:
            self.__dict__.pop(name, None)
        ranked = ranking.rank(task, table, split, found, config.seed, config.budget, config.score, self._embedder)
        methods = adapt.ladder(config.method, task, len(split.train))
        source, teacher = adapt.roles(methods, found, ranked)
        plan = (methods, config.seed, config.budget, config.augment, teacher)
        arms = adapt.adapt(task, table, split, source, *plan, self._embedder)
        self.arm_: Arm = next(arm for arm in arms if arm.name == adapt.choose(task, table, arms))
        self.ranking_: Ranking = ranked
        self.source_: SourceCard = source.card
        self._source = source.tuned(self.arm_.tensors)
        self.precision_: str = self._embedder.precision(self._source, table, split.train)

    def _seed(self) -> Any:
        if self.random_state is None or isinstance(self.random_state, np.random.RandomState):
            return int(check_random_state(self.random_state).randint(2**31))
        return self.random_state

    def _embeddings(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        table = data.table_of(_examples(X), self.source_.modality)
        precision = self.precision_ if runtime.fast_bfloat16() else "float32"
        with _TURNS:
            layers = self._embedder.embed(self._source, table, np.arange(len(table)), precision)
        return layers[self.arm_.layer]

    def _logits(self, X: Any) -> FloatArray:
        """Calibrated logits ``(N, outputs)``."""
        # In float32 the last digits would depend on how many rows are multiplied at a time.
        embeddings, head = self._embeddings(X).astype(np.float64), self.arm_.head
        return np.asarray((embeddings @ head.weight.T + head.bias) / head.temperature)

    @cached_property
    def _source(self) -> Source:
        """The source that was fitted, opened again.

        Raises:
            UsageError: If it cannot be used here, or has other weights here.
        """
        source = sources.resolve(self.source_.name, self.source_.modality).with_input(self.source_.input)
        if source.card.weights_sha256 != self.source_.weights_sha256:
            raise UsageError(
                f"the weights of source '{source.name}' here are not those that this estimator was fitted with. "
                "Install the same version of their package, or fit again."
            )
        return source.tuned(self.arm_.tensors)

    @cached_property
    def _embedder(self) -> Embedder:
        pipelines: dict[str, Pipeline] = {}

        def pipeline(source: Source) -> Pipeline:
            # Reading a tokenizer takes longer than embedding a few texts.
            if source.fingerprint not in pipelines:
                pipelines[source.fingerprint] = pipeline_of(source)
            return pipelines[source.fingerprint]

        return Embedder(pipeline, cache_folder() if self.cache else None)

    @property
    def _n_features_out(self) -> int:
        return int(self.arm_.head.weight.shape[1])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in _LOADED}

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
        method: How to adapt: a name of the method table, or ``auto``, which also tunes the source, for minutes.
        modality: ``image`` or ``text``; None: guessed from X.
        budget: Seconds for ranking and adapting; None: five minutes.
        random_state: Decides every random number; None draws new ones at every ``fit``.
        cache: Keep embeddings on disk. In memory they stay as long as the estimator lives.
        augment: Vary training examples where a method trains step by step.

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
        values = _labels(y, type(self).__name__)
        if values.dtype.kind == "f" and (values != np.floor(values)).any():
            raise DataError("y is continuous: it holds fractions. To predict values use TransferRegressor.")
        try:
            classes, codes = np.unique(values, return_inverse=True)
        except TypeError as error:
            raise DataError(f"y mixes labels of several kinds: {error}. Make all of them texts.") from error
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
        best = self._logits(X).argmax(1)  # first: before ``fit`` there are no classes
        return np.asarray(self.classes_[best])


class TransferRegressor(RegressorMixin, _Transfer):  # type: ignore[misc]
    """A regressor from a pretrained source; arguments and attributes as `TransferClassifier`, but for ``classes_``."""

    _problem: Problem = "regression"

    def fit(self, X: Sequence[Any], y: Sequence[float]) -> Self:
        """Fits to N texts, image paths, PIL images or pixel arrays, and their N values.

        Raises:
            UsageError: If an argument of the constructor is wrong; lists the valid choices.
            DataError: If an example or value cannot be used; names it.
        """
        values = _labels(y, type(self).__name__)
        try:
            numbers = values.astype(np.float64, casting="same_kind" if values.dtype.kind in "mM" else "unsafe")
        except (TypeError, ValueError) as error:
            raise DataError(f"y does not hold numbers: {error}. To predict classes use TransferClassifier.") from error
        self._fit(X, numbers)
        return self

    def predict(self, X: Sequence[Any]) -> FloatArray:
        """The value of each example, ``(N,)``."""
        return self._logits(X)[:, 0]


def _examples(X: Any) -> list[Any]:
    """The entries of X, after a look at whether they can be examples at all."""
    if issparse(X):
        raise DataError("X is a sparse matrix of numbers; expected texts, image paths, PIL images or pixel arrays")
    cells = as_list(X, "X")
    if not cells:
        raise DataError("X is empty")
    for number, cell in enumerate(cells, 1):
        pixels = isinstance(cell, np.ndarray) and cell.ndim > 1
        if not (pixels or isinstance(cell, (str, Path, Image)) or is_missing(cell)):
            kind = "numbers" if isinstance(cell, (np.ndarray, list, tuple)) else type(cell).__name__
            raise DataError(
                f"row {number} of X holds {kind}; each example is one text, image path, PIL image or array of pixels "
                "(H, W) or (H, W, 3), not a row of a table"
            )
    return cells


def _labels(y: Any, name: str) -> NDArray[Any]:
    """The labels as an array ``(N,)`` that holds them as they are, none of them missing."""
    if y is None:
        raise DataError(f"{name} requires y to be passed, but the target y is None. Give one label an example.")
    try:
        values = np.asarray(column_or_1d(y, warn=True))
    except (TypeError, ValueError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{why}. Give one label an example; headstart.fit can learn several.") from error
    if len(values) < 2:
        raise DataError(f"y holds too few labels, n_samples = {len(values)}; at least two examples are needed")
    # A list would lose the difference of 1 and "1", and of None and "None", by becoming an array.
    cells = y if isinstance(y, (list, tuple)) else values
    if lost := [f"row {number}" for number, cell in enumerate(cells, 1) if is_missing(cell)]:
        raise DataError(f"Input y contains NaN or empty labels: {named(lost)}. Leave these examples out.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("Input y contains infinity. Leave these examples out.")
    if len({isinstance(cell, str) for cell in cells}) > 1:
        raise DataError("y mixes texts with numbers, so that 1 and '1' cannot be told apart. Make all of them texts.")
    return values
