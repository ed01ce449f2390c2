"""One training of one method: from a source to an arm, as held-out rows decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import heads, parallel, runtime
from headstart.backbones.source import Source
from headstart.calibration import log_losses, temperature
from headstart.checkpoint import Checkpoint
from headstart.errors import ResourceError
from headstart.recipe import Feed, Outcome
from headstart.store import fingerprint
from headstart.types import Arm, FloatArray, IndexArray, LinearHead, Predictions

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import Backbone, TargetModel
    from headstart.train import Trainer
    from headstart.tuning import Context, Tuned

__all__ = ["Training"]

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that are tried between start and end of a training."""


class Training:
    """One training of one method.

    Args:
        method: What trains, and how.
        context: What it may look at.
    """

    def __init__(self, method: Tuned, context: Context) -> None:
        import torch

        from headstart.backbones.base import TargetModel

        runtime.use_threads()
        self.begin = time.perf_counter()
        self.method, self.context = method, context
        self.recipe = method.settings if context.augment else replace(method.settings, augment=False)
        task, split = context.task, context.split
        targets = context.examples.targets[split.train]
        self.center, self.scale = context.target_moments
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(context.seed)
            model = TargetModel(context.source.backbone(), "last", task.outputs)
            self.model = method.prepare(model, context).to(runtime.device())
        self.start = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.targets = (targets - self.center) / self.scale if task.problem == "regression" else targets
        self.share = 1.0
        """Of the tuned weights in the model now, see `MIXES`."""
        self.heads: dict[float, LinearHead] = {}
        """Heads in closed form, by the share they were fitted at."""

    @cached_property
    def feed(self) -> Feed:
        """Training rows, decoded."""
        return self.method.feed(self.model, self.context, self.context.split.train)

    @cached_property
    def validation(self) -> Feed | None:
        """Held-out rows, decoded; None where there are none."""
        rows = self.context.split.validation
        return self.method.feed(self.model, self.context, rows) if len(rows) else None

    def arm(self) -> Arm:
        """Trains, and settles by held-out rows what ships."""
        context, like = self.context, self.context.like
        outcome = self._train()
        heat, mix, logits = self._settle() if like is None else (like.head.temperature, like.details["mix"], None)
        if self.method.mixes:
            self._mix(float(mix))
        model = self.method.finish(self.model).eval()
        head = self._head(model, heat)
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
            seconds=(time.perf_counter() - self.begin) * (parallel.size() if self._shared else 1),
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
                **self.method.notes(),
            },
        )

    def follow(self, job: Mapping[str, Any]) -> None:
        """Takes part in the training of the first process, see `headstart.parallel`.

        Raises:
            ResourceError: If the first process prepared another training, or is gone.
        """
        if job["key"] != self._key():
            raise ResourceError("a process of this fit read other data, or has other weights, than the first one")
        trainer = self._trainer(None, None)
        timed, _ = parallel.receive()
        if timed:
            trainer.pace()
        trainer.run(1)  # the first process says how many

    def _job(self) -> dict[str, Any]:
        """What the other processes need to take part."""
        context = self.context
        facts = {"method": self.method.name, "split": context.split, "seed": context.seed, "augment": context.augment}
        origins = {"source": context.source.fingerprint, "teacher": context.teacher and context.teacher.fingerprint}
        return {**facts, **origins, "notes": self.method.notes(), "key": self._key()}

    @property
    def _shared(self) -> bool:
        """Whether several processes divide each batch."""
        return parallel.size() > 1 and self.recipe.freeze_statistics and not self.method.together

    def _train(self) -> Outcome:
        context, checkpoint = self.context, self._checkpoint()
        if self._shared:
            parallel.send(self._job())
        trainer = self._trainer(self._look if self._judges else None, checkpoint)
        planned = trainer.planned()
        timed = planned is None and context.seconds is not None
        if self._shared:
            parallel.send(timed)
        steps = planned or self.method.steps(context)
        if timed:
            steps = self._affordable(trainer, steps)
        share = float(context.like.details["share"]) if context.like else 1.0
        outcome = trainer.run(steps, max(1, round(share * steps)))
        if checkpoint:
            checkpoint.remove()
        return outcome

    def _trainer(self, look: Callable[[], float] | None, checkpoint: Checkpoint | None) -> Trainer:
        from headstart.train import Trainer

        context, method = self.context, self.method
        what = f"{method.name} of {context.source.name}"
        return Trainer(
            self.model,
            method.parameter_groups(self.model),
            lambda model, batch: method.loss(model, batch, context),  # type: ignore[arg-type]
            self.feed,
            self.targets,
            self.recipe,
            context.seed,
            look,
            checkpoint,
            lambda done, total: context.progress(what, done, total),
            self._shared,
        )

    @property
    def _judges(self) -> bool:
        """Whether held-out rows say when to stop.

        Not for methods whose head is fitted afterwards: made for few labels, they would be stopped by a handful of
        rows, and too soon (TREC-6, 16 a class: 0.80 against 0.86).
        """
        return self.context.like is None and not self.method.refits and self.validation is not None

    def _affordable(self, trainer: Trainer, steps: int) -> int:
        """As many of the steps as fit the budget, by timed ones; says so."""
        seconds, pace = self.context.seconds or 0.0, trainer.pace()
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
        key = self._key()
        return Checkpoint(context.folder / f"{self.method.name}-{key[:12]}.safetensors", key)

    def _key(self) -> str:
        """Hash of everything that decides the training, but for its number of steps."""
        context = self.context
        decides = (self.method.name, repr(self.recipe), context.examples, context.split.train, context.source)
        return fingerprint(*decides, context.task, context.split.validation, context.seed, context.teacher)

    def _look(self) -> float:
        """Calibrated log-loss of the validation rows, as the model is now."""
        return float(self._judged(self._logits())[1])

    def _logits(self) -> FloatArray:
        from headstart.batches import outputs_of

        rows = self.context.split.validation
        assert self.validation is not None  # noqa: S101 - asked for only where there are validation rows
        if self.method.refits:
            return self._refitted.logits(self._embeddings(self.validation, rows))
        return outputs_of(self.model, self.validation, len(rows)) * self.scale + self.center

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
        self.share = share

    def _head(self, model: TargetModel, heat: float) -> LinearHead:
        """The linear head on the tuned embeddings."""
        if self.method.refits:
            return replace(self._refitted, temperature=heat)
        weight, bias = (value.detach().cpu().numpy() for value in (model.head.weight, model.head.bias))
        weight, bias = weight * self.scale, bias * self.scale + self.center
        return LinearHead(self.method.name, weight.astype(np.float32), bias.astype(np.float32), heat)

    @property
    def _refitted(self) -> LinearHead:
        """The head in closed form to the weights as they are, for methods that fit it once training is over."""
        if self.share not in self.heads:
            task, split = self.context.task, self.context.split
            embeddings = self._embeddings(self.feed, split.train)
            targets = self.context.examples.targets[split.train]
            self.heads[self.share] = heads.best(embeddings, targets, split.folds, task.problem, task.outputs).head
        return self.heads[self.share]

    def _embeddings(self, feed: Feed, rows: IndexArray) -> NDArray[np.float32]:
        from headstart.batches import embedded, outputs_of

        return np.asarray(outputs_of(lambda inputs: embedded(self.model, inputs), feed, len(rows)), np.float32)


def _changed(backbone: Backbone, source: Source) -> dict[str, NDArray[Any]]:
    """The backbone's tensors that are no longer the source's own, float32."""
    own = source.tensors()
    tensors = {name: value.detach().cpu().contiguous().numpy() for name, value in backbone.model.state_dict().items()}
    return {name: value for name, value in tensors.items() if not np.array_equal(value, own[name])}
