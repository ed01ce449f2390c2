"""The head alone, trained by gradient: the probe's start with augmentation and label smoothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.methods import FromProbe
from headstart.recipe import Group
from headstart.tuning import layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["HeadOnly"]


class HeadOnly(FromProbe):
    """Trains the head on augmented views; the source stays as it is, to the last bit."""

    name = "head"

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """The head."""
        return layered(model, skip=lambda _: True)
