"""LP-FT: the head starts as the probe, then every layer trains, the early ones slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.methods import METHODS, Context
from headstart.recipe import Group, Recipe
from headstart.tuning import Tuned, layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["LPFT", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How LP-FT trains."""

    layer_decay: float = 0.9
    """Multiple of the rate from each stage to the one before it."""


class LPFT(Tuned):
    """Linear probing, then fine-tuning (Kumar et al. 2022), and a mix of both weights (Wortsman et al. 2022).

    A random head would send large, meaningless gradients through the source; the probe's does not.
    """

    name = "lpft"
    settings: Settings = Settings()
    mixes = True

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Gives the model the probe's layer and its calibrated head."""
        probe = METHODS["probe"]().run(context)
        model.layer = probe.layer
        center, scale = context.target_moments
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(probe.head.weight / (probe.head.temperature * scale)))
            model.head.bias.copy_(torch.from_numpy((probe.head.bias - center) / (probe.head.temperature * scale)))
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """All layers, the rate falling towards the input."""
        return layered(model, self.settings.layer_decay)
