"""Gradual unfreezing: training begins at the head and reaches one stage after another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["Gradual", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    layer_decay: float = 1 / 2.6
    """Multiple of the rate from each stage to the one before it."""
    thawing: float = 0.5
    """Share of the steps after which every stage trains."""


class Gradual(FromProbe):
    """Gradual unfreezing from the last stage down, at discriminative rates (Howard & Ruder 2018, section 3.3)."""

    name = "gradual"
    settings: Settings = Settings()

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """All layers in the end."""
        return layered(model, self.settings.layer_decay)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss, with gradients only for the stages that are thawed by now."""
        stages = model.backbone.stages
        thawed = math.ceil(min(1.0, batch.progress / self.settings.thawing) * len(stages))
        for number, stage in enumerate(stages):
            stage.module.requires_grad_(number >= len(stages) - thawed)
        return super().loss(model, batch, context)
