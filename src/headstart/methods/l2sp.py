"""L2-SP: weights are drawn to where the source left them, not to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["L2SP", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    decay: float = 0.0
    """Replaced by the pull towards the source."""
    pull: float = 0.1
    """alpha of the paper: weight of half the squared distance of the backbone to the source."""
    shrink: float = 0.01
    """beta of the paper: weight of half the squared norm of the head."""


class L2SP(FromProbe):
    """Adds ``alpha/2 |w - w0|^2 + beta/2 |head|^2`` to the loss (Li, Grandvalet & Davoine 2018)."""

    name = "l2sp"
    settings: Settings = Settings()

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Remembers where the source's weights are."""
        self.start = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
        return super().prepare(model, context)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the pull."""
        named = list(model.backbone.named_parameters())
        here, there = [p for _, p in named], [self.start[name].to(p.device) for name, p in named]
        away = torch.stack([(p - start).square().sum() for p, start in zip(here, there, strict=True)]).sum()
        size = model.head.weight.square().sum() + model.head.bias.square().sum()
        pulled = self.settings.pull / 2 * away + self.settings.shrink / 2 * size
        return super().loss(model, batch, context) + pulled
