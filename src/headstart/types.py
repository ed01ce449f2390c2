"""The words of Headstart as data: frozen records that every room passes to the next.

Nothing here computes more than a view of its own fields, and nothing here imports torch.
Records that are stored in a run (see `headstart.store`) hold only numbers, strings, tuples,
string-keyed dicts, NumPy arrays and other records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.exhibits import Audit, Exhibit, Exhibition, Finding, Map, Suspect
from headstart.ledger import Ledger, LedgerRow

__all__ = [
    "Arm",
    "ArmResult",
    "Audit",
    "Calibration",
    "Conformal",
    "Curve",
    "Dataset",
    "Examples",
    "Exclusion",
    "Exhibit",
    "Exhibition",
    "Finding",
    "FloatArray",
    "Gain",
    "IndexArray",
    "InputSpec",
    "LabelsSaved",
    "Learning",
    "Ledger",
    "LedgerRow",
    "LinearHead",
    "Map",
    "Modality",
    "MoreLabels",
    "Predictions",
    "Problem",
    "RankedSource",
    "Ranking",
    "Receipt",
    "SourceCard",
    "SourceHead",
    "Split",
    "Suspect",
    "Task",
]

Problem = Literal["classification", "multilabel", "regression"]
Modality = Literal["image", "text"]
FloatArray = NDArray[np.floating[Any]]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What is to be learned."""

    problem: Problem
    modality: Modality
    labels: tuple[str, ...]
    """Class names in the order of the logits; empty for regression."""
    metric: str
    """The metric that decides: a name of `headstart.evaluate.METRICS`."""

    @property
    def outputs(self) -> int:
        """Number of logits: one a class, or 1 for regression."""
        return max(1, len(self.labels))


