"""The scratch twin: the same network and training from random weights, to see what the source is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.recipe import Recipe
from headstart.tuning import Context, Tuned

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["Scratch"]

MOMENTUM = 0.2
"""Weight of a batch in BatchNorm's moving statistics. At the 0.01 of some sources they still are the initial ones
after a hundred steps, and a twin that has learned well predicts by chance (EfficientNet-Lite0, Fashion-MNIST)."""


class Scratch(Tuned):
    """Trains every layer of ``source.from_scratch(seed)``: ``Scratch().run(replace(context, seconds=BUDGET))``.

    With validation rows in the context's split (see `Context.held_out`) it keeps the best weights it met.
    """

    name = "scratch"

    settings = Recipe(rate=1e-3, decay=0.05, epochs=100, patience=100, looks=10, average=0, freeze_statistics=False)
    texts = replace(settings, rate=5e-4)

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Forgets the source's weights; BatchNorm's statistics follow the few steps of a small data set."""
        from torch.nn.modules.batchnorm import _BatchNorm

        model.backbone = context.source.from_scratch(context.seed).backbone()
        for module in model.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = MOMENTUM
        return model
