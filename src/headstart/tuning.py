"""What tuning methods share: what they may look at, and the way from a source to a trained arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import losses
from headstart.backbones.source import Source
from headstart.errors import UsageError
from headstart.features import Embedder
from headstart.recipe import Batch, Feed, Group, Recipe
from headstart.types import Arm, Examples, IndexArray, LinearHead, Split, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headstart.backbones.base import TargetModel

__all__ = ["Context", "Method", "Tuned", "begin_with", "layered"]

EVEN = {"balanced_accuracy", "macro_f1"}
"""Metrics that count every class alike."""


@dataclass(frozen=True)
class Context:
    """What a method may look at, and what it is given to work with."""

    task: Task
    examples: Examples
    split: Split
    """``split.test`` is not for methods: `headstart.prove` alone opens it."""
    source: Source
    embedder: Embedder
    seed: int
    seconds: float | None = None
    """Most seconds that training may take, by a few timed steps; None: the recipe's steps, whatever they take."""
    like: Arm | None = None
    """The method's own arm on fewer rows: its share of the schedule, mix and temperature are taken over."""
    augment: bool = True
    """Whether training examples may be varied."""
    teacher: Source | None = None
    """Whom distillation learns from: a larger source."""
    notes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """See `known`."""
    folder: Path | None = None
    """Where the state of an unfinished training is kept; None: nowhere."""
    progress: Callable[[str, int, int], None] = field(default=lambda *_: None, compare=False)
    """Called with (what, done, total) steps."""
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)
    """Told how long a training will take, before it begins."""

    @property
    def known(self) -> Mapping[str, Any]:
        """What the same method noted (`Tuned.notes`) on fewer rows, or in another process; empty: nothing yet."""
        return self.like.details if self.like else self.notes

    def held_out(self) -> Context:
        """The same with validation rows: where the data name none, the first fold of the train rows."""
        split = self.split
        if len(split.validation) or not len(split.folds):
            return self
        out = split.folds == split.folds[0]
        inner = replace(split, train=split.train[~out], folds=split.folds[~out], validation=split.train[out])
        return replace(self, split=inner)

    @property
    def target_moments(self) -> tuple[float, float]:
        """Mean and deviation that regression targets are standardised by in training; 0 and 1 for other problems."""
        if self.task.problem != "regression":
            return 0.0, 1.0
        targets = self.examples.targets[self.split.train]
        return float(np.mean(targets)), float(np.std(targets)) or 1.0

    def class_weights(self, ratio: float) -> NDArray[np.float32] | None:
        """Weights ``(C,)`` by the inverse root of class sizes, 1 in the mean over train rows; None: all alike.

        They weigh where the metric counts every class alike and the largest is ``ratio`` times the
        smallest. The root is a compromise: full weights would shift the probabilities as far as the
        classes are skewed, and those are what arms are compared by.
        """
        if self.task.problem != "classification" or self.task.metric not in EVEN:
            return None
        sizes = np.bincount(self.examples.targets[self.split.train], minlength=self.task.outputs)
        if sizes.max() < ratio * max(1, sizes[sizes > 0].min()):
            return None
        weights = 1 / np.sqrt(np.maximum(sizes, 1))
        return np.asarray(weights * sizes.sum() / (weights * sizes).sum(), np.float32)

    def inputs(self, rows: IndexArray) -> list[Any]:
        """Texts or images of these rows."""
        return [self.examples.inputs[row] for row in rows]

    def ids(self, rows: IndexArray) -> tuple[str, ...]:
        """Names of these rows."""
        return tuple(self.examples.ids[row] for row in rows)


class Method(Protocol):
    """One way to adapt; made without arguments."""

    def run(self, context: Context) -> Arm:
        """Trains on ``split.train`` and predicts ``split.validation``.

        Without validation rows a method that is cheap to repeat predicts out-of-fold, and others predict nothing.
        """


