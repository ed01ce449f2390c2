"""Both sides of an initialization, as its rules see them, and the contract of a rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Fitted", "Pair", "Pairs", "Rule", "Scene", "evenly", "shape_of"]


@dataclass(frozen=True)
class Pair:
    """A tensor of the target and the tensor of the source it is to come from."""

    target: str
    source: str


@dataclass(frozen=True)
class Pairs:
    """What a rule paired."""

    of: Mapping[str, str] = field(default_factory=dict)
    """Target tensor -> source tensor."""
    reason: str = ""
    """Why, for all of them."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Source tensor -> why the rule leaves it out."""


@dataclass(frozen=True)
class Fitted:
    """Values on their way to the target's shape."""

    value: Tensor
    reason: str
    """What was done to them, for people."""
    taken: float = 1.0
    """Share of the values that come from the source; the others are the target's own."""


@dataclass(frozen=True)
class Scene:
    """What a rule may look at; nothing here is to be written to."""

    target: Mapping[str, Tensor]
    """The target's tensors as it was made."""
    source: Mapping[str, Tensor]
    model: nn.Module
    """The target."""
    origin: nn.Module | None
    """The source, where it is a module and not only its tensors."""
    heads: tuple[str, ...]
    """Beginnings of the names that make up the target's head."""

    def is_head(self, name: str) -> bool:
        """Whether a target tensor is part of the head, which knows the task and not the input."""
        return any(name == head or name.startswith(f"{head}.") for head in self.heads)

    def owner(self, name: str) -> nn.Module:
        """The target's module that holds this tensor."""
        return self.model.get_submodule(name.rpartition(".")[0])

    def counterpart(self, name: str) -> str:
        """The name a target tensor would have in the source: one side may have a prefix in front of all names."""
        ours, theirs = self._prefixes
        return theirs + name[len(ours) :] if name.startswith(ours) else ""

    @cached_property
    def _prefixes(self) -> tuple[str, str]:
        """The prefixes of the target's and the source's names under which most names agree; none where few do."""
        ours, theirs = _beginnings(self.target), _beginnings(self.source)
        found = max(product(("", *ours), ("", *theirs)), key=lambda pair: self._agreeing(*pair))
        few = 2 * self._agreeing(*found) < min(len(self.target), len(self.source))
        return ("", "") if few else found

    def _agreeing(self, ours: str, theirs: str) -> int:
        return sum(theirs + name[len(ours) :] in self.source for name in self.target if name.startswith(ours))


def _beginnings(names: Collection[str]) -> list[str]:
    """First one and two parts of names, such as ``bert.`` and ``backbone.model.``."""
    parts = [name.split(".") for name in names]
    return sorted({".".join(p[:k]) + "." for p in parts for k in (1, 2) if len(p) > k and not p[k - 1].isdigit()})


class Rule:
    """One way to explain tensors; both methods have a working default. Rules keep no state."""

    name: ClassVar[str]
    """What the ledger calls it: its name in the table."""

    def pair(self, scene: Scene, open_: Collection[str]) -> Pairs:  # noqa: ARG002
        """Pairs target tensors out of ``open_``, those that no earlier rule has paired."""
        return Pairs()

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:  # noqa: ARG002
        """The values nearer to the target's shape, or None where this rule has nothing to do."""
        return None


def evenly(source: int, target: int) -> list[int]:
    """``target`` indices spread evenly over ``source`` ones, depending on the two numbers alone.

    Every axis of the same two sizes gets the same indices, which keeps a residual stream whole.
    Xu et al. 2024, "Initializing Models with Larger Ones" (weight selection), uniform selection.

    >>> evenly(12, 4), evenly(12, 5)
    ([0, 3, 6, 9], [0, 3, 6, 8, 11])
    """
    if source % target == 0:
        return list(range(0, source, source // target))
    return [round(i * (source - 1) / (target - 1)) for i in range(target)]


def shape_of(tensor: Any) -> str:
    """A shape for people.

    >>> import numpy as np
    >>> shape_of(np.zeros((3, 2))), shape_of(np.zeros(()))
    ('3 × 2', 'scalar')
    """
    return " × ".join(map(str, tensor.shape)) or "scalar"
