"""Discriminative rates: each stage learns slower than the one above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.methods import FromProbe
from headstart.recipe import Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["Discriminative", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    layer_decay: float = 1 / 2.6
    """Multiple of the rate from each stage to the one before it."""


class Discriminative(FromProbe):
    """Discriminative fine-tuning (Howard & Ruder 2018, ULMFiT, section 3.2)."""

    name = "discriminative"
    settings: Settings = Settings()

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """All layers, the rate falling steeply towards the input."""
        return layered(model, self.settings.layer_decay)
