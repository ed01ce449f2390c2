"""What to do where classes are skewed and the metric counts them alike: nothing, class weights, or balanced batches.

Run from the repository: ``python benchmarks/balance.py [--seeds 0 1 2] [SET ...]``.
LP-FT of a text source on 500 rows of
each set, drawn as ``../shared/data/README.md`` says; balanced accuracy and log-loss on the test rows, with the
standard error over seeds of the difference to doing nothing. Results: ``benchmarks/results/balance.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from adapt import prepared

from headstart import adapt, data
from headstart.calibration import log_losses
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.modalities import pipeline_of, suited
from headstart.runtime import machine, versions
from headstart.sources import resolve
from headstart.store import cache_folder, write_json

RESULTS = Path(__file__).parent / "results" / "balance.json"
SETS, SOURCE, TOTAL = ("tweeteval_emotion", "sms_spam", "trec6"), "paraphrase-minilm-l3-v2", 500
TESTED = 600
"""Test rows: embedding them is most of the work."""
WAYS = ("nothing", "root weights", "balanced batches")


def main() -> None:
    """Measures every set and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/text"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of: {', '.join(SETS)}")
    options = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    rows: dict[str, Any] = known.get("sets", {})
    for name in options.sets or SETS:
        found = np.array([measure(options.data / name, seed) for seed in options.seeds])  # (seeds, ways, 3)
        gap = found - found[:, :1]
        error = gap.std(0, ddof=1) / math.sqrt(len(gap)) if len(gap) > 1 else np.full(gap.shape[1:], np.nan)
        rows[name] = {"ratio": round(float(found[:, 0, 2].mean()), 1), "seeds": options.seeds}
        for at, way in enumerate(WAYS):
            rows[name][way] = {
                "balanced_accuracy": round(float(found[:, at, 0].mean()), 4),
                "gain": round(float(gap[:, at, 0].mean()), 4),
                "standard_error": round(float(error[at, 0]), 4),
                "log_loss": round(float(found[:, at, 1].mean()), 4),
            }
        print(name, rows[name], flush=True)
        about = {"source": SOURCE, "rows": TOTAL, "machine": machine(), "versions": versions()}
        write_json(RESULTS, {**about, "sets": rows})


def measure(folder: Path, seed: int) -> list[tuple[float, float, float]]:
    """Balanced accuracy, log-loss, and ratio of the largest to the smallest class, a way each."""
    with tempfile.TemporaryDirectory() as place:
        dataset = data.read(prepared(folder, {"total": TOTAL}, seed, Path(place)))
    task, table = replace(dataset.task, metric="balanced_accuracy"), dataset.examples
    split = data.split(dataset, seed=seed, test_share=0.2)
    split = replace(split, test=split.test[:TESTED])
    source, embedder = suited(resolve(SOURCE), table, split.train), Embedder(pipeline_of, cache_folder())
    context = Context(task, table, split, source, embedder, seed)
    sizes = np.bincount(table.targets[split.train], minlength=task.outputs)
    targets = table.targets[split.test]
    rows = []
    for way in WAYS:
        method = METHODS["lpft"]()
        changed: dict[str, Any] = {"balance": 1.0 if way == "root weights" else math.inf}
        if way == "balanced batches":
            changed["classes_a_batch"] = task.outputs
        method.settings = replace(method.texts, **changed)
        logits = adapt.test_logits(table, source, embedder, method.run(context), split.test)
        right = logits.argmax(1) == targets
        even = float(np.mean([right[targets == label].mean() for label in np.unique(targets)]))
        loss = float(log_losses(logits, targets, task.problem).mean())
        rows.append((even, loss, float(sizes.max() / max(1, sizes[sizes > 0].min()))))
    return rows


if __name__ == "__main__":
    main()
