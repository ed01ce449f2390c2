"""Bi-Tuning: classes learn to find their examples among others, as examples learn to find their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from headstart.batches import embedded
from headstart.losses import contrastive_loss
from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["BiTuning", "Settings", "contrastive_cross_entropy"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How Bi-Tuning trains."""

    classes_a_batch: int | None = 8
    """Of few classes a batch holds several examples each, without which there is nothing to contrast."""
    temperature: float = 0.07
    """tau of the paper: divides the cosines of both contrastive losses."""
    width: int = 128
    """Outputs of the projector."""


class BiTuning(FromProbe):
    """Adds to the cross-entropy two losses that look along the batch (Zhong et al. 2020, "Bi-tuning").

    The contrastive cross-entropy has the class of each example pick its examples out of a batch; the
    categorical contrastive loss is the supervised contrastive one, behind a linear projector that
    is thrown away afterwards. The paper takes the examples to contrast with from a queue that a slow copy of
    the network fills; here they are the other rows of the batch, and each is encoded once.
    """

    name = "bituning"
    together = True
    settings: Settings = Settings()
    texts = Settings(rate=1e-4, epochs=5, least_steps=60)

    def obstacle(self, context: Context) -> str | None:
        """A task without classes."""
        problem = context.task.problem
        return None if problem == "classification" else f"the task is {problem}, and contrast needs classes"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """The head of the probe, and a projector."""
        model = super().prepare(model, context)
        model.add_module("projector", nn.Linear(model.head.in_features, self.settings.width))
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Every layer, the head and the projector."""
        return [*layered(model), Group(tuple(_projector(model).parameters()))]

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and both contrastive ones."""
        tau, embeddings = self.settings.temperature, embedded(model, batch.inputs).float()
        task = self.task_loss(model.classify(embeddings), batch, context)
        seen = contrastive_cross_entropy(embeddings, model.head.weight, model.head.bias, batch.targets, tau)
        return task + seen + contrastive_loss(_projector(model)(embeddings), batch.targets, tau)

    def finish(self, model: TargetModel) -> TargetModel:
        """The model without the projector."""
        del model.projector
        return model


def contrastive_cross_entropy(
    embeddings: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, temperature: float
) -> Tensor:
    """Mean over rows of ``-log(share of the row's class)``, a softmax of cosines over the rows of the batch.

    The contrastive cross-entropy of Zhong et al. 2020, with the embeddings as keys. As in its authors' code
    the bias counts as a further weight, of an input that is 1.

    Args:
        embeddings: (N, D).
        weight: (C, D) of the head.
        bias: (C,) of the head.
        targets: (N,) classes.
        temperature: Divides the cosines.
    """
    keys = functional.normalize(functional.pad(embeddings, (0, 1), value=1.0), dim=1)
    classes = functional.normalize(torch.cat([weight, bias[:, None]], 1).float(), dim=1)
    cosines = classes[targets] @ keys.T / temperature
    own = (targets[:, None] == targets).float()
    return -((cosines.log_softmax(1) * own).sum(1) / own.sum(1)).mean()


def _projector(model: TargetModel) -> nn.Linear:
    found = model.get_submodule("projector")
    assert isinstance(found, nn.Linear)  # noqa: S101 - `prepare` added it
    return found
