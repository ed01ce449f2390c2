"""Other names for the same architecture: tensors matched by their order and shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from headstart.initialization.scene import Pairs, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Order"]

KINDS = {
    **dict.fromkeys(("bias", "beta", "offset"), "bias"),
    **dict.fromkeys(("running_mean", "moving_mean"), "mean"),
    **dict.fromkeys(("running_var", "moving_variance"), "variance"),
}
"""Last part of a name -> what the tensor is to its layer, where it is no weight: a norm's weight must not become its
bias. Weights go by too many names to list."""
UNTOLD = frozenset({"num_batches_tracked"})
"""Counters that one library stores and another does not."""


@dataclass(frozen=True)
class Order(Rule):
    """Acts only where names say nothing: hardly any agree, and nearly all shapes do, in the same order.

    That is evidence and not proof (a query and a key have the same shape): see ``prove`` of `initialize`.
    """

    name = "order"
    least: float = 0.9
    """Share of the backbone's parameters that must find a partner, in [0, 1]."""

    def pair(self, scene: Scene, open_: Collection[str]) -> Pairs:
        """Pairs two whole models, or nothing."""
        backbone = [name for name in scene.target if not scene.is_head(name)]
        asked = sum(scene.target[name].numel() for name in backbone)
        if sum(scene.target[name].numel() for name in backbone if name in open_) < self.least * asked:
            return Pairs()
        ours = [name for name in scene.target if name in open_ and _kind(name) not in UNTOLD]
        theirs = [name for name in scene.source if _kind(name) not in UNTOLD]
        matcher = SequenceMatcher(
            None,
            [_signature(name, scene.target[name]) for name in ours],
            [_signature(name, scene.source[name]) for name in theirs],
            autojunk=False,
        )
        found = {
            ours[block.a + i]: theirs[block.b + i] for block in matcher.get_matching_blocks() for i in range(block.size)
        }
        if sum(scene.target[name].numel() for name in backbone if name in found) < self.least * asked:
            return Pairs()
        return Pairs(found, "same place and shape")


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _signature(name: str, tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return KINDS.get(_kind(name), ""), tuple(tensor.shape)
