"""`headstart fit --method probe --proof quick` on small real data: test accuracy, and seconds, cold and refitted.

Run from the repository: ``python benchmarks/probe.py [--data ../shared/data] [SET ...]``. Each set is fitted
three times as a whole process: with an empty cache, again with that cache in a new run folder (a refit), and
again in the same run folder. Label budgets are drawn as ``../shared/data/README.md`` says. Results are written to
``benchmarks/results/probe.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from headstart.runtime import machine, versions
from headstart.store import write_json

SETS: dict[str, dict[str, Any]] = {
    "banking77, 10 a class": {"folder": "text/banking77", "per_class": 10, "target": 0.83},
    "trec6, 500": {"folder": "text/trec6", "total": 500, "target": 0.78},
    "sst2, 500": {"folder": "text/sst2", "total": 500, "target": 0.73},
    "bbcnews, 500": {"folder": "text/bbcnews", "total": 500},
    "sms_spam, 500": {"folder": "text/sms_spam", "total": 500},
    "tweeteval_emotion, 500": {"folder": "text/tweeteval_emotion", "total": 500},
    "cifar10, 140 a class": {"folder": "image/cifar10", "target": 0.735},
    "hymenoptera": {"folder": "image/hymenoptera", "target": 0.90},
    "fashion_mnist": {"folder": "image/fashion_mnist"},
    "openclipart": {"folder": "image/openclipart"},
}
RESULTS = Path(__file__).parent / "results" / "probe.json"


def main() -> None:
    """Fits every set that was asked for and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of: {'; '.join(SETS)}")
    options = parser.parse_args()
    rows = {}
    for name in options.sets or SETS:
        with tempfile.TemporaryDirectory() as place:
            rows[name] = measure(options.data, SETS[name], Path(place))
        print(f"{name:24} {json.dumps(rows[name])}", flush=True)
    known = json.loads(RESULTS.read_text("utf-8"))["sets"] if RESULTS.is_file() else {}
    write_json(RESULTS, {"machine": machine(), "versions": versions(), "sets": {**known, **rows}})


def measure(data: Path, facts: dict[str, Any], place: Path) -> dict[str, Any]:
    """One set: the first fit's verdict and figures, and the seconds of all three."""
    examples = prepared(data / facts["folder"], facts, place)
    environment = {**os.environ, "HEADSTART_CACHE": str(place / "cache")}
    seconds, documents = [], []
    for run in ("first", "second", "second"):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "headstart", "fit", str(examples), "--method", "probe"]
        asked = [*command, "--proof", "quick", "--out", str(place / run), "--json", "--quiet"]
        done = subprocess.run(asked, env=environment, capture_output=True, check=True)  # noqa: S603  our own command
        seconds.append(round(time.perf_counter() - begin, 2))
        documents.append(json.loads(done.stdout))
    found = documents[0]
    if any(document["test"] != found["test"] for document in documents):
        raise SystemExit("a refit gave other figures")
    baseline = next(arm for arm in found["arms"] if "classical" in arm["name"])
    return {
        "accuracy": round(found["test"]["accuracy"], 4),
        "target": facts.get("target"),
        "baseline_accuracy": round(baseline["test"]["accuracy"], 4),
        "verdict": found["verdict"],
        "gain": {key: found["gain"][key] for key in ("metric", "value", "low", "high")},
        "source": found["source"],
        "counts": found["counts"],
        "seconds": dict(zip(("cold", "refit", "same_run"), seconds, strict=True)),
        "steps": {name: round(value, 2) for name, value in found["seconds"].items()},
    }


def prepared(folder: Path, facts: dict[str, Any], place: Path, seed: int = 0) -> Path:
    """The data as a user has them, cut to the label budget; images are used as they are."""
    if "image" in folder.parts:
        return folder.resolve()
    with (folder / "train.csv").open(encoding="utf-8", newline="") as stream:
        train = list(csv.DictReader(stream))
    with (folder / "test.csv").open(encoding="utf-8", newline="") as stream:
        test = list(csv.DictReader(stream))
    seen, kept = Counter[str](), []
    for number in np.random.default_rng(seed).permutation(len(train)):
        label = train[number]["label"]
        if seen[label] < facts.get("per_class", len(train)) and len(kept) < facts.get("total", len(train)):
            seen[label] += 1
            kept.append(train[number])
    path = place / f"{folder.name}.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label", "split"])
        for part, split in ((kept, "train"), (test, "test")):
            table.writerows([row["text"], row["label"], split] for row in part)
    return path


if __name__ == "__main__":
    main()
