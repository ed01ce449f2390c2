"""Seconds of one training step of EfficientNet-Lite0 on the CPU, the usual ways and ours, in one run.

Run from the repository: ``python benchmarks/training_step.py``. Steps of the kinds take turns, so that whatever
else the machine does meets all of them; medians of wall time and of CPU time (which other programs hardly change) are
written to ``benchmarks/results/training_step.json``, with ratios to the plain bfloat16 step.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from headstart.backbones.base import TargetModel
from headstart.depthwise import CheapGradients
from headstart.runtime import machine, thread_count, versions
from headstart.sources import resolve
from headstart.store import write_json

RESULTS = Path(__file__).parent / "results" / "training_step.json"
SIDE, BATCH, CLASSES = 160, 32, 10
KINDS = {
    "float32, channels first": (False, False, False),
    "float32, channels last": (True, False, False),
    "bfloat16, channels last": (True, True, False),
    "bfloat16, channels last, cheap gradients": (True, True, True),
}
"""Name -> (channels last, bfloat16, cheap gradients)."""
PLAIN = "bfloat16, channels last"


def main() -> None:
    """Times every kind and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=thread_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    steps = {name: step(*facts) for name, facts in KINDS.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    for turn in range(options.rounds + 1):
        for name, one in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            one()
            if turn:
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(pairs, axis=0) for name, pairs in taken.items()}
    rows = {
        name: {
            "wall_seconds": round(float(pair[0]), 3),
            "cpu_seconds": round(float(pair[1]), 3),
            "times_cheaper_than_plain_by_wall": round(float(medians[PLAIN][0] / pair[0]), 2),
            "times_cheaper_than_plain_by_cpu": round(float(medians[PLAIN][1] / pair[1]), 2),
        }
        for name, pair in medians.items()
    }
    for name, row in rows.items():
        print(f"{name:42} {row}", flush=True)
    about = {"source": "efficientnet-lite0", "side": SIDE, "batch": BATCH, "threads": options.threads}
    write_json(
        RESULTS, {**about, "rounds": options.rounds, "machine": machine(), "versions": versions(), "steps": rows}
    )


def step(last: bool, bfloat16: bool, cheap: bool) -> Callable[[], None]:
    """One whole step: forward, backward, AdamW, BatchNorm statistics frozen."""
    model = TargetModel(resolve("efficientnet-lite0").backbone(), "last", CLASSES).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    targets = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    if last:
        model, inputs = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
            CheapGradients() if cheap else contextlib.nullcontext(),
        ):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    main()
