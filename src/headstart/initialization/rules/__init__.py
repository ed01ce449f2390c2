"""The rules of initialization, one a file, found by name in one table: `headstart.initialization.RULES`."""

from __future__ import annotations

__all__: list[str] = []
