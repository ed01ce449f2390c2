"""Fewer layers than the source has: some of its layers, in their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from headstart.initialization.scene import Pairs, Rule, Scene

__all__ = ["Depth"]


@dataclass(frozen=True)
class Depth(Rule):
    """A stack of layers (names that differ in one number) takes fewer from a taller stack.

    Xu et al. 2024, "Initializing Models with Larger Ones" (weight selection), on which layers to take.
    """

    name = "depth"
    layers: Literal["even", "first"] = "even"
    """``even``: spread over the source's, its first and last among them. ``first``: the lowest ones, which keeps
    what alternates (shifted and unshifted windows) in step."""

    def pair(self, scene: Scene, open_: Collection[str]) -> Pairs:
        """Pairs the tensors of every stack that is shorter than the source's and otherwise named alike."""
        heights = {side: _heights(names) for side, names in (("target", scene.target), ("source", scene.source))}
        found: dict[str, str] = {}
        stacks: dict[str, set[str]] = defaultdict(set)
        for name in open_:
            mapped, stack = self._mapped(scene.counterpart(name), name, heights["target"], heights["source"])
            if stack:
                found[name] = mapped
                stacks[stack].add(name)
        for names in stacks.values():
            if any(found[name] not in scene.source for name in names):
                for name in names:
                    del found[name]
        which = "evenly spaced" if self.layers == "even" else "first"
        left_out = dict.fromkeys(_left_out(scene.source, found.values(), heights["source"]), "its layer is left out")
        return Pairs(found, f"{which} layers of a taller source", left_out)

    def _mapped(
        self, counterpart: str, name: str, target: Mapping[str, int], source: Mapping[str, int]
    ) -> tuple[str, str]:
        """The source tensor's name, and the target's outermost stack that is shorter ('' for none)."""
        parts, mapped = name.split("."), counterpart.split(".") if counterpart else []
        skipped, shorter = len(parts) - len(mapped), ""
        for here in range(max(0, -skipped), len(mapped)):
            part, ours, theirs = mapped[here], ".".join(parts[: here + skipped]), ".".join(mapped[:here])
            wanted, has = target.get(ours, 0), source.get(theirs, 0)
            if part.isdigit() and 0 < wanted < has:
                mapped[here] = str(self._chosen(has, wanted)[int(part)])
                shorter = shorter or ours
        return ".".join(mapped), shorter

    def _chosen(self, source: int, target: int) -> list[int]:
        if self.layers == "first":
            return list(range(target))
        return [round(i * (source - 1) / max(1, target - 1)) for i in range(target)]


def _heights(names: Iterable[str]) -> dict[str, int]:
    """Beginning of names -> number of layers that follow it, where they are numbered 0, 1, 2, ... without a gap."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdigit():
                numbers[".".join(parts[:place])].add(int(part))
    return {stack: len(found) for stack, found in numbers.items() if found == set(range(len(found)))}


def _left_out(source: Iterable[str], taken: Iterable[str], heights: Mapping[str, int]) -> list[str]:
    """Source tensors in layers that nothing is taken from, of the stacks that something is taken from."""
    layers = {layer for name in taken for layer in _layers(name, heights)}
    stacks = {layer.rpartition(".")[0] for layer in layers}
    return [
        name
        for name in source
        if any(layer not in layers and layer.rpartition(".")[0] in stacks for layer in _layers(name, heights))
    ]


def _layers(name: str, heights: Mapping[str, int]) -> list[str]:
    """The layers that a tensor is part of, outermost first."""
    parts = name.split(".")
    ends = [place for place, part in enumerate(parts) if part.isdigit() and ".".join(parts[:place]) in heights]
    return [".".join(parts[: place + 1]) for place in ends]
