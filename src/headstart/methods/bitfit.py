"""BitFit: only the biases train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.methods import Context, FromProbe
from headstart.recipe import Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["BitFit"]


class BitFit(FromProbe):
    """Trains every bias, those of norms included, and the head (Ben Zaken et al. 2022)."""

    name = "bitfit"
    settings = Recipe(rate=1e-3)

    def obstacle(self, context: Context) -> str | None:
        """A source without biases."""
        biased = any(name.endswith("bias") for name in context.source.tensors())
        return None if biased else "it has no biases, the only thing that this method trains"

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Biases, and the head."""
        return layered(model, skip=lambda name: not name.endswith("bias"))
