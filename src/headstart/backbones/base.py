"""The contract of a backbone, and the target model that stands on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UsageError
from headstart.types import SourceHead

__all__ = ["Backbone", "Chain", "Stage", "TargetModel"]


class Stage(nn.Module):
    """One named step of a backbone: owns its modules, maps a state to the next state.

    Args:
        name: Where the step sits, such as ``blocks.3``.
        module: The module whose parameters belong to this stage.
        apply: How the state passes through; calls ``module`` itself when not given.
    """

    def __init__(self, name: str, module: nn.Module, apply: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.name = name
        self.module = module
        self._apply_state = apply

    def forward(self, state: Any) -> Any:
        """The next state."""
        return self._apply_state(state) if self._apply_state else self.module(state)


class Chain(nn.Module):
    """Stages in a row, then a pooling where there is one."""

    def __init__(self, stages: Sequence[Stage], pool: Callable[[Any], Tensor] | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self._pool = pool

    def forward(self, state: Any) -> Any:
        """The state after the last stage, pooled to ``(N, dim)`` where the chain ends in a pooling."""
        for stage in self.stages:
            state = stage(state)
        return self._pool(state) if self._pool else state


class Backbone(nn.Module, ABC):
    """A source without its head.

    The library's module is held in ``model``; its parameter names are the ones in the bundle.
    A family fills in ``stages`` and ``pool``.
    """

    dim: int
    """Width of the layer ``last``, see `width`."""
    layers: tuple[str, ...] = ("last",)
    """Names of the embeddings that `embeddings` can give, ``last`` first."""
    multiplies: bool = True
    """Whether its work is matrix products, which lower precisions speed up."""
    splits: bool = True
    """Whether `prefix` and `suffix` are there for every number of stages; if not, only for none and for all."""
    reentrant: bool = True
    """Whether several threads may run it at once."""
    frozen_for: tuple[str, str] | None = None
    """Device and precision that the embedding engine made it ready for, in place; None: as it was loaded."""
    takes: torch.dtype | None = None
    """What images must come in once it is frozen, where that is not the precision it computes in."""
    source_head: Callable[[], SourceHead | None] = staticmethod(lambda: None)
    """Reads the head that the source was trained with, see `Source.head`."""

    def __init__(self, model: nn.Module, dim: int) -> None:
        super().__init__()
        self.model = model
        self.dim = dim

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Input to output; together they hold every parameter exactly once."""

    @abstractmethod
    def pool(self, state: Any) -> Tensor:
        """The last stage's state as embeddings ``(N, dim)``."""

    def prefix(self, k: int) -> Chain:
        """The first ``k`` stages: a batch to the state after them."""
        return Chain(self.stages[:k])

    def suffix(self, k: int) -> Chain:
        """All after the first ``k`` stages: ``suffix(k)(prefix(k)(x)) == forward(x)``."""
        return Chain(self.stages[k:], self.pool)

    def forward(self, batch: Any) -> Tensor:
        """Embeddings ``(N, dim)`` of a batch."""
        return self.suffix(0)(batch)  # type: ignore[no-any-return]

    def embeddings(self, batch: Any) -> dict[str, Tensor]:
        """Every layer's embeddings ``(N, width)`` float32, from one pass."""
        return {"last": self(batch).float()}

    def width(self, layer: str) -> int:  # noqa: ARG002
        """How wide the embeddings of a layer are."""
        return self.dim

    def source_logits(self, embedding: Tensor) -> Tensor:
        """Logits ``(N, Z)`` of the source's own classes for embeddings ``(N, dim)`` of the layer ``last``.

        Raises:
            UsageError: If the source has no head; `source_head` tells.
        """
        head = self.source_head()
        if head is None:
            raise UsageError("this source has no classes of its own, so it gives no logits")
        weight, bias = (torch.tensor(array, device=embedding.device) for array in (head.weight, head.bias))
        return nn.functional.linear(embedding.float(), weight, bias)


class TargetModel(nn.Module):
    """What ships: a backbone, one of its layers, and a linear head.

    Args:
        backbone: The (frozen or tuned) source.
        layer: One of ``backbone.layers``.
        outputs: Number of logits.
    """

    def __init__(self, backbone: Backbone, layer: str, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.layer = layer
        self.head = nn.Linear(backbone.width(layer), outputs)

    def read(self, layer: str) -> None:
        """Takes the embeddings of this layer from now on; another one needs a new head."""
        if layer != self.layer:
            self.layer = layer
            self.head = nn.Linear(self.backbone.width(layer), self.head.out_features)

    def forward(self, batch: Any) -> Tensor:
        """Uncalibrated logits ``(N, outputs)`` in float32."""
        return self.classify(self.backbone.embeddings(batch)[self.layer])

    def classify(self, embeddings: Tensor) -> Tensor:
        """Uncalibrated logits ``(N, outputs)`` of embeddings ``(N, dim)`` of the model's layer."""
        return nn.functional.linear(embeddings.float(), self.head.weight.float(), self.head.bias.float())

    @torch.inference_mode()
    def logits(self, batch: Any) -> Tensor:
        """`forward` without gradients."""
        return self(batch)  # type: ignore[no-any-return]
