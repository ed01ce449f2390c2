"""Distillation: a small source learns from the labels and from what a larger one, tuned first, predicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.losses import distillation_loss
from headstart.methods import METHODS, Context, FromProbe
from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import layered
from headstart.types import Arm, Predictions

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["Distillation", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How distillation trains."""

    teacher: str = "lpft"
    """Method that the teacher is adapted by."""
    soft: float = 0.5
    """Share of the loss that is the teacher's; the labels have the rest."""
    temperature: float = 2.0
    """Of both softmaxes, so that small probabilities count; the teacher's logits are calibrated before."""
    layer_decay: float = 0.9
    """Multiple of the rate from each stage to the one before it."""


class Distillation(FromProbe):
    """Hinton, Vinyals & Dean 2015: LP-FT of a small source, with the soft targets of a larger one.

    The teacher (`Context.teacher`) is adapted first, on the same rows and in half of the time, and says once what
    it thinks of every training row, held-out ones included: when the student is trained again on
    all rows, the teacher is not. Its seconds are the arm's; nothing of it ships.
    """

    name = "distillation"
    settings: Settings = Settings(epochs=10, least_steps=40)
    texts = Settings(rate=1e-4, epochs=5, least_steps=60)
    mixes = True

    def obstacle(self, context: Context) -> str | None:
        """Nobody to learn from."""
        return None if context.teacher or context.known else "no larger source was named to learn from"

    def run(self, context: Context) -> Arm:
        """As any tuning, in half of the seconds where the teacher needs the other half.

        Raises:
            UsageError: If there is no teacher.
            Diverged: If a training leaves the finite numbers.
            ResourceError: If memory or the disk is full.
        """
        seconds = context.seconds if context.seconds is None or context.known else context.seconds / 2
        return super().run(replace(context, seconds=seconds))

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Hears the teacher, unless what it says is known already."""
        self.taught: Predictions = context.known["taught"] if context.known else _taught(self.settings, context)
        place = {name: number for number, name in enumerate(self.taught.ids)}
        center, scale = context.target_moments
        said = self.taught.logits[[place[name] for name in context.ids(context.split.train)]]
        self.soft = torch.from_numpy(np.asarray((said - center) / scale, np.float32))
        return super().prepare(model, context)

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """All layers, the rate falling towards the input."""
        return layered(model, self.settings.layer_decay)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the distance to what the teacher said."""
        logits, share, heat = model(batch.inputs), self.settings.soft, self.settings.temperature
        task = self.task_loss(logits, batch, context)
        said = self.soft[torch.from_numpy(batch.positions)].to(logits.device)
        return (1 - share) * task + share * distillation_loss(logits, said, context.task.problem, heat)

    def notes(self) -> dict[str, Any]:
        """What the teacher said."""
        return {"taught": self.taught}


def _taught(settings: Settings, context: Context) -> Predictions:
    """The adapted teacher's calibrated logits of train and validation rows."""
    assert context.teacher is not None  # noqa: S101 - see `obstacle`
    arm: Arm = METHODS[settings.teacher]().run(replace(context, source=context.teacher, teacher=None))
    rows = np.concatenate([context.split.train, context.split.validation])
    layers = context.embedder.embed(context.teacher.tuned(arm.tensors), context.examples, rows)
    return Predictions(context.ids(rows), arm.head.logits(layers[arm.layer]) / arm.head.temperature)
