"""Classes that source and target share: their rows of the head, found by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.initialization.scene import Fitted, Pair, Pairs, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Labels", "shared_rows"]


@dataclass(frozen=True)
class Labels(Rule):
    """Rows of the source's head for the target's classes of the same name; other rows stay the target's own."""

    name = "labels"
    source: Sequence[str]
    """The source's class names, in the order of its outputs."""
    target: Sequence[str]

    def pair(self, scene: Scene, open_: Collection[str]) -> Pairs:
        """Pairs heads of other names: the source's last tensors with one row a class."""
        found = {}
        for name in [name for name in open_ if scene.is_head(name)]:
            own = scene.target[name]
            fitting = [
                one
                for one, value in scene.source.items()
                if value.shape[:1] == (len(self.source),) and value.ndim == own.ndim
            ]
            if own.shape[:1] == (len(self.target),) and fitting:
                found[name] = fitting[-1]
        return Pairs(found, "one row a class")

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """A head's weight ``(classes, D)`` or bias ``(classes,)``."""
        own = scene.target[pair.target]
        sizes = (value.shape[:1], own.shape[:1])
        if not scene.is_head(pair.target) or sizes != ((len(self.source),), (len(self.target),)):
            return None
        if value.shape[1:] != own.shape[1:]:
            return None
        rows = shared_rows(self.source, self.target)
        made = own.clone()
        for here, there in rows.items():
            made[here] = value[there].to(own.dtype)
        told = f"rows of {len(rows)} of {len(own)} classes by name, the others fresh"
        return Fitted(made, told, len(rows) / len(own))


def shared_rows(source: Sequence[str], target: Sequence[str]) -> dict[int, int]:
    """Row of the target -> row of the source, for the classes both have.

    Case, hyphens and underscores do not count, and a comma separates synonyms. A name that more
    than one class has on either side is not matched.

    >>> shared_rows(["tabby, tabby cat", "crane", "crane", "Great_Dane"], ["crane", "great dane", "tabby cat", "fork"])
    {1: 3, 2: 0}
    """
    theirs = {word: row for row, words in _unique(source).items() for word in words}
    found = {}
    for row, words in _unique(target).items():
        rows = {theirs[word] for word in words if word in theirs}
        if len(rows) == 1:
            found[row] = rows.pop()
    return found


def _unique(labels: Sequence[str]) -> dict[int, set[str]]:
    """Row -> its names, without those that another row has too."""
    words = [{re.sub(r"[\s_-]+", " ", word).strip().casefold() for word in label.split(",")} for label in labels]
    count = Counter(word for one in words for word in one)
    return {row: {word for word in one if word and count[word] == 1} for row, one in enumerate(words)}
