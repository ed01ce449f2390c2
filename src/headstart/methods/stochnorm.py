"""StochNorm: batch norms choose at random between the batch's statistics and the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.methods import Context, FromProbe

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["StochNorm"]

SHARE = 0.5
"""Chance of a channel to be normalised by the source's statistics (p of the paper)."""


class StochNorm(FromProbe):
    """Stochastic normalisation (Kou et al. 2020), a regulariser for networks with BatchNorm.

    The statistics that ship stay the source's: moving ones of small batches are noise.
    """

    name = "stochnorm"
    together = True

    def obstacle(self, context: Context) -> str | None:
        """A source without BatchNorm."""
        return None if _batch_norms(context.source.backbone().model) else "it has no BatchNorm layers to randomise"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Puts the choice around every batch norm."""
        model = super().prepare(model, context)
        self.handles = [norm.register_forward_pre_hook(_mix) for norm in _batch_norms(model.backbone.model)]
        return model

    def loss(self, model: TargetModel, batch: Any, context: Context) -> Tensor:
        """The task's loss under random normalisation."""
        for norm in _batch_norms(model.backbone.model):
            norm.randomised = True
        try:
            return super().loss(model, batch, context)
        finally:
            for norm in _batch_norms(model.backbone.model):
                norm.randomised = False

    def finish(self, model: TargetModel) -> TargetModel:
        """Takes the choice away."""
        for handle in self.handles:
            handle.remove()
        return model


def _batch_norms(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _mix(norm: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Channels that the batch's statistics are drawn for, shifted and scaled so that the norm's own undo it."""
    if not getattr(norm, "randomised", False):
        return None
    (state,) = inputs
    axes = [0, *range(2, state.ndim)]
    shape = [1, -1] + [1] * (state.ndim - 2)
    wide = state.float()
    mean, variance = wide.mean(axes), wide.var(axes, correction=0)
    batch = torch.rand(len(mean), device=state.device) >= SHARE
    own = ((norm.running_var + norm.eps) / (variance + norm.eps)).sqrt()
    mixed = (wide - mean.view(shape)) * own.view(shape) + norm.running_mean.view(shape)
    return (torch.where(batch.view(shape), mixed, wide).to(state.dtype),)
