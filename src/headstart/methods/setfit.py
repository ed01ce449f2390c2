"""SetFit-style tuning: pairs of examples learn whether they share a class, then a closed-form head is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from headstart.batches import embedded
from headstart.methods import Context
from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import Tuned, layered

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["SetFit"]


class SetFit(Tuned):
    """Squared error of the cosine of pairs against 1 (same class) or 0 (Tunstall et al. 2022).

    SetFit lists its pairs beforehand and encodes every example once a pair; here all pairs inside a batch
    are used, and each example is encoded once. Like and unlike pairs count equally.
    """

    name = "setfit"
    settings = Recipe(rate=1e-4, most_steps=120, epochs=20, classes_a_batch=8, smoothing=0.0)
    refits = True
    together = True

    def obstacle(self, context: Context) -> str | None:
        """A task without classes."""
        problem = context.task.problem
        return None if problem == "classification" else f"the task is {problem}, and pairs need classes"

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """The backbone; the head is fitted afterwards."""
        return layered(model, head=None)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:  # noqa: ARG002
        """Mean squared error over like pairs and over unlike pairs, averaged."""
        unit = functional.normalize(embedded(model, batch.inputs).float(), dim=1)
        error = (unit @ unit.T - (batch.targets[:, None] == batch.targets).float()).square()
        like = batch.targets[:, None] == batch.targets
        apart = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        parts = [error[kind] for kind in (like & apart, ~like)]
        return torch.stack([part.mean() for part in parts if part.numel()]).mean()
