"""What tuning methods share: what they may look at, and the way from a source to a trained arm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import heads, runtime
from headstart.backbones.source import Source
from headstart.calibration import log_losses, temperature
from headstart.checkpoint import Checkpoint
from headstart.errors import UsageError
from headstart.features import Embedder
from headstart.losses import task_loss
from headstart.recipe import Batch, Feed, Group, Recipe
from headstart.store import fingerprint
from headstart.types import Arm, Examples, FloatArray, IndexArray, LinearHead, Predictions, Split, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headstart.backbones.base import Backbone, TargetModel
    from headstart.train import Trainer

__all__ = ["Context", "Method", "Tuned", "layered"]

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that are tried between start and end of a training that began at a probe."""

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
    folder: Path | None = None
    """Where the state of an unfinished training is kept; None: nowhere."""
    progress: Callable[[str, int, int], None] = field(default=lambda *_: None, compare=False)
    """Called with (what, done, total) steps."""
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)
    """Told how long a training will take, before it begins."""

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
    """Whether the shipped weights lie between the start, a probe, and the tuned ones (WiSE-FT, Wortsman et al.
    2022), as held-out rows decide."""
    refits: ClassVar[bool] = False
    """Whether the head is fitted anew, in closed form, to the tuned embeddings."""

    def __init__(self, settings: Recipe | None = None) -> None:
        self.settings = settings or type(self).settings

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

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """Mean loss of a batch."""
        weights = context.class_weights(self.settings.balance)
        return task_loss(model(batch.inputs), batch.targets, context.task, self.settings.smoothing, weights)

    def finish(self, model: TargetModel) -> TargetModel:
        """The model after the last step, with the architecture of the source again (adapters merged)."""
        return model

    def feed(self, model: TargetModel, context: Context, rows: IndexArray) -> Feed:  # noqa: ARG002
        """Decoded examples of these rows."""
        return context.embedder.pipeline(context.source).feed(context.inputs(rows))

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
        own = self.settings is type(self).settings and context.task.modality == "text"
        return _Training(type(self)(self.texts) if own and self.texts else self, context).arm()


