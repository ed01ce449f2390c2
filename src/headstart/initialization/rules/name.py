"""Tensors of the same name, whatever prefix one side puts in front of all its names."""

from __future__ import annotations

from collections.abc import Collection

from headstart.initialization.scene import Pairs, Rule, Scene

__all__ = ["Name"]


class Name(Rule):
    """``bert.encoder.layer.0.output.dense.weight`` is ``encoder.layer.0.output.dense.weight``."""

    name = "name"

    def pair(self, scene: Scene, open_: Collection[str]) -> Pairs:
        """Pairs what agrees in name; shapes may differ, other rules see to them."""
        return Pairs(
            {name: scene.counterpart(name) for name in open_ if scene.counterpart(name) in scene.source}, "same name"
        )
