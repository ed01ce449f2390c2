"""The embedding engine: frozen sources over many examples, and the cache of what they gave.

An embedding depends on its own example only, to the last bit, never on the batch it was
computed in: batches hold no padding. So the cache is a table of rows by content, shared by every
subsample, split and data set that meets the same example, and a killed job goes on where the
last shard ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.features.rows import Embeddings, RowStore
from headstart.recipe import Feed
from headstart.store import fingerprint, write_json
from headstart.types import Examples, IndexArray

if TYPE_CHECKING:
    import torch

    from headstart.backbones import Source
    from headstart.backbones.base import Backbone

__all__ = ["Embedder", "Pipeline", "run_backbone"]

ENGINE = 3
"""Raised when a change of the engine changes embeddings."""
SHARD_ROWS = 4096
PARITY = 0.999
"""Mean cosine to float32 from which bfloat16 embeddings serve as well.

It is 0.9999 on the packaged encoder, and 0.9996 to 0.9999 on the packaged convolutional sources, for photographs,
drawings and 32-pixel images enlarged five times.
"""
COMPARED = 24
"""Examples that the two precisions are compared on."""


class Pipeline(Protocol):
    """The preprocessing of one source, made by a modality."""

    fingerprint: str

    def batches(self, inputs: Sequence[Any]) -> Iterator[tuple[IndexArray, Any]]:
        """Positions in ``inputs`` and the batch that holds them, in its first rows."""

    def feed(self, inputs: Sequence[Any]) -> Feed:
        """The inputs decoded once, to train on."""


def run_backbone(
    backbone: Backbone, batches: Iterable[tuple[IndexArray, Any]], device: str, precision: str
) -> Iterator[tuple[IndexArray, Embeddings]]:
    """Positions and every layer's float32 embeddings, batch by batch, in inference mode."""
    import torch

    dtype = getattr(torch, precision)
    with torch.inference_mode():
        for positions, batch in batches:
            freeze(backbone, batch, device, precision)
            layers = backbone.embeddings(_moved(batch, device, backbone.takes or dtype))
            yield positions, {name: value[: len(positions)].float().cpu().numpy() for name, value in layers.items()}


def freeze(backbone: Backbone, batch: Any, device: str, precision: str) -> None:
    """Makes a backbone ready to embed, in place and once: it cannot be trained afterwards.

    Args:
        backbone: As it was loaded, or frozen for the same already.
        batch: An example of what it will see.
        device: Where it computes.
        precision: What it computes in.
    """
    import torch

    from headstart.features.fuse import exact, fuse, onednn, pack

    if backbone.frozen_for == (device, precision):
        return
    dtype = getattr(torch, precision)
    backbone.eval()
    if isinstance(batch, torch.Tensor) and backbone.frozen_for is None:
        place = next(backbone.parameters(), batch).device
        fuse(backbone.model, lambda: backbone(batch[:2].to(place, torch.float32)), dtype)
        backbone.takes = exact(backbone.model)
    backbone.to(device, dtype)
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types only some of its forms
    if dtype == torch.bfloat16 and onednn(device):
        pack(backbone.model)
    backbone.frozen_for = (device, precision)


def _moved(batch: Any, device: str, dtype: torch.dtype) -> Any:
    if isinstance(batch, Mapping):
        return {name: None if value is None else value.to(device) for name, value in batch.items()}
    return batch.to(device=device, dtype=dtype)


