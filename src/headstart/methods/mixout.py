"""Mixout: at every step a random share of the weights is put back to the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from headstart.methods import Context, FromProbe

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["Mixout"]

SHARE = 0.7
"""Share of each matrix that is put back at a step (p of the paper, whose best values are 0.7 to 0.9)."""


class Mixout(FromProbe):
    """Dropout towards the source instead of towards zero (Lee, Cho & Kang 2020), of matrices and kernels."""

    name = "mixout"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Puts the mixing on every matrix and kernel of the backbone."""
        model = super().prepare(model, context)
        for module in _layers(model):
            parametrize.register_parametrization(module, "weight", _Mixed(module.weight))
        return model

    def finish(self, model: TargetModel) -> TargetModel:
        """The tuned weights themselves."""
        for module in _layers(model):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        return model


class _Mixed(nn.Module):
    """``((1 - m) w + m w0 - p w0) / (1 - p)`` with a random mask m: on average the weight itself."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.register_buffer("start", start.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight
        start: Tensor = self.start  # type: ignore[assignment]
        back = torch.rand_like(weight) < SHARE
        return (torch.where(back, start, weight) - SHARE * start) / (1 - SHARE)


def _layers(model: TargetModel) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in model.backbone.model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
