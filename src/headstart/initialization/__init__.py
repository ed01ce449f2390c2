"""Initialize a target from a source: every weight accounted for, by rules of one file each."""

from __future__ import annotations

from headstart.initialization.shipping import begin, finish

__all__ = ["begin", "finish"]