class _Training:
    """One training of one method."""

    def __init__(self, method: Tuned, context: Context) -> None:
        import torch

        from headstart.backbones.base import TargetModel

        runtime.use_threads()
        self.begin = time.perf_counter()
        self.method, self.context, self.recipe = method, context, method.settings
        task, split = context.task, context.split
        targets = context.examples.targets[split.train]
        self.center, self.scale = context.target_moments
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(context.seed)
            model = TargetModel(context.source.backbone(), "last", task.outputs)
            self.model = method.prepare(model, context).to(runtime.device())
        self.start = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.targets = (targets - self.center) / self.scale if task.problem == "regression" else targets
        self.validation = method.feed(self.model, context, split.validation) if len(split.validation) else None

    def arm(self) -> Arm:
        context, like = self.context, self.context.like
        outcome = self._train()
        heat, mix, logits = self._settle() if like is None else (like.head.temperature, like.details["mix"], None)
        if self.method.mixes:
            self._mix(float(mix))
        model = self.method.finish(self.model).eval()
        head = self._head(model, heat)
        if self.method.refits and self.validation is not None:
            logits = head.logits(self._embeddings(model, self.validation, context.split.validation))
            heat = temperature(logits, context.examples.targets[context.split.validation], context.task.problem)
            head, logits = replace(head, temperature=heat), logits / heat
        if like is not None:
            validation = like.validation
        else:
            rows = context.split.validation
            validation = Predictions(context.ids(rows), logits if logits is not None else np.zeros((0, 1)))
        return Arm(
            name=f"{self.method.name} of {context.source.name}",
            source=context.source.name,
            method=self.method.name,
            seed=context.seed,
            seconds=time.perf_counter() - self.begin,
            layer=model.layer,
            head=head,
            validation=validation,
            tensors=_changed(model.backbone, context.source),
            details={
                "steps": outcome.best,
                "share": outcome.best / max(1, outcome.steps),
                "mix": float(mix),
                "rows": len(context.split.train),
                "seconds_per_step": outcome.pace,
                "events": tuple(outcome.events),
            },
        )

    def _train(self) -> Any:
        from headstart.train import Trainer

        context, recipe, method = self.context, self.recipe, self.method
        checkpoint = self._checkpoint()
        what = f"{method.name} of {context.source.name}"
        trainer = Trainer(
            self.model,
            method.parameter_groups(self.model),
            lambda model, batch: method.loss(model, batch, context),  # type: ignore[arg-type]
            method.feed(self.model, context, context.split.train),
            self.targets,
            recipe,
            context.seed,
            self._look if self._judges else None,
            checkpoint,
            lambda done, total: context.progress(what, done, total),
        )
        steps = self._affordable(trainer, recipe.steps(len(self.targets)))
        share = float(context.like.details["share"]) if context.like else 1.0
        outcome = trainer.run(steps, max(1, round(share * steps)))
        if checkpoint:
            checkpoint.remove()
        return outcome

    @property
    def _judges(self) -> bool:
        """Whether held-out rows can say when to stop: not while the head is none that will ship."""
        return self.validation is not None and self.context.like is None and not self.method.refits

    def _affordable(self, trainer: Trainer, steps: int) -> int:
        """As many of the steps as fit the budget, by timed ones; says so. A checkpoint keeps to its own plan."""
        seconds = self.context.seconds
        if planned := trainer.planned():
            return planned
        if seconds is None:
            return steps
        pace = trainer.pace()
        fitting = max(1, min(steps, int(seconds / pace)))
        rest = f"; {steps:,} would not fit the budget" if fitting < steps else ""
        length = f"{fitting:,} steps of {pace:.2g} s, about {max(1, round(fitting * pace)):,} s"
        self.context.say(f"{self.method.name} on {len(self.targets):,} rows: {length}{rest}")
        if fitting < steps:
            trainer.outcome.events.append(f"{fitting:,} of {steps:,} steps fit the budget")
        return fitting

    def _checkpoint(self) -> Checkpoint | None:
        context = self.context
        if context.folder is None:
            return None
        decides = (self.method.name, repr(self.recipe), context.examples, context.split.train, context.source)
        key = fingerprint(*decides, context.task, context.split.validation, context.seed)
        return Checkpoint(context.folder / f"{self.method.name}-{key[:12]}.safetensors", key)

    def _look(self) -> float:
        """Calibrated log-loss of the validation rows, as the model is now."""
        return float(self._judged(self._logits())[1])

    def _logits(self) -> FloatArray:
        from headstart.train import outputs_of

        assert self.validation is not None  # noqa: S101 - asked for only where there are validation rows
        found = outputs_of(self.model, self.validation, len(self.context.split.validation))
        return found * self.scale + self.center

    def _judged(self, logits: FloatArray) -> tuple[float, float]:
        """Temperature of validation logits, and their mean loss at it."""
        targets, problem = self.context.examples.targets[self.context.split.validation], self.context.task.problem
        heat = temperature(logits, targets, problem)
        return heat, float(log_losses(logits / heat, targets, problem).mean())

    def _settle(self) -> tuple[float, float, FloatArray | None]:
        """Temperature, mix and calibrated validation logits of the best mix."""
        if self.validation is None:
            return 1.0, 1.0, None
        end = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        tried = []
        for mix in MIXES if self.method.mixes else (1.0,):
            self._mix(mix, end)
            logits = self._logits()
            heat, loss = self._judged(logits)
            tried.append((loss, -mix, heat, logits / heat))
        self._mix(1.0, end)
        _, mix, heat, logits = min(tried, key=lambda one: one[:2])
        return heat, -mix, logits

    def _mix(self, share: float, end: Mapping[str, Tensor] | None = None) -> None:
        """Weights ``start + share * (end - start)``; ``end`` None: the model's own now."""
        end = end or {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        mixed = {
            name: self.start[name] + share * (value - self.start[name]) if value.is_floating_point() else value
            for name, value in end.items()
        }
        self.model.load_state_dict(end if share == 1 else mixed, strict=True)

    def _head(self, model: TargetModel, heat: float) -> LinearHead:
        """The linear head on the tuned embeddings."""
        task, split = self.context.task, self.context.split
        if self.method.refits:
            feed = self.method.feed(model, self.context, split.train)
            embeddings, targets = self._embeddings(model, feed, split.train), self.context.examples.targets[split.train]
            return replace(
                heads.best(embeddings, targets, split.folds, task.problem, task.outputs).head, temperature=heat
            )
        weight, bias = (value.detach().cpu().numpy() for value in (model.head.weight, model.head.bias))
        weight, bias = weight * self.scale, bias * self.scale + self.center
        return LinearHead(self.method.name, weight.astype(np.float32), bias.astype(np.float32), heat)

    def _embeddings(self, model: TargetModel, feed: Feed, rows: IndexArray) -> NDArray[np.float32]:
        from headstart.train import outputs_of

        found = outputs_of(lambda inputs: model.backbone.embeddings(inputs)[model.layer], feed, len(rows))
        return np.asarray(found, np.float32)


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


def _changed(backbone: Backbone, source: Source) -> dict[str, NDArray[Any]]:
    """The backbone's tensors that are no longer the source's own, float32."""
    own = source.tensors()
    tensors = {name: value.detach().cpu().contiguous().numpy() for name, value in backbone.model.state_dict().items()}
    return {name: value for name, value in tensors.items() if not np.array_equal(value, own[name])}
