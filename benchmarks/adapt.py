"""`headstart fit` with the ladder of methods against the probe alone, on real data at fixed label budgets.

Run from the repository: ``python benchmarks/adapt.py [--data ../shared/data] [--budget 5m] [--seeds 0 1 2] [SET ...]``.
Each set is fitted once a seed as a whole process. Budgets of labels are drawn as ``../shared/data/README.md``
says. Reported are the test accuracy of what ships, of the probe and of every other arm, the standard error of their
difference, and seconds; results are added to ``benchmarks/results/adapt.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from probe import prepared

from headstart.runtime import machine, versions
from headstart.store import read_step, write_json

SETS: dict[str, dict[str, Any]] = {
    "trec6, 16 a class": {"folder": "text/trec6", "per_class": 16, "target": 0.90},
    "trec6, 500": {"folder": "text/trec6", "total": 500, "target": 0.92},
    "sst2, 500": {"folder": "text/sst2", "total": 500, "target": 0.83},
    "banking77, 10 a class": {"folder": "text/banking77", "per_class": 10, "target": 0.86},
    "hymenoptera": {"folder": "image/hymenoptera", "target": 0.93},
    "cifar10, 140 a class": {"folder": "image/cifar10", "target": 0.87},
    "bbcnews, 500": {"folder": "text/bbcnews", "total": 500},
    "sms_spam, 500": {"folder": "text/sms_spam", "total": 500},
    "tweeteval_emotion, 500": {"folder": "text/tweeteval_emotion", "total": 500},
    "fashion_mnist": {"folder": "image/fashion_mnist"},
    "openclipart": {"folder": "image/openclipart"},
}
RESULTS = Path(__file__).parent / "results" / "adapt.json"


def main() -> None:
    """Fits every set that was asked for and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--source", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of: {'; '.join(SETS)}")
    options = parser.parse_args()
    for name in options.sets or SETS:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as place:
                row = measure(options, SETS[name], seed, Path(place))
            print(f"{name}, seed {seed}: {json.dumps(row)}", flush=True)
            known = json.loads(RESULTS.read_text("utf-8"))["sets"] if RESULTS.is_file() else {}
            known.setdefault(name, {})[f"seed {seed}"] = row
            write_json(RESULTS, {"versions": versions(), "sets": known})


def measure(options: argparse.Namespace, facts: dict[str, Any], seed: int, place: Path) -> dict[str, Any]:
    """One fit: what ships against the probe on the same test rows."""
    examples, run = prepared(options.data / facts["folder"], facts, place, seed), place / "run"
    command = [sys.executable, "-m", "headstart", "fit", str(examples), "--out", str(run), "--seed", str(seed)]
    asked = ["--budget", options.budget, "--method", options.method, "--source", options.source, "--proof", "quick"]
    begin = time.perf_counter()
    done = subprocess.run([*command, *asked, "--json", "--quiet"], capture_output=True, check=True)  # noqa: S603  our own command
    seconds = time.perf_counter() - begin
    found = json.loads(done.stdout)
    receipt, arms = read_step(run, "prove"), read_step(run, "adapt")
    if receipt is None or arms is None:
        raise SystemExit(f"the run in {run} is not whole")
    right = {
        arm.name: arm.predictions.logits.argmax(1) == receipt.targets
        for arm in receipt.arms
        if arm.name in {one.name for one in arms}
    }
    probe = next(arm.name for arm in arms if arm.method == "probe")
    gap = right[receipt.chosen].astype(float) - right[probe]
    return {
        "ships": found["method"],
        "accuracy": round(float(right[receipt.chosen].mean()), 4),
        "target": facts.get("target"),
        "probe": round(float(right[probe].mean()), 4),
        "gain": round(float(gap.mean()), 4),
        "standard_error": round(float(gap.std(ddof=1) / np.sqrt(len(gap))), 4),
        "arms": {
            arm.method: {
                "accuracy": round(float(right[arm.name].mean()), 4),
                "seconds": round(arm.seconds, 1),
                **{key: arm.details[key] for key in ("steps", "mix", "rows", "events") if key in arm.details},
            }
            for arm in arms
        },
        "source": found["source"],
        "budget": options.budget,
        "seconds": round(seconds, 1),
        "adapt_seconds": round(found["seconds"]["adapt"], 1),
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
