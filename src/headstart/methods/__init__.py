"""Ways to adapt a source to a task: one a file, found by name in one table.

A method is a class made without arguments, with a ``run`` that returns an arm:

    run(context: Context) -> Arm

It sees train and validation rows only, and is deterministic given the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from headstart.backbones.source import Source
from headstart.features import Embedder
from headstart.registry import Registry
from headstart.types import Arm, Examples, Split, Task

__all__ = ["METHODS", "Context", "Method"]

METHODS = Registry("method", {"probe": "headstart.methods.probe:Probe"})


@dataclass(frozen=True)
class Context:
    """What a method may look at."""

    task: Task
    examples: Examples
    split: Split
    """``split.test`` is not for methods: `headstart.prove` alone opens it."""
    source: Source
    embedder: Embedder
    seed: int


class Method(Protocol):
    """One way to adapt."""

    def run(self, context: Context) -> Arm:
        """Trains on ``split.train`` and predicts ``split.validation``, or out-of-fold where it is empty."""
