"""Norm tuning: only the scales and shifts of normalisation layers train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.methods import Context, FromProbe
from headstart.recipe import Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from torch import nn

    from headstart.backbones.base import TargetModel

__all__ = ["Norms"]


class Norms(FromProbe):
    """Trains normalisation layers and the head (Frankle, Schwab & Morcos 2021)."""

    name = "norms"
    settings = Recipe(rate=1e-3)

    def obstacle(self, context: Context) -> str | None:
        """A source without normalisation layers."""
        found = _norms(context.source.backbone().model)
        return None if found else "it has no normalisation layers, the only thing that this method trains"

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Scales and shifts of norms, and the head."""
        training = _norms(model.backbone.model)
        return layered(model, skip=lambda name: name not in training)


def _norms(model: nn.Module) -> set[str]:
    """Names of the parameters that normalisation layers own."""
    return {
        f"{place}.{name}" if place else name
        for place, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        for name, _ in module.named_parameters(recurse=False)
    }
