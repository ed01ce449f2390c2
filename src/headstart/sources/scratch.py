"""Random weights as a source: the architecture and preprocessing of another one, trained on nothing."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.backbones.source import Source
from headstart.sources import Offer, resolve

__all__ = ["ScratchSources"]

SCHEME = "scratch:"


class ScratchSources:
    """The provider of ``scratch:NAME``."""

    forms = (
        ("scratch", "random weights of a small architecture for the data"),
        ("scratch:NAME", "random weights of the architecture of any other source"),
    )

    def offers(self) -> Iterator[Offer]:
        """None: they are no pretrained models."""
        return iter(())

    def claims(self, name: str) -> bool:
        """Names that begin with ``scratch:``."""
        return name.startswith(SCHEME)

    def open(self, name: str) -> Source:
        """The source of this name, its weights drawn from seed 0."""
        return resolve(name.removeprefix(SCHEME)).from_scratch(0).renamed(name)
