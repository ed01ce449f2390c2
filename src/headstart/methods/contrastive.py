"""Contrastive tuning, then a head: embeddings of one class are drawn together before any head is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.batches import embedded
from headstart.losses import contrastive_loss
from headstart.recipe import Batch, Group, Recipe
from headstart.tuning import Context, Tuned, layered

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["Contrastive", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How contrastive tuning trains."""

    temperature: float = 0.1
    """Cosines are divided by this."""
    most_a_class: int = 20
    """Steps that are enough for each class: two classes are memorised sooner than many (SST-2 at 500 labels, other
    rows of its training file: 0.80 after 120 steps, 0.82 after 40)."""


class Contrastive(Tuned):
    """The supervised contrastive loss over all pairs of a batch (Khosla et al. 2020), then the closed-form head.

    As SetFit (Tunstall et al. 2022) it is made for few labels; but every text is encoded once a
    step, where lists of pairs encode it many times.
    """

    name = "contrastive"
    refits = True
    mixes = True
    """A source that knows the subject loses some of it: Banking77 at 10 a class, other rows of its training file,
    0.837 with the tuned weights, 0.845 halfway to them. One that does not has to go the whole way (TREC-6)."""
    together = True
    settings: Settings = Settings(rate=2e-4, epochs=10, least_steps=90, most_steps=150, classes_a_batch=32)
    """Small steps, and few: more of them only memorise the rows."""
    texts = replace(settings, rate=1e-4)

    def obstacle(self, context: Context) -> str | None:
        """A task without classes."""
        problem = context.task.problem
        return None if problem == "classification" else f"the task is {problem}, and contrast needs classes"

    def steps(self, context: Context) -> int:
        """Few for few classes."""
        return min(super().steps(context), self.settings.most_a_class * context.task.outputs)

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """Every layer; the head is fitted afterwards."""
        return layered(model, head=None)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:  # noqa: ARG002
        """The contrastive loss of the embeddings."""
        embeddings = embedded(model, batch.inputs)
        return contrastive_loss(embeddings, batch.targets, self.settings.temperature)
