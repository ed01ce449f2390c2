"""Surgical fine-tuning: one third of the network trains, the one that the shift of the data lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headstart.methods import FromProbe
from headstart.recipe import Group
from headstart.tuning import layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["First", "Last", "Middle"]

PARTS = 3


class _Part(FromProbe):
    """One third of the stages, and the head (Lee et al. 2023, "Surgical Fine-Tuning Improves Adaptation")."""

    part: ClassVar[int]

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """The stages of the part, and the head; with fewer stages than parts, the nearest one."""
        stages = model.backbone.stages
        begin = min(self.part * len(stages) // PARTS, len(stages) - 1)
        end = max(begin + 1, (self.part + 1) * len(stages) // PARTS)
        chosen = {id(p) for stage in stages[begin:end] for p in stage.module.parameters()}
        training = {name for name, p in model.backbone.model.named_parameters() if id(p) in chosen}
        return layered(model, skip=lambda name: name not in training)


class First(_Part):
    """The first stages: for inputs that look different (blur, noise, another camera)."""

    name = "surgical-first"
    part = 0


class Middle(_Part):
    """The middle stages: for known things in new forms."""

    name = "surgical-middle"
    part = 1


class Last(_Part):
    """The last stages: for new labels of familiar inputs."""

    name = "surgical-last"
    part = 2