class Tuned:
    """A method that trains a model step by step; a subclass overrides what differs.

    Args:
        settings: How to train; None: the method's own.
    """

    name: ClassVar[str] = ""
    """As in the table of methods."""
    settings: Recipe = Recipe()
    texts: ClassVar[Recipe | None] = None
    """The method's own settings for texts, where they differ."""
    mixes: ClassVar[bool] = False
    """Whether the shipped weights lie between the source's and the tuned ones (WiSE-FT, Wortsman et al. 2022), as
    held-out rows decide; the head's between the probe and the tuned one, or fitted anew."""
    refits: ClassVar[bool] = False
    """Whether the head is fitted anew, in closed form, to the tuned embeddings."""

    def __init__(self, settings: Recipe | None = None) -> None:
        self.settings = settings or type(self).settings

    together: ClassVar[bool] = False
    """Whether the loss looks at the rows of a batch together, so that several processes cannot divide it."""

    # --- the contract: what a method can change -------------------------------------------------

    def obstacle(self, context: Context) -> str | None:  # noqa: ARG002
        """Why this method cannot adapt this source to this task, as the end of a sentence; None where it can."""
        return None

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:  # noqa: ARG002
        """The model before the first step: new head, added modules, another layer."""
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """What trains, and how fast; every other parameter stays as it is, to the last bit."""
        return layered(model)

    def steps(self, context: Context) -> int:
        """How many steps a whole training has, where the budget has room for them."""
        return self.settings.steps(len(context.split.train))

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """Mean loss of a batch."""
        return self.task_loss(model(batch.inputs), batch, context)

    def task_loss(self, logits: Tensor, batch: Batch, context: Context) -> Tensor:
        """The task's own loss of a batch's logits, small classes weighted where they are to be."""
        weights = context.class_weights(self.settings.balance)
        return losses.task_loss(logits, batch.targets, context.task, self.settings.smoothing, weights)

    def finish(self, model: TargetModel) -> TargetModel:
        """The model after the last step, with the architecture of the source again (adapters merged)."""
        return model

    def feed(self, model: TargetModel, context: Context, rows: IndexArray) -> Feed:  # noqa: ARG002
        """Decoded examples of these rows."""
        return context.embedder.pipeline(context.source).feed(context.inputs(rows))

    def notes(self) -> dict[str, Any]:
        """What `prepare` found at a cost, for the arm's details: it is `Context.known` when all rows are trained on."""
        return {}

    # --- the way -----------------------------------------------------------------------------------

    def run(self, context: Context) -> Arm:
        """Trains, looks at held-out rows where there are any, and gives an arm.

        Raises:
            UsageError: If the method cannot adapt this source to this task.
            Diverged: If training leaves the finite numbers.
            ResourceError: If memory or the disk is full.
        """
        if obstacle := self.obstacle(context):
            raise UsageError(f"method '{self.name}' cannot adapt {context.source.name}: {obstacle}")
        from headstart.training import Training

        return Training(self.suited(context), context).arm()

    def suited(self, context: Context) -> Tuned:
        """The method with its settings for texts, where it has some and no others were given."""
        own = self.settings is type(self).settings and context.task.modality == "text"
        return type(self)(self.texts) if own and self.texts else self


def begin_with(model: TargetModel, head: LinearHead, context: Context) -> None:
    """Gives the model a fitted head, calibrated, in the units that targets have in training."""
    import torch

    center, scale = context.target_moments
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight / (head.temperature * scale)))
        model.head.bias.copy_(torch.from_numpy((head.bias - center) / (head.temperature * scale)))


def layered(
    model: TargetModel, decay: float = 1.0, head: float | None = 1.0, skip: Callable[[str], bool] | None = None
) -> list[Group]:
    """Every parameter of a model, in groups by stage.

    Args:
        model: The backbone with its head.
        decay: Multiple of the rate from each stage to the one before it.
        head: Multiple of the rate of the head; None: the head does not train.
        skip: Names of parameters (of ``Backbone.model``) that stay as they are.
    """
    names = {id(parameter): name for name, parameter in model.backbone.model.named_parameters()}
    stages = model.backbone.stages
    groups = []
    for number, stage in enumerate(stages):
        parameters = [p for p in stage.module.parameters() if not (skip and skip(names[id(p)]))]
        groups += _split(parameters, decay ** (len(stages) - 1 - number))
    return groups if head is None else [*groups, *_split(list(model.head.parameters()), head)]


def _split(parameters: Sequence[nn.Parameter], rate: float) -> list[Group]:
    """Matrices and kernels decay; vectors do not."""
    kinds = ([p for p in parameters if p.ndim > 1], 1.0), ([p for p in parameters if p.ndim <= 1], 0.0)
    return [Group(tuple(found), rate, decay) for found, decay in kinds if found]
