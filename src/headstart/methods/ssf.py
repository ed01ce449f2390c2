"""SSF: every layer's output is scaled and shifted, and nothing else; both merge into the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from headstart.methods import Context, FromProbe
from headstart.recipe import Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["SSF"]

ADDED = (".scale", ".shift")


class SSF(FromProbe):
    """Scaling and shifting the features (Lian et al. 2022), after every linear, convolution and norm layer.

    The scale multiplies the rows of a layer's weight, the shift adds to its bias. A layer without a bias
    gets no shift: the norm behind it has one.
    """

    name = "ssf"
    settings = Recipe(rate=3e-3, decay=0.0)

    def obstacle(self, context: Context) -> str | None:
        """A source without layers to scale."""
        found = _layers(context.source.backbone().model)
        return None if found else "it has no linear, convolution or norm layer to scale"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Puts scales and shifts of no effect on every layer."""
        model = super().prepare(model, context)
        for module in _layers(model.backbone.model):
            parametrize.register_parametrization(module, "weight", _Scaled(len(module.weight)))
            if isinstance(module.bias, Tensor):
                parametrize.register_parametrization(module, "bias", _Shifted(len(module.bias)))
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Scales and shifts, and the head."""
        return layered(model, skip=lambda name: not name.endswith(ADDED))

    def finish(self, model: TargetModel) -> TargetModel:
        """Merges scales and shifts into weights and biases."""
        for module in _layers(model.backbone.model):
            for name in ("weight", "bias"):
                if parametrize.is_parametrized(module, name):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        return model


class _Scaled(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(outputs))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale.view(-1, *[1] * (weight.ndim - 1))


class _Shifted(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(outputs))

    def forward(self, bias: Tensor) -> Tensor:
        return bias + self.shift


def _layers(model: nn.Module) -> list[nn.Linear]:
    """Layers with a weight whose rows are outputs."""
    kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    found = [module for module in model.modules() if isinstance(module, kinds)]
    return [module for module in found if isinstance(module.weight, Tensor)]  # type: ignore[misc]
