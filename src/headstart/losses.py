"""What trainings minimise: the task's loss, and contrast between the rows of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.types import Problem, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["contrastive_loss", "distillation_loss", "task_loss"]


def task_loss(
    logits: Tensor, targets: Tensor, task: Task, smoothing: float, weights: NDArray[np.float32] | None = None
) -> Tensor:
    """Cross-entropy, sigmoid cross-entropy or squared error, by the task's problem."""
    from torch.nn import functional

    logits = logits.float()
    if task.problem == "classification":
        if weights is None:
            return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        heavy = logits.new_tensor(weights)  # divided by the rows, not by their weights: parts of a batch add up to it
        return functional.cross_entropy(logits, targets, heavy, reduction="none", label_smoothing=smoothing).mean()
    if task.problem == "multilabel":
        return functional.binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2)
    return functional.mse_loss(logits[:, 0], targets)


def distillation_loss(logits: Tensor, taught: Tensor, problem: Problem, temperature: float) -> Tensor:
    """How far logits are from a teacher's: cross-entropy of both at a temperature, times its square.

    The square keeps the size of the gradient at any temperature (Hinton et al. 2015, section 2).

    Args:
        logits: (N, outputs).
        taught: (N, outputs) of the teacher.
        problem: Softmax of classes, one sigmoid a label, or the squared error of values.
        temperature: Divides both.
    """
    import torch
    from torch.nn import functional

    logits, taught = logits.float() / temperature, taught.float() / temperature
    if problem == "classification":
        return -(temperature**2) * (torch.softmax(taught, 1) * torch.log_softmax(logits, 1)).sum(1).mean()
    if problem == "multilabel":
        return temperature**2 * functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(taught))
    return temperature**2 * functional.mse_loss(logits, taught)


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
