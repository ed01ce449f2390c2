"""A linear layer as a 1 × 1 convolution, and back: the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pointwise"]


class Pointwise(Rule):
    """Kernels ``(O, I)`` and ``(O, I, 1, 1)`` compute the same at every place."""

    name = "pointwise"

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Weights with as many axes of one cell as the target has."""
        own = scene.target[pair.target]
        if min(own.ndim, value.ndim) != 2 or own.ndim == value.ndim or {*own.shape[2:], *value.shape[2:]} != {1}:
            return None
        what = "a linear layer as a 1 × 1 convolution" if own.ndim > 2 else "a 1 × 1 convolution as a linear layer"
        return Fitted(value.reshape(*value.shape[:2], *own.shape[2:]), what)
