"""LP-FT: the head starts as the probe, then every layer trains, the early ones slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.recipe import Group, Recipe
from headstart.tuning import Context, Tuned, from_probe, layered
from headstart.types import Modality

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
    mixes = True
    settings: Settings

    @classmethod
    def defaults(cls, modality: Modality) -> Settings:
        """Texts need a lower rate, and a minimum of steps where labels are few."""
        return Settings() if modality == "image" else Settings(rate=1e-4, epochs=5, least_steps=60)

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Gives the model the probe's layer and its calibrated head."""
        from_probe(model, context)
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """All layers, the rate falling towards the input."""
        return layered(model, self.settings.layer_decay)
