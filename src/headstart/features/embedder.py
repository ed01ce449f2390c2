"""The embedding engine: frozen sources over many examples, and the cache of what they gave.

An embedding depends on its own example only, to the last bit, never on the batch it was
computed in: batches hold no padding. So the cache is a table of rows by content, shared by every
subsample, split and data set that meets the same example, and a killed job goes on where the
last shard ended.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.features.frozen import run_backbone
from headstart.features.rows import Embeddings, RowStore
from headstart.features.spread import Part, made
from headstart.recipe import Feed
from headstart.store import fingerprint, write_json
from headstart.types import Examples, IndexArray

if TYPE_CHECKING:
    from headstart.backbones import Source

__all__ = ["Embedder", "Pipeline"]

ENGINE = 5
"""Raised when a change of the engine changes embeddings."""
SHARD_ROWS = 4096
PARITY = 0.999
"""Mean cosine to float32 from which bfloat16 embeddings serve as well.

It is 0.9999 on the packaged encoder, and 0.9996 to 0.9999 on the packaged convolutional sources, for photographs,
drawings and 32-pixel images enlarged five times.
"""
COMPARED = 24
"""Examples that two ways are compared on."""
FEW = 5_000
"""In a table of fewer examples OpenVINO is not even tried: trying it takes longer than it saves, 12 s for an
EfficientNet-Lite on two cores."""
OPENVINO = ("openvino", "openvino behind float32")
"""Ways of OpenVINO, the faster first: all of a source, or what comes after the front that stays float32."""
BY_OPENVINO = "bfloat16 by OpenVINO"
MARGIN = 1.2
"""How many times as fast as torch OpenVINO must be."""
RACED = 96
"""Examples that OpenVINO is compared with torch on, in so many turns:"""
TURNS = 3


Rows = tuple[IndexArray, Embeddings]
Run = Callable[[Iterable[Part]], Iterator[Rows]]
"""Computes the embeddings of parts."""


class Pipeline(Protocol):
    """The preprocessing of one source, made by a modality."""

    fingerprint: str

    def parts(self, inputs: Sequence[Any]) -> Iterator[Part]:
        """Positions in ``inputs``, and what makes the batch that holds them, in its first rows."""

    def feed(self, inputs: Sequence[Any]) -> Feed:
        """The inputs decoded once, to train on."""


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
        self._loaded: tuple[str, Run] | None = None
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
        way = precision or self._way(source, examples, rows, pipeline)
        store = self._store(source, pipeline, way)
        missing = {digest: row for digest, row in zip(digests, rows, strict=True) if digest not in store}
        if missing:
            self._compute(source, pipeline, way, store, missing, examples)
        return store.read(digests)

    def pipeline(self, source: Source) -> Pipeline:
        """The preprocessing of a source, made once."""
        if source.fingerprint not in self._pipelines:
            self._pipelines[source.fingerprint] = self._make_pipeline(source)
        return self._pipelines[source.fingerprint]

    def _store(self, source: Source, pipeline: Pipeline, way: str) -> RowStore:
        space = self._space(source, pipeline, way)
        if space not in self._stores:
            self._stores[space] = RowStore(self._cache / "embeddings" / space if self._cache else None)
        return self._stores[space]

    def _space(self, source: Source, pipeline: Pipeline, way: str) -> str:
        """Hash of everything that decides an embedding besides the example."""
        card = source.card
        return fingerprint(
            ENGINE, card.weights_sha256, card.architecture, card.layers, pipeline.fingerprint, way, _place()
        )

    def _compute(
        self,
        source: Source,
        pipeline: Pipeline,
        way: str,
        store: RowStore,
        missing: Mapping[str, int],
        examples: Examples,
    ) -> None:
        digests, begin = list(missing), time.perf_counter()
        inputs = [examples.inputs[row] for row in missing.values()]
        run, what = self._runner(source, way), f"embedding with {source.name}"
        held: list[tuple[IndexArray, Embeddings]] = []
        done = held_rows = 0
        with runtime.kept_memory():
            for positions, layers in run(pipeline.parts(inputs)):
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

    def _runner(self, source: Source, way: str) -> Run:
        """What computes batches of a source in one way; the last one is kept."""
        key = fingerprint(source.card, way)
        if self._loaded is None or self._loaded[0] != key:
            runtime.use_threads()
            self._loaded = (key, _converted(source, way) if way.startswith("openvino") else _torch(source, way))
        return self._loaded[1]

    def _way(self, source: Source, examples: Examples, rows: IndexArray, pipeline: Pipeline) -> str:
        """The precision; or a way of `OPENVINO`, where one is as good and worth its conversion for this table.

        What it is worth was measured once on this machine, and is kept in the cache: the same table is
        computed the same way every time. Without a cache nothing is measured, and torch computes.
        """
        precision, version = self.precision(source, examples, rows, pipeline), _openvino()
        fits = precision == "bfloat16" and runtime.device() == "cpu" and len(examples) >= FEW
        if not (fits and version and self._cache):
            return precision
        card = source.card
        key = fingerprint(ENGINE, version, card.name, card.architecture, card.layers, pipeline.fingerprint, _place())
        compared = [examples.inputs[row] for row in rows[:RACED]]
        decided = self._decision(key, card.name, lambda: self._race(source, pipeline, compared))
        if decided["pays_from"] is None or len(examples) < decided["pays_from"]:
            return precision
        self.ways[card.name] = decided
        return f"{decided['way']} {version}"

    def _race(self, source: Source, pipeline: Pipeline, inputs: Sequence[Any]) -> dict[str, Any]:
        """How the ways of OpenVINO compare with torch; the fastest that is as good is chosen.

        Returns:
            ``precision``, ``way``, ``cosine`` to float32, ``why``, and ``pays_from``: from how many examples it is
            worth its conversion; None: never.
        """
        parts = _held(pipeline.parts(inputs))
        exact = _joined(_torch(source, "float32")(parts))
        torch = self._runner(source, "bfloat16")
        _joined(torch(parts))
        tried, chosen = [], None
        for way in OPENVINO if source.card.modality == "image" else OPENVINO[:1]:
            run, begin = _converted(source, way), time.perf_counter()
            try:
                found = _joined(run(parts))
            except Exception as error:  # noqa: BLE001  a converter fails in many ways, and torch computes it as well
                tried.append(f"{way} fails: {type(error).__name__}: {str(error)[:200]}")
                continue
            cost = time.perf_counter() - begin
            cosine = min(float(_cosines(exact[name], found[name]).mean()) for name in exact)
            slow, fast = (_median_seconds(side, parts) for side in (torch, run))
            tried.append(f"{way} is {slow / fast:.2f} times as fast as torch, mean cosine {cosine:.5f}")
            if cosine >= PARITY and slow / fast >= MARGIN:
                pays = max(FEW, math.ceil(cost / (slow - fast) * len(inputs)))
                chosen = {
                    "precision": BY_OPENVINO,
                    "way": way,
                    "cosine": round(cosine, 6),
                    "pays_from": pays,
                }
                break
        nothing = {"precision": "bfloat16", "way": None, "cosine": None, "pays_from": None}
        return {**(chosen or nothing), "why": f"{'; '.join(tried)}; {PARITY} and {MARGIN} times are asked for"}

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
        compared = [examples.inputs[row] for row in rows[:COMPARED]]
        decided = self._decision(key, card.name, lambda: self._compare(source, pipeline, compared))
        self.ways[card.name] = decided
        return str(decided["precision"])

    def _decision(self, key: str, name: str, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was decided for a source, in this process or, as the cache keeps it, in an earlier one."""
        if key not in self._decided:
            path = self._cache / "ways" / f"{key}.json" if self._cache else None
            if path and path.is_file():
                self._decided[key] = json.loads(path.read_text("utf-8"))
            else:
                self._decided[key] = {"source": name, **decide()}
                if path:
                    write_json(path, self._decided[key])
        return self._decided[key]

    def _compare(self, source: Source, pipeline: Pipeline, inputs: Sequence[Any]) -> dict[str, Any]:
        backbone = source.backbone()
        if not backbone.multiplies:
            return {"precision": "float32", "cosine": None, "why": "it multiplies no matrices"}
        parts = _held(pipeline.parts(inputs))
        exact = _joined(run_backbone(backbone, parts, runtime.device(), "float32"))
        found = _joined(self._runner(source, "bfloat16")(parts))
        cosine = min(float(_cosines(exact[name], found[name]).mean()) for name in exact)
        alike = cosine >= PARITY
        why = (
            f"bfloat16 embeddings are {'' if alike else 'not '}as good: mean cosine {cosine:.5f}, {PARITY} is asked for"
        )
        return {"precision": "bfloat16" if alike else "float32", "cosine": round(cosine, 6), "why": why}


@cache
def _openvino() -> str | None:
    """OpenVINO's version; None where it is not installed."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch(source: Source, precision: str) -> Run:
    backbone = source.backbone()
    return lambda parts: run_backbone(backbone, parts, runtime.device(), precision)


def _converted(source: Source, way: str) -> Run:
    from headstart.features.converted import Converted

    return Converted(source, whole="behind" not in way).run


def _joined(rows: Iterable[Rows]) -> Embeddings:
    held = [layers for _, layers in rows]
    return {name: np.concatenate([layers[name] for layers in held]) for name in held[0]}


def _held(parts: Iterable[Part]) -> list[Part]:
    """The parts with their batches made already."""
    return [(positions, partial(lambda batch: batch, batch)) for positions, batch in map(made, parts)]


def _median_seconds(run: Run, parts: Sequence[Part]) -> float:
    seconds = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        _joined(run(parts))
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def _place() -> tuple[Any, ...]:
    """What of this machine can change an embedding."""
    versions = {k: v for k, v in runtime.versions().items() if k not in ("headstart", "scikit-learn", "scipy")}
    return runtime.device(), runtime.processor(), versions


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(norms > 0, (a * b).sum(1) / np.where(norms > 0, norms, 1), 1.0).astype(np.float32)