@dataclass(frozen=True)
class Exclusion:
    """One example that was left out, together with its label, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Examples:
    """One table of examples; every split is a set of row numbers into it."""

    modality: Modality
    inputs: tuple[Any, ...]
    """N inputs: texts, image paths or PIL images."""
    ids: tuple[str, ...]
    """N unique names a person can find again: a relative path, or ``row 17``."""
    digests: tuple[str, ...]
    """N content hashes (32 hex digits): equal content has an equal digest."""
    targets: NDArray[Any]
    """Classification ``(N,)`` int64, -1 unlabelled; multilabel ``(N, C)`` bool; regression ``(N,)`` float64, NaN
    unlabelled."""
    groups: tuple[str, ...] | None = None
    """N group names that no split may tear apart, or None."""

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of contents, names, targets and groups: everything a later step can depend on."""
        sha = hashlib.sha256()
        for part in (self.modality, *self.ids, *self.digests, *(self.groups or ())):
            sha.update(part.encode("utf-8", "surrogatepass") + b"\0")
        sha.update(
            str((self.targets.dtype.str, self.targets.shape)).encode() + np.ascontiguousarray(self.targets).tobytes()
        )
        return sha.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """What reading found: the task, the table, what was left out and what was guessed."""

    task: Task
    examples: Examples
    given: tuple[str, ...] | None
    """N names out of train, validation, test and '' (not said), or None when the data name no splits."""
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]
    """What was guessed or is worth knowing, as sentences for the user."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the table, the task and the given splits."""
        parts = (self.examples.fingerprint, repr(self.task), *(self.given or ("no splits given",)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """Row numbers into one table of examples; disjoint."""

    train: IndexArray
    validation: IndexArray
    """May be empty: choices are then made by out-of-fold predictions on ``train``."""
    test: IndexArray
    """Opened by `headstart.prove` only."""
    unlabeled: IndexArray
    how: str
    """How the split was made, as a sentence."""
    folds: IndexArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Fold number of each row of ``train`` (same length), for out-of-fold predictions; groups are whole."""


@dataclass(frozen=True)
class InputSpec:
    """How a source wants its inputs."""

    size: int = 0
    """Image side in pixels (square)."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bicubic"
    crop: float = 1.0
    """Share of the resized short side that the centre crop keeps."""
    max_tokens: int = 0
    """Longest token sequence; what is longer is truncated."""
    special_tokens: bool = True
    """Whether the tokenizer adds the source's begin and end tokens."""
    prompt: str = ""
    """Put before every text, where the source was trained with such a prompt."""

    fixed: bool = False
    """Whether the source takes images of this size only."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> InputSpec:
        """The spec in a JSON or TOML table, whose lists become tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return cls(**fields)


@dataclass(frozen=True)
class SourceCard:
    """Facts about a source; data only."""

    name: str
    """The name a user types: ``efficientnet-lite0``."""
    title: str
    modality: Modality
    provider: str
    parameters: int
    dim: int
    """Width of the embedding."""
    layers: tuple[str, ...]
    """Embeddings one pass can give, ``last`` first."""
    input: InputSpec
    trained_on: str
    licence: str
    weights_sha256: str
    prior: float | None = None
    """Published accuracy in [0, 1]; None where none is known."""
    prior_name: str = ""
    """What ``prior`` measures: ``ImageNet-1k top-1``."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What `headstart.backbones.build` takes: family and settings, plain JSON."""
    revision: str = ""
    """Commit of the repository the source was read from; empty where it has none."""


@dataclass(frozen=True)
class SourceHead:
    """The classifier a source was trained with: a linear map on its ``last`` embedding."""

    weight: NDArray[np.float32]
    """(Z, D)."""
    bias: NDArray[np.float32]
    """(Z,)."""
    classes: tuple[str, ...] = ()
    """Z names in the order of the rows, not always distinct; empty where they are not known."""

    def logits(self, embeddings: FloatArray) -> FloatArray:
        """Logits ``(N, Z)`` of embeddings ``(N, D)``."""
        return np.asarray(embeddings, np.float32) @ self.weight.T + self.bias

    def probabilities(self, embeddings: FloatArray) -> FloatArray:
        """Softmax of the logits, ``(N, Z)``: the source's own predictions, which LEEP and NCE compare with labels."""
        logits = self.logits(embeddings)
        grown = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(grown / grown.sum(1, keepdims=True))


@dataclass(frozen=True)
class RankedSource:
    """One row of a ranking."""

    source: str
    score: float | None
    """Minus the leave-one-out loss, in nats or in units of the variance; None where the source failed."""
    standard_error: float | None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Every score that was computed, by name, on the same ``rows``."""
    seconds: float = 0.0
    error: str | None = None
    layer: str = "last"
    tied: bool = False
    """Not distinguishable from the best: within one standard error of the paired difference."""
    parameters: int = 0
    licence: str = ""
    rows: int = 0
    """Train rows that its scores are based on."""
    left: bool = False
    """Clearly behind on these rows, so not looked at on more."""
    rank_low: int | None = None
    """Best rank that it may have among the sources measured on the same rows, in 90% of draws of these rows."""
    rank_high: int | None = None
    """Worst such rank."""


@dataclass(frozen=True)
class Ranking:
    """Sources, best first; failures last with their reason. Made from train rows only."""

    rows: tuple[RankedSource, ...]
    chosen: str
    """The first of the table."""
    examples: int
    """Most train rows that scores are based on."""
    score: str = "ridge_loo"
    """What ``score`` and ``standard_error`` of the rows are."""
    order: str = "fused"
    """What the rows are ordered by: a name in their ``scores``."""
    shortlist: tuple[str, ...] = ()
    """Worth adapting: the first three and all that are tied with the best."""


@dataclass(frozen=True)
class LinearHead:
    """A linear map on an embedding: ``logits = embeddings @ weight.T + bias``."""

    kind: str
    """Name of the head that fitted it: ``ridge`` or ``logistic``."""
    weight: NDArray[np.float32]
    """(outputs, D)."""
    bias: NDArray[np.float32]
    """(outputs,)."""
    temperature: float = 1.0
    """Probabilities are softmax (or sigmoid) of ``logits / temperature``."""
    penalty: float = 0.0

    def logits(self, embeddings: FloatArray) -> FloatArray:
        """Uncalibrated logits ``(N, outputs)`` of embeddings ``(N, D)``."""
        return np.asarray(embeddings, np.float32) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Predictions:
    """Per-example outputs with their names; nothing is averaged before it is stored."""

    ids: tuple[str, ...]
    logits: FloatArray
    """(N, outputs), calibrated: divided by the temperature already. Regression: the values, (N, 1)."""


@dataclass(frozen=True)
class Arm:
    """A trained candidate, before any test row was seen."""

    name: str
    source: str
    method: str
    seed: int
    seconds: float
    """Of computing: where several processes share a training, those of all of them."""
    layer: str
    head: LinearHead
    validation: Predictions
    """On the validation rows, or out-of-fold on the train rows where there are none."""
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Backbone tensors that adapting changed, by name; empty: the frozen source's own, see `Source.tuned`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What training settled and met: ``steps`` (done), ``share`` (of the schedule), ``mix`` (of the tuned weights),
    ``rows`` (trained on), ``events`` (sentences); empty: nothing was trained step by step."""


@dataclass(frozen=True)
class ArmResult:
    """An arm with its measurements on the test rows."""

    name: str
    source: str
    method: str
    seconds: float
    validation: Mapping[str, float]
    test: Mapping[str, float]
    predictions: Predictions
    """On the test rows."""


@dataclass(frozen=True)
class Gain:
    """A paired difference of two arms on the same rows; positive: the transfer is better."""

    over: str
    metric: str
    value: float
    low: float
    high: float
    level: float
    """Coverage of [low, high], for example 0.95."""
    test: str
    """The procedure behind the interval and the p-value."""
    p_value: float | None = None
    holm: float | None = None
    """``p_value`` adjusted by Holm for all comparisons of the receipt; None without a p-value."""
    on: str = ""
    """The rows: ``530 test rows``, or ``5-fold cross-validation of 300 rows, repeated 5 times``."""
    ours: float | None = None
    """The metric of the transfer on these rows; ``value`` is its difference to ``theirs``."""
    theirs: float | None = None


@dataclass(frozen=True)
class Curve:
    """A learning curve: how well one arm does with how many labels."""

    arm: str
    """As in `Receipt.arms`."""
    rows: tuple[int, ...]
    """S numbers of training rows, ascending: nested subsets; the last is all of them."""
    values: FloatArray
    """(S, draws) of the metric, each draw by subsets of its own; NaN where a draw was not measured."""


@dataclass(frozen=True)
class LabelsSaved:
    """How many times the labels another arm needs to do as well as the transfer."""

    over: str
    """Name of the other arm."""
    times: float
    """Labels the other arm needs, divided by those the transfer needs for the same value of the metric."""
    low: float
    high: float
    """Bounds of ``times`` at the level of the receipt; infinite where the curves do not bound it."""
    at_least: bool
    """The curves end before the two meet: ``times`` is a lower bound."""
    sentence: str


@dataclass(frozen=True)
class MoreLabels:
    """What more labels would buy, by a curve a - b n^-c through the learning curve."""

    arm: str
    rows: int
    """How many more: 100, or fewer where that would be more than twice the labels there are."""
    gain: float
    """In the metric, positive: better."""
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Learning:
    """Learning curves, and what follows from them."""

    metric: str
    curves: tuple[Curve, ...]
    """The transfer's first."""
    saved: LabelsSaved | None
    """Over the scratch twin where it was measured, else over the classical baseline."""
    more: MoreLabels | None
    further: tuple[LabelsSaved, ...] = ()
    """Over the other curves."""


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of the shipped arm can be believed, on test rows."""

    temperature: float
    ece_before: float
    """Expected calibration error without the temperature."""
    ece: float
    coverage: FloatArray
    """(K,) shares of the rows that are answered, ascending, the surest first."""
    accuracy: FloatArray
    """(K,) accuracy on these: the abstention curve."""


@dataclass(frozen=True)
class Conformal:
    """Split-conformal sets of labels, or intervals of values, around the shipped arm's predictions."""

    level: float
    """Coverage that was asked for: 0.9."""
    threshold: float
    """Classification: a label is in the set when its probability is at least this, and the likeliest always is.
    Regression: half the width of the interval."""
    rows: int
    """Number of validation or out-of-fold predictions it was set by."""
    coverage: float | None
    """Share of the test rows whose target was inside; None without test rows."""
    low: float | None
    high: float | None
    """Interval of ``coverage`` (Wilson, 95%)."""
    size: float | None
    """Mean number of labels in a set, or width of an interval, on the test rows."""


@dataclass(frozen=True)
class Receipt:
    """The evidence of one run."""

    verdict: str
    """``helped``, ``no evidence`` or ``negative transfer``."""
    sentence: str
    """The verdict as a sentence for people."""
    chosen: str
    """Name of the arm that ships."""
    metric: str
    gains: tuple[Gain, ...]
    """The first is the one the verdict rests on."""
    arms: tuple[ArmResult, ...]
    counts: Mapping[str, int]
    """Rows: train, validation, test."""
    detectable_gain: float | None
    """Smallest gain (in the metric's units) that 80% of such tests would detect; said before the work."""
    scratch_twin: str
    """What is known of the same model trained from scratch."""
    notes: tuple[str, ...] = ()
    targets: NDArray[Any] | None = None
    """Test targets in the order of every arm's ``predictions.ids``, coded as in `Examples`."""
    proof: str = "full"
    """``full``; ``quick``: no scratch twin; ``off``: nothing was measured."""
    protocol: str = ""
    """How it was measured, as it was said before the work."""
    not_measured: tuple[str, ...] = ()
    """What the proof left out, as sentence parts."""
    learning: Learning | None = None
    calibration: Calibration | None = None
    conformal: Conformal | None = None
