"""What every training shares as data: how long and how fast, which parameters, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headstart.types import IndexArray

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Batch", "Feed", "Group", "Outcome", "Recipe"]


class Feed(Protocol):
    """Decoded examples of one source and split; made by the source's pipeline."""

    sizes: IndexArray
    """(N,) length of each example (tokens), for batches of like lengths; ones where all are equal."""

    def batch(self, positions: IndexArray, rng: np.random.Generator | None) -> Any:
        """Model input of these examples, augmented where a generator is given."""


@dataclass(frozen=True)
class Batch:
    """What a loss gets."""

    inputs: Any
    targets: Tensor
    """Classes ``(N,)`` int64, labels ``(N, C)`` float32, or values ``(N,)`` float32."""
    positions: IndexArray
    """(N,) places of these rows among the training rows."""
    progress: float = 1.0
    """Share of the training's steps that are done once this one is."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train."""

    rate: float = 3e-4
    """Peak learning rate of AdamW; a group may scale it."""
    decay: float = 0.01
    """Weight decay of matrices and kernels (Loshchilov & Hutter 2019); biases and norms have none."""
    batch: int = 32
    """Examples a step."""
    epochs: float = 8.0
    """Passes over the training rows."""
    least_steps: int = 1
    """Steps that are needed, however few rows there are."""
    most_steps: int = 100_000
    """Steps that are enough, however many rows there are."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises from 0; then it falls to 0 along a cosine."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.02
    """Time constant of the moving average of weights that is kept, as a share of the steps; 0: the last weights."""
    smoothing: float = 0.1
    """Share of the target that is spread over all classes (label smoothing, Szegedy et al. 2016)."""
    augment: bool = True
    """Whether training examples are varied as their modality allows."""
    balance: float = 3.0
    """Ratio of the largest to the smallest class from which on the small ones weigh more, see
    `headstart.tuning.Context.class_weights`."""
    patience: int = 3
    """Looks at held-out rows without progress after which training ends."""
    looks: int = 6
    """Looks at held-out rows in one training."""
    freeze_statistics: bool = True
    """Whether BatchNorm keeps the source's statistics: those of small batches are noise (Lite0, CIFAR-10 at 140 a
    class), and a random start needs its own."""
    classes_a_batch: int | None = None
    """Batches of this many classes with equally many rows each; None: shuffled rows."""

    def steps(self, rows: int) -> int:
        """Steps of the whole training on this many rows."""
        return min(self.most_steps, max(self.least_steps, round(self.epochs * rows / self.batch)))


@dataclass(frozen=True)
class Group:
    """Parameters that train alike."""

    parameters: tuple[nn.Parameter, ...]
    rate: float = 1.0
    """Multiple of the recipe's rate."""
    decay: float = 1.0
    """Multiple of the recipe's weight decay."""


@dataclass
class Outcome:
    """How a training went."""

    steps: int
    """Steps planned; the schedule is laid out for them."""
    best: int
    """Step whose weights the model holds now."""
    seconds: float
    pace: float
    """Seconds a step."""
    looks: list[tuple[int, float]] = field(default_factory=list)
    """(step, held-out loss)."""
    events: list[str] = field(default_factory=list)
    """What a user should know: roll-backs, smaller batches, a shortened plan."""