class Embedder:
    """Embeds examples by sources, each example once.

    Args:
        pipeline: Makes the preprocessing of a source.
        cache: Folder of the cache; None keeps rows in memory only.
        on_progress: Called with (what, done, total) as rows are computed.
    """

    def __init__(
        self,
        pipeline: Callable[[Source], Pipeline],
        cache: Path | None,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._make_pipeline = pipeline
        self._pipelines: dict[str, Pipeline] = {}
        self._cache = cache
        self._on_progress = on_progress or (lambda *_: None)
        self._loaded: tuple[str, Backbone] | None = None
        self._stores: dict[str, RowStore] = {}
        self._decided: dict[str, dict[str, Any]] = {}
        self.ways: dict[str, dict[str, Any]] = {}
        """Source name -> how it is computed here: ``precision``, ``cosine`` to float32, and ``why``."""
        self.rates: dict[str, float] = {}
        """Source name -> examples a second, measured while embedding in this process."""

    def embed(self, source: Source, examples: Examples, rows: IndexArray, precision: str | None = None) -> Embeddings:
        """Every layer's embeddings ``(len(rows), D)`` float32 of these rows.

        Args:
            source: What embeds.
            examples: The table.
            rows: Row numbers into it.
            precision: What to compute in; None: as `precision` says.

        Raises:
            BundleRefused: If the source breaks its rules when it is opened.
            ResourceError: If memory or the disk is full.
        """
        digests = [examples.digests[row] for row in rows]
        pipeline = self.pipeline(source)
        precision = precision or self.precision(source, examples, rows, pipeline)
        store = self._store(source, pipeline, precision)
        missing = {digest: row for digest, row in zip(digests, rows, strict=True) if digest not in store}
        if missing:
            self._compute(source, pipeline, precision, store, missing, examples)
        return store.read(digests)

    def pipeline(self, source: Source) -> Pipeline:
        """The preprocessing of a source, made once."""
        if source.fingerprint not in self._pipelines:
            self._pipelines[source.fingerprint] = self._make_pipeline(source)
        return self._pipelines[source.fingerprint]

    def _store(self, source: Source, pipeline: Pipeline, precision: str) -> RowStore:
        space = self._space(source, pipeline, precision)
        if space not in self._stores:
            self._stores[space] = RowStore(self._cache / "embeddings" / space if self._cache else None)
        return self._stores[space]

    def _space(self, source: Source, pipeline: Pipeline, precision: str) -> str:
        """Hash of everything that decides an embedding besides the example."""
        card = source.card
        return fingerprint(
            ENGINE, card.weights_sha256, card.architecture, card.layers, pipeline.fingerprint, precision, _place()
        )

    def _compute(
        self,
        source: Source,
        pipeline: Pipeline,
        precision: str,
        store: RowStore,
        missing: Mapping[str, int],
        examples: Examples,
    ) -> None:
        digests, begin = list(missing), time.perf_counter()
        inputs = [examples.inputs[row] for row in missing.values()]
        backbone, what = self._backbone(source, precision), f"embedding with {source.name}"
        held: list[tuple[IndexArray, Embeddings]] = []
        done = held_rows = 0
        for positions, layers in run_backbone(backbone, pipeline.batches(inputs), runtime.device(), precision):
            held.append((positions, layers))
            held_rows, done = held_rows + len(positions), done + len(positions)
            self._on_progress(what, done, len(digests))
            if held_rows >= SHARD_ROWS or done == len(digests):
                order = np.concatenate([part for part, _ in held])
                store.append(
                    [digests[i] for i in order],
                    {name: np.concatenate([part[name] for _, part in held]) for name in layers},
                )
                held, held_rows = [], 0
        self.rates[source.name] = done / max(1e-9, time.perf_counter() - begin)

    def _backbone(self, source: Source, precision: str) -> Backbone:
        key = fingerprint(source.card, precision)
        if self._loaded is None or self._loaded[0] != key:
            runtime.use_threads()
            self._loaded = (key, source.backbone())
        return self._loaded[1]

    def precision(self, source: Source, examples: Examples, rows: IndexArray, pipeline: Pipeline | None = None) -> str:
        """``bfloat16`` where the machine multiplies it in hardware and its embeddings are as good, else ``float32``.

        As good: they point the same way (mean cosine of at least `PARITY` on a few of the rows).
        No clock decides, so that the same machine gives the same embeddings every time: a cached
        decision holds for the source and for what was tuned from it. `ways` says what was decided.
        """
        if not runtime.fast_bfloat16():
            self.ways[source.name] = {"precision": "float32", "cosine": None, "why": "no bfloat16 in hardware"}
            return "float32"
        pipeline = pipeline or self.pipeline(source)
        card = source.card
        key = fingerprint(ENGINE, card.name, card.architecture, card.layers, pipeline.fingerprint, _place())
        if key not in self._decided:
            path = self._cache / "ways" / f"{key}.json" if self._cache else None
            if path and path.is_file():
                self._decided[key] = json.loads(path.read_text("utf-8"))
            else:
                found = self._compare(source, pipeline, [examples.inputs[row] for row in rows[:COMPARED]])
                self._decided[key] = {"source": card.name, **found}
                if path:
                    write_json(path, self._decided[key])
        self.ways[card.name] = self._decided[key]
        return str(self._decided[key]["precision"])

    def _compare(self, source: Source, pipeline: Pipeline, inputs: Sequence[Any]) -> dict[str, Any]:
        if not source.backbone().multiplies:
            return {"precision": "float32", "cosine": None, "why": "it multiplies no matrices"}
        batches = list(pipeline.batches(inputs))
        found: list[Embeddings] = []
        for precision in ("float32", "bfloat16"):
            backbone = self._backbone(source, precision)
            parts = [layers for _, layers in run_backbone(backbone, batches, runtime.device(), precision)]
            found.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        cosine = min(float(_cosines(found[0][name], found[1][name]).mean()) for name in found[0])
        alike = cosine >= PARITY
        why = (
            f"bfloat16 embeddings are {'' if alike else 'not '}as good: mean cosine {cosine:.5f}, {PARITY} is asked for"
        )
        return {"precision": "bfloat16" if alike else "float32", "cosine": round(cosine, 6), "why": why}


def _place() -> tuple[Any, ...]:
    """What of this machine can change an embedding."""
    versions = {k: v for k, v in runtime.versions().items() if k not in ("headstart", "scikit-learn", "scipy")}
    return runtime.device(), runtime.processor(), versions


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(norms > 0, (a * b).sum(1) / np.where(norms > 0, norms, 1), 1.0).astype(np.float32)
