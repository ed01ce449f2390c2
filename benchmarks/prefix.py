"""Cached-prefix tuning of EfficientNet-Lite0: what a step costs and what accuracy it reaches, cached and not cached.

Run from the repository: ``python benchmarks/prefix.py steps``, then ``python benchmarks/prefix.py SET [--seeds 0 1]``,
SET being ``hymenoptera`` or ``cifar10`` of ``../shared/data``. Steps of the kinds take turns; their median is told.
A set is trained on all of its training rows by LP-FT, by the last stages on cached states, and by the same stages
without a cache (every step runs the frozen ones anew, on freshly augmented images); reported are test accuracy and
seconds, those of caching included. Results are added to ``benchmarks/results/prefix.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart import adapt, data
from headstart.backbones.base import TargetModel
from headstart.data import read
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.methods.prefix import Prefix, Suffixed
from headstart.modalities import pipeline_of, suited
from headstart.runtime import machine, thread_count, versions
from headstart.sources import resolve
from headstart.store import cache_folder, write_json
from headstart.train import cheap_steps
from headstart.tuning import Tuned

RESULTS = Path(__file__).parent / "results" / "prefix.json"
SOURCE, SIDE, BATCH, CLASSES = "efficientnet-lite0", 160, 32, 10
CUTS = {"block 3 on": 4, "block 4 on": 5, "block 5 on": 6, "last block and head": 7, "last convolution and head": 8}
"""What trains -> number of frozen stages before it."""
Step = tuple[Callable[[], None], Callable[[], AbstractContextManager[object]]]
CLAIMED = {"block 3 on": 3.2, "block 4 on": 3.7, "block 5 on": 5.6, "last block and head": 45.0}
"""Times cheaper than a full step of plain bfloat16 that were measured before."""


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="steps, hymenoptera or cifar10")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/image"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=float, default=METHODS["lpft"].settings.epochs)
    parser.add_argument("--ways", nargs="+", default=["lpft", "cached", "not cached"])
    options = parser.parse_args()
    torch.set_num_threads(thread_count())
    known: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    about = {"source": SOURCE, "side": SIDE, "batch": BATCH, "machine": machine(), "versions": versions()}
    if options.what == "steps":
        write_json(RESULTS, {**known, **about, "rounds": options.rounds, "steps": steps(options.rounds)})
        return
    for seed in options.seeds:
        for way in options.ways:
            row = trained(options.data / options.what, way, seed, options.epochs)
            print(f"{options.what}, {way}, seed {seed}: {row}", flush=True)
            known.setdefault("sets", {}).setdefault(options.what, {}).setdefault(way, {})[f"seed {seed}"] = row
            write_json(RESULTS, {**known, **about})


def steps(rounds: int) -> dict[str, Any]:
    """Seconds of a step of every kind, and how many times cheaper than full steps it is."""
    kinds: dict[str, Step] = {"full, plain": step(0, cheap=False), "full": step(0)}
    for name, cut in CUTS.items():
        kinds[name] = step(cut)
        kinds[f"{name}, not cached"] = step(cut, cached=False)
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, (one, around) in kinds.items():
            with around():
                one()
                begin = time.perf_counter()
                one()
                if turn:
                    taken[name].append(time.perf_counter() - begin)
    median = {name: float(np.median(values)) for name, values in taken.items()}
    rows = {name: {"seconds": round(median[name], 4)} for name in ("full, plain", "full")}
    for name in CUTS:
        rows[name] = {
            "seconds": round(median[name], 4),
            "times_cheaper_than_plain": round(median["full, plain"] / median[name], 1),
            "times_cheaper_than_full": round(median["full"] / median[name], 1),
            "times_cheaper_than_not_cached": round(median[f"{name}, not cached"] / median[name], 1),
            "claimed": CLAIMED.get(name),
        }
    for name, row in rows.items():
        print(f"{name:26} {row}", flush=True)
    return rows


def step(cut: int, cached: bool = True, cheap: bool = True) -> Step:
    """One whole step of AdamW in bfloat16, with the first ``cut`` stages frozen, and their states at hand if cached.

    And what it is made within: if cheap, what `headstart.train` trains within.
    """
    backbone = resolve(SOURCE).backbone().to(memory_format=torch.channels_last)
    head = nn.Linear(backbone.dim, CLASSES)
    for stage in backbone.stages[:cut]:
        stage.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator).to(memory_format=torch.channels_last)
    targets = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    prefix, suffix = backbone.prefix(cut), backbone.suffix(cut)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        kept = prefix(images)
    trained = [*(parameter for parameter in backbone.parameters() if parameter.requires_grad), *head.parameters()]
    optimizer = torch.optim.AdamW(trained, 1e-5, fused=cheap)

    def loss() -> torch.Tensor:
        with torch.no_grad() if cut else contextlib.nullcontext():
            state = kept if cached and cut else prefix(images)
        return nn.functional.cross_entropy(head(suffix(state).float()), targets)

    def example() -> float:
        return float(nn.functional.cross_entropy(head(suffix(prefix(images))), targets))

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss()
        found.backward()
        optimizer.step()

    return run, (lambda: cheap_steps(backbone, example)) if cheap else contextlib.nullcontext


class NotCached(Prefix):
    """The same layers train, but the frozen ones run at every step, on images augmented anew."""

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """As with the cache, but the model takes images."""
        suffixed: Any = super().prepare(model, context)
        return _Whole(suffixed, suffixed.cut)

    def feed(self, model: TargetModel, context: Context, rows: Any) -> Any:
        """Images."""
        return Tuned.feed(self, model, context, rows)


class _Whole(Suffixed):
    def forward(self, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            state = self.backbone.prefix(self.cut)(batch)
        return super().forward(state)


def trained(folder: Path, way: str, seed: int, epochs: float) -> dict[str, Any]:
    """Test accuracy and seconds of one way; all training rows, no early stopping, the same passes over them."""
    dataset = read(folder)
    split = data.split(dataset, seed=seed, test_share=0.2)
    source = suited(resolve(SOURCE), dataset.examples, split.train)
    embedder = Embedder(pipeline_of, cache_folder())
    context = Context(dataset.task, dataset.examples, split, source, embedder, seed)
    name, _, stages = way.partition(" of ")
    method = {"lpft": METHODS["lpft"], "cached": Prefix, "not cached": NotCached}[name]()
    changed = {"stages": int(stages)} if stages else {}
    method.settings = replace(method.settings, epochs=epochs, least_steps=40, **changed)
    METHODS["probe"]().run(context)  # embeds, so that no way pays for it
    arm = method.run(context)
    logits = adapt.test_logits(dataset.examples, source, embedder, arm, split.test)
    right = logits.argmax(1) == dataset.examples.targets[split.test]
    facts = {"seconds": round(arm.seconds, 1), "steps": arm.details["steps"], "test_rows": len(right)}
    return {"accuracy": round(float(right.mean()), 4), **facts}


if __name__ == "__main__":
    main()
