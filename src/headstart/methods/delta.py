"""DELTA: the feature maps that matter for the task are held near the source's."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.losses import task_loss
from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import Backbone, TargetModel

__all__ = ["Delta", "Settings"]

WEIGHED = 64
"""Training rows that the attention over channels is measured on."""


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    hold: float = 0.1
    """alpha of the paper: weight of the attended mean squared distance of feature maps, summed over stages."""


class Delta(FromProbe):
    """Adds the attention-weighted squared distance of each stage's feature maps to the source's (Li et al. 2019).

    A channel's attention is the softmax of what the probe would lose without it. The paper removes one
    channel after the other; here that loss is expanded to first order, ``-map * gradient``, in one pass.
    """

    name = "delta"
    settings: Settings = Settings()

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Keeps the source, and measures which of its channels matter."""
        model = super().prepare(model, context)
        rows = context.split.train
        some = rows[np.linspace(0, len(rows) - 1, min(WEIGHED, len(rows))).astype(int)]
        inputs = self.feed(model, context, some).batch(np.arange(len(some)), None)
        center, scale = context.target_moments
        found = context.examples.targets[some]
        targets = torch.from_numpy(found if found.dtype.kind == "i" else ((found - center) / scale).astype(np.float32))
        model.eval()
        with torch.enable_grad(), _maps(model.backbone) as maps:
            loss = task_loss(model(inputs), targets, context.task, 0.0)
        slopes = torch.autograd.grad(loss, maps)
        lost = [-_by_channel(value.detach() * slope, mean=False) for value, slope in zip(maps, slopes, strict=True)]
        self.attention = [torch.softmax(each, 0) for each in lost]
        self.source = copy.deepcopy(model.backbone).eval().requires_grad_(False)
        return model

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the distance of the feature maps."""
        with _maps(model.backbone) as tuned:
            loss = super().loss(model, batch, context)
        with torch.no_grad(), _maps(self.source.to(batch.targets.device)) as kept:
            self.source(batch.inputs)
        away = [
            (_by_channel((a.float() - b.float()).square()) * weights.to(a.device)).sum()
            for a, b, weights in zip(tuned, kept, self.attention, strict=True)
        ]
        return loss + self.settings.hold * torch.stack(away).sum()


@contextmanager
def _maps(backbone: Backbone) -> Iterator[list[Tensor]]:
    """What each stage gives in the passes meanwhile, input to output."""
    found: list[Tensor] = []

    def note(_: Any, __: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    handles = [stage.module.register_forward_hook(note) for stage in backbone.stages]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _by_channel(maps: Tensor, mean: bool = True) -> Tensor:
    """Mean (or sum) over examples and positions; channels are the second of four axes, else the last."""
    axes = [axis for axis in range(maps.ndim) if axis != (1 if maps.ndim == 4 else maps.ndim - 1)]
    return maps.mean(axes) if mean else maps.sum(axes)
