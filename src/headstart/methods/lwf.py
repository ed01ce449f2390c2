"""LwF: what the source says of the target's examples is to stay said."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.losses import distillation_loss
from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["LwF", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    keep: float = 1.0
    """Weight of the distillation loss."""
    temperature: float = 2.0
    """Of both softmaxes, so that small probabilities count (Hinton et al. 2015)."""


class LwF(FromProbe):
    """Learning without forgetting (Li & Hoiem 2017): the source's classifier, on tuned features, says as before."""

    name = "lwf"
    settings: Settings = Settings()

    def obstacle(self, context: Context) -> str | None:
        """No source classes."""
        return None if context.source.head() else "its own classifier is not known"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Keeps the source."""
        self.source = copy.deepcopy(model.backbone).eval().requires_grad_(False)
        return super().prepare(model, context)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the distillation's."""
        heat = self.settings.temperature
        layers = model.backbone.embeddings(batch.inputs)
        with torch.no_grad():
            self.source.to(batch.targets.device)
            said = self.source.source_logits(self.source(batch.inputs))
        says = model.backbone.source_logits(layers["last"])
        task = self.task_loss(model.classify(layers[model.layer]), batch, context)
        return task + self.settings.keep * distillation_loss(says, said, "classification", heat)
