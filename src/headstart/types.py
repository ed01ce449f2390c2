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

__all__ = [
    "Arm",
    "ArmResult",
    "Audit",
    "Dataset",
    "Examples",
    "Exclusion",
    "Finding",
    "FloatArray",
    "Gain",
    "IndexArray",
    "InputSpec",
    "Ledger",
    "LedgerRow",
    "LinearHead",
    "Modality",
    "Predictions",
    "Problem",
    "RankedSource",
    "Ranking",
    "Receipt",
    "SourceCard",
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


@dataclass(frozen=True)
class RankedSource:
    """One row of a ranking."""

    source: str
    score: float | None
    """Higher is better; None where the source failed."""
    standard_error: float | None
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    layer: str = "last"
    tied: bool = False
    """Not distinguishable from the best: within one standard error of the paired difference."""
    parameters: int = 0
    licence: str = ""


@dataclass(frozen=True)
class Ranking:
    """Sources, best first; failures last with their reason. Made from train rows only."""

    rows: tuple[RankedSource, ...]
    chosen: str
    """The cheapest source that is tied with the best."""
    examples: int
    """Number of train rows the scores are based on."""
    score: str = "ridge_loo"


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
    layer: str
    head: LinearHead
    validation: Predictions
    """On the validation rows, or out-of-fold on the train rows where there are none."""
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Backbone tensors that adapting changed, by name; empty: the frozen source's own, see `Source.tuned`."""


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
    """A paired difference of two arms on the same test rows; positive: the transfer is better."""

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


@dataclass(frozen=True)
class LedgerRow:
    """What happened to one tensor of the target, or to one unused tensor of the source."""

    tensor: str
    status: Literal["copied", "reshaped", "fresh", "unused"]
    shape: tuple[int, ...]
    rule: str


@dataclass(frozen=True)
class Ledger:
    """Where every weight of the target came from."""

    rows: tuple[LedgerRow, ...]

    def share(self, status: str) -> float:
        """Share of the target's parameters with this status, in [0, 1]."""
        sizes = {
            s: sum(int(np.prod(r.shape)) for r in self.rows if r.status == s) for s in ("copied", "reshaped", "fresh")
        }
        return sizes.get(status, 0) / max(1, sum(sizes.values()))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data, or may be."""

    kind: str
    """What it is, in a few words: ``copies across splits``."""
    severity: Literal["serious", "look", "note"]
    """``serious``: results cannot be trusted before it is mended; ``look``: a person should look; ``note``: no harm."""
    count: int
    """Examples concerned."""
    sentence: str
    """What was found, and how bad it is."""
    advice: str
    """What to do."""
    examples: tuple[tuple[str, ...], ...] = ()
    """Names, the worst first, not all of them; those that belong together are in one entry."""
    remarks: tuple[str, ...] = ()
    """What is to be said of each entry of ``examples``; empty: nothing."""


@dataclass(frozen=True)
class Suspect:
    """An example whose label does not look like its content."""

    id: str
    given: str
    likely: str
    chance: float
    """Probability of the given label by a probe that did not see the example; regression: of a gap so large."""


@dataclass(frozen=True)
class Audit:
    """What is wrong with the data; nothing of the run was decided by it."""

    findings: tuple[Finding, ...]
    """The worst first."""
    examples: int
    source: str
    """The source whose embeddings were looked at."""
    checked: tuple[str, ...]
    """Kinds that were looked for."""
    suspects: tuple[Suspect, ...] = ()
    """The least likely labels first."""
    leaking: tuple[str, ...] = ()
    """Names of test rows that have a copy among the train or validation rows."""
    without_leaking: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Arm -> metrics on the test rows that do not leak; empty where none leaks."""
