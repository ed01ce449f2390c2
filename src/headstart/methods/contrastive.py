"""Contrastive tuning, then a head: embeddings of one class are drawn together before any head is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import Context, Tuned, layered

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["Contrastive", "Settings", "contrastive_loss"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How contrastive tuning trains."""

    temperature: float = 0.1
    """Cosines are divided by this."""


class Contrastive(Tuned):
    """The supervised contrastive loss over all pairs of a batch (Khosla et al. 2020), then the closed-form head.

    As SetFit (Tunstall et al. 2022) it is made for few labels; but every text is encoded once a
    step, where lists of pairs encode it many times.
    """

    name = "contrastive"
    refits = True
    settings: Settings = Settings(rate=2e-4, epochs=10, least_steps=90, most_steps=120, classes_a_batch=8)
    """A fixed number of small steps: more of them only memorise the rows."""
    texts = replace(settings, rate=1e-4)

    def obstacle(self, context: Context) -> str | None:
        """A task without classes."""
        problem = context.task.problem
        return None if problem == "classification" else f"the task is {problem}, and contrast needs classes"

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Every layer; the head is fitted afterwards."""
        return layered(model, head=None)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:  # noqa: ARG002
        """The contrastive loss of the embeddings."""
        embeddings = model.backbone.embeddings(batch.inputs)[model.layer]
        return contrastive_loss(embeddings, batch.targets, self.settings.temperature)


def contrastive_loss(embeddings: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Khosla et al. 2020, equation 2 (the sum outside the logarithm), over the rows that have a partner.

    Args:
        embeddings: (N, D); their directions count.
        targets: (N,) classes.
        temperature: Divides the cosines.
    """
    directions = torch.nn.functional.normalize(embeddings.float(), dim=1)
    itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    cosines = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    partners = (targets[:, None] == targets) & ~itself
    chances = (cosines - cosines.logsumexp(1, keepdim=True)).masked_fill(~partners, 0)
    count = partners.sum(1)
    paired = count > 0
    return -(chances.sum(1)[paired] / count[paired]).sum() / paired.sum().clamp_min(1)
