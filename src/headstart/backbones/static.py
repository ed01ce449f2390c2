"""Static token embeddings: a text is the mean of its token vectors."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from headstart.backbones.base import Backbone, Stage
from headstart.errors import BundleRefused

__all__ = ["Static", "build"]


class Static(Backbone):
    """A table of token vectors; a batch is ``{"ids": (N, L) int64, "mask": (N, L) bool or None}``."""

    multiplies = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The table alone; the state is ``(vectors, mask)``."""
        return (Stage("embedding", self.model, self._embed),)

    def _embed(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        return self.model.embedding(batch["ids"]), batch.get("mask")  # type: ignore[operator]

    def pool(self, state: tuple[Tensor, Tensor | None]) -> Tensor:
        """Mean over the real tokens, ``(N, dim)``; a text of no known token is the zero vector."""
        vectors, mask = state
        if mask is None:
            return vectors.float().sum(1) / max(1, vectors.shape[1])
        weights = mask.unsqueeze(-1).float()
        return (vectors.float() * weights).sum(1) / weights.sum(1).clamp_min(1)


def build(tokens: int, dim: int) -> Static:
    """A table of ``tokens`` vectors of width ``dim``.

    Raises:
        BundleRefused: If a size is out of bounds.
    """
    for key, value, high in (("tokens", tokens, 2_000_000), ("dim", dim, 16_384)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
            raise BundleRefused(f"{key}={value!r} must be a whole number in 1 .. {high}")
    model: Any = nn.ModuleDict({"embedding": nn.Embedding(tokens, dim)})
    return Static(model, dim)
