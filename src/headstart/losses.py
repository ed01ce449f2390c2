"""What trainings minimise: the task's loss, and contrast between the rows of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.types import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["contrastive_loss", "task_loss"]


def task_loss(
    logits: Tensor, targets: Tensor, task: Task, smoothing: float, weights: NDArray[np.float32] | None = None
) -> Tensor:
    """Cross-entropy, sigmoid cross-entropy or squared error, by the task's problem."""
    from torch.nn import functional

    logits = logits.float()
    if task.problem == "classification":
        heavy = None if weights is None else logits.new_tensor(weights)
        return functional.cross_entropy(logits, targets, heavy, label_smoothing=smoothing)
    if task.problem == "multilabel":
        return functional.binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2)
    return functional.mse_loss(logits[:, 0], targets)


def contrastive_loss(embeddings: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Khosla et al. 2020, equation 2 (the sum outside the logarithm), over the rows that have a partner.

    Args:
        embeddings: (N, D); their directions count.
        targets: (N,) classes.
        temperature: Divides the cosines.
    """
    import torch

    directions = torch.nn.functional.normalize(embeddings.float(), dim=1)
    itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    cosines = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    partners = (targets[:, None] == targets) & ~itself
    chances = (cosines - cosines.logsumexp(1, keepdim=True)).masked_fill(~partners, 0)
    count = partners.sum(1)
    paired = count > 0
    return -(chances.sum(1)[paired] / count[paired]).sum() / paired.sum().clamp_min(1)
