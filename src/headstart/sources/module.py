"""Modules that a Python program made known by `headstart.Source.from_module`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from headstart.backbones.source import Source
from headstart.errors import unknown_name
from headstart.sources import Offer

__all__ = ["ModuleSources"]

SCHEME = "module:"


class ModuleSources:
    """The provider of ``module:NAME``, in the process that made it known."""

    forms = (("module:NAME", "a module of yours, in Python: headstart.Source.from_module(...)"),)

    def offers(self) -> Iterator[Offer]:
        """None: they are there for who made them known."""
        return iter(())

    def claims(self, name: str) -> bool:
        """Names that begin with ``module:``."""
        return name.startswith(SCHEME)

    def open(self, name: str) -> Source:
        """The source of this name.

        Raises:
            UsageError: If no module was made known by it.
        """
        module = sys.modules.get("headstart.backbones.module")  # not imported: nobody made a module known
        known = {f"{SCHEME}{key}": one.source for key, one in module.KNOWN.items()} if module else {}
        found: Source | None = known.get(name)
        if found is None:
            raise unknown_name("module", name, known)
        return found
