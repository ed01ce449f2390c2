"""Re-initialised top: the last stage, the most specific to the source's task, starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.tuning import Context, Tuned

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["Reinit"]


class Reinit(Tuned):
    """Trains every layer after the last stage was given random weights (Zhang et al. 2021, few-sample BERT)."""

    name = "reinit"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Gives the last stage the weights of `Source.from_scratch`, under a fresh head."""
        fresh = context.source.from_scratch(context.seed).backbone().stages[-1].module
        model.backbone.stages[-1].module.load_state_dict(fresh.state_dict(), strict=True)
        return model
