"""The embedding engine: frozen sources over many examples, fast, and the cache of what they gave."""

from __future__ import annotations

from headstart.features.embedder import Embedder, Pipeline
from headstart.features.frozen import run_backbone
from headstart.features.rows import Embeddings, RowStore
from headstart.features.spread import made

__all__ = ["Embedder", "Embeddings", "Pipeline", "RowStore", "made", "run_backbone"]
