"""BSS: directions in which a batch hardly varies are suppressed, for they carry what does not transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.batches import embedded
from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["BSS", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    suppress: float = 1e-3
    """eta of the paper: weight of the squared smallest singular values of a batch's embeddings."""
    smallest: int = 1
    """k of the paper: how many of them."""


class BSS(FromProbe):
    """Batch spectral shrinkage (Chen et al. 2019): adds ``eta * sum of the k smallest squared singular values``."""

    name = "bss"
    together = True
    settings: Settings = Settings()

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the shrinkage."""
        embeddings = embedded(model, batch.inputs).float()
        spectrum: Tensor = torch.linalg.svdvals(embeddings)
        weakest: Tensor = spectrum[-self.settings.smallest :].square().sum()
        task = self.task_loss(model.classify(embeddings), batch, context)
        return task + self.settings.suppress * weakest
