"""Co-Tuning: the source's own classes keep teaching, through which of them each target class resembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from headstart.methods import Context, FromProbe
from headstart.recipe import Batch, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import TargetModel

__all__ = ["CoTuning", "Settings"]


@dataclass(frozen=True)
class Settings(Recipe):
    """How it trains."""

    teach: float = 2.3
    """lambda of the paper: weight of the cross-entropy to the related source classes."""


class CoTuning(FromProbe):
    """Adds the cross-entropy of the source's head to ``p(source class | label)`` (You et al. 2020).

    The relation is the mean of the source's predictions over the training rows of a label, the direct
    approach of the paper's section 3.2. The source's head stays as it is.
    """

    name = "cotuning"
    settings: Settings = Settings()

    def obstacle(self, context: Context) -> str | None:
        """No source classes, or no target classes."""
        if context.task.problem != "classification":
            return f"the task is {context.task.problem}, and labels must be classes to be related to the source's"
        return None if context.source.head() else "its own classifier is not known"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Relates every label to the source's classes."""
        rows, head = context.split.train, context.source.head()
        assert head is not None  # noqa: S101 - see `obstacle`
        likely = head.probabilities(context.embedder.embed(context.source, context.examples, rows)["last"])
        targets = context.examples.targets[rows]
        relation = np.full((context.task.outputs, likely.shape[1]), 1 / likely.shape[1], np.float32)
        for label in np.unique(targets):
            relation[label] = likely[targets == label].mean(0)
        self.relation = torch.from_numpy(relation)
        return super().prepare(model, context)

    def loss(self, model: TargetModel, batch: Batch, context: Context) -> Tensor:
        """The task's loss and the source's."""
        layers = model.backbone.embeddings(batch.inputs)
        likely = torch.log_softmax(model.backbone.source_logits(layers["last"]), 1)
        related = self.relation.to(likely.device)[batch.targets]
        task = self.task_loss(model.classify(layers[model.layer]), batch, context)
        return task - self.settings.teach * (related * likely).sum(1).mean()
