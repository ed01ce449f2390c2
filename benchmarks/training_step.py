"""Seconds of one training step of EfficientNet-Lite0 on the CPU, the usual ways and ours, in one run.

Run from the repository: ``python benchmarks/training_step.py``. The kinds take turns, so that whatever else the
machine does meets all of them; a turn is one step to warm up and ``--steps`` timed ones. Medians of wall time and of
CPU time (which other programs hardly change) are written to ``benchmarks/results/training_step.json``, with ratios to
the plain bfloat16 step. The last kind is what `headstart.train` does for LP-FT.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from headstart.backbones.base import TargetModel
from headstart.depthwise import kernels
from headstart.runtime import machine, thread_count, versions
from headstart.sources import resolve
from headstart.store import write_json
from headstart.train import cheap_steps

RESULTS = Path(__file__).parent / "results" / "training_step.json"
SIDE, BATCH, CLASSES = 160, 32, 10


@dataclass(frozen=True)
class Kind:
    """How a step is made."""

    last: bool = True
    """Whether memory is in the format channels_last."""
    bfloat16: bool = True
    cheap: bool = False
    """Whether gradients of depthwise kernels and memory are treated as `headstart.train` does."""
    whole: bool = True
    """Whether depthwise kernels train too; LP-FT leaves them the source's."""


KINDS = {
    "float32, channels first": Kind(last=False, bfloat16=False),
    "float32, channels last": Kind(bfloat16=False),
    "bfloat16, channels last": Kind(),
    "bfloat16, channels last, depthwise kernels frozen": Kind(whole=False),
    "headstart, every weight": Kind(cheap=True),
    "headstart, LP-FT": Kind(cheap=True, whole=False),
}
PLAIN = "bfloat16, channels last"
FLOAT = "float32, channels first"


def main() -> None:
    """Times every kind and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=thread_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    kinds = {name: prepared(kind) for name, kind in KINDS.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    for turn in range(options.rounds + 1):
        for name, (step, around) in kinds.items():
            with around():
                step()
                for _ in range(options.steps):
                    wall, cpu = time.perf_counter(), time.process_time()
                    step()
                    if turn:
                        taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(pairs, axis=0) for name, pairs in taken.items()}
    rows = {
        name: {
            "wall_seconds": round(float(pair[0]), 3),
            "cpu_seconds": round(float(pair[1]), 3),
            "times_cheaper_than_plain_by_wall": round(float(medians[PLAIN][0] / pair[0]), 2),
            "times_cheaper_than_plain_by_cpu": round(float(medians[PLAIN][1] / pair[1]), 2),
            "times_cheaper_than_float32_channels_first_by_wall": round(float(medians[FLOAT][0] / pair[0]), 2),
        }
        for name, pair in medians.items()
    }
    for name, row in rows.items():
        print(f"{name:42} {row}", flush=True)
    about = {"source": "efficientnet-lite0", "side": SIDE, "batch": BATCH, "threads": options.threads}
    write_json(
        RESULTS, {**about, "rounds": options.rounds, "machine": machine(), "versions": versions(), "steps": rows}
    )


def prepared(kind: Kind) -> tuple[Callable[[], None], Callable[[], AbstractContextManager[object]]]:
    """One whole step (forward, backward, AdamW; BatchNorm statistics frozen), and what steps are made within."""
    model = TargetModel(resolve("efficientnet-lite0").backbone(), "last", CLASSES).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    if not kind.whole:
        fixed = kernels(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in fixed)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    targets = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    if kind.last:
        model, inputs = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-5, fused=kind.cheap)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=kind.bfloat16):
            loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

    def example() -> float:
        return float(nn.functional.cross_entropy(model(inputs[:8]), targets[:8]))

    return step, (lambda: cheap_steps(model, example)) if kind.cheap else contextlib.nullcontext


if __name__ == "__main__":
    main()
