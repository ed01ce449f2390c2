"""Data as people have them -> one checked table of examples, and deterministic splits of it."""

from __future__ import annotations

from headstart.data.reading import read, read_inputs, read_labelled, table_of
from headstart.data.splits import fold_numbers, split

__all__ = ["fold_numbers", "read", "read_inputs", "read_labelled", "split", "table_of"]
