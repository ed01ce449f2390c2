"""One explicit table a family: name -> dotted path, extended by entry points of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from headstart.errors import unknown_name

__all__ = ["Registry"]


class Registry(Mapping[str, Any]):
    """A family of interchangeable parts, imported only when asked for.

    Args:
        family: What one entry is called in messages, and, as ``headstart.FAMILY``, the
            entry-point group that other packages add to.
        table: Name -> ``"package.module:attribute"``.

    >>> numbers = Registry("number", {"pi": "math:pi"})
    >>> numbers["pi"]
    3.141592653589793
    """

    def __init__(self, family: str, table: Mapping[str, str]) -> None:
        self.family = family
        self._table = dict(table)

    @cached_property
    def paths(self) -> dict[str, str]:
        """Name -> dotted path, our own table first; a foreign package cannot replace our names."""
        foreign = {point.name: point.value for point in entry_points(group=f"headstart.{self.family}")}
        return {**foreign, **self._table}

    def __getitem__(self, name: str) -> Any:
        """The part of this name.

        Raises:
            UsageError: If the table has no such name; lists the valid ones.
        """
        paths = self.paths
        if name not in paths:
            raise unknown_name(self.family, name, paths)
        module, _, attribute = paths[name].partition(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)
