"""What the proof says of real data: where transfer helps, where a classical baseline wins, where a source hurts.

Run from the repository: ``python benchmarks/proof.py [--data ../shared/data] [CASE ...]``. Each case is a probe
with the full proof (BBC news: quick, its texts are long); label budgets are drawn as ``../shared/data/README.md``
says. The scratch twin gets at least ``--least`` seconds, so that a network that hardly moved proves nothing.
Results are written to ``benchmarks/results/proof.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from probe import prepared

import headstart
from headstart.prove import twin
from headstart.runtime import machine, versions
from headstart.store import write_json

CASES: dict[str, dict[str, Any]] = {
    "transfer helps a lot: banking77, 10 a class": {"folder": "text/banking77", "per_class": 10},
    "the classical baseline wins: bbcnews, 500": {"folder": "text/bbcnews", "total": 500, "proof": "quick"},
    "a source that hurts: wordllama on sms_spam, all": {"folder": "text/sms_spam", "source": "wordllama"},
}
RESULTS = Path(__file__).parent / "results" / "proof.json"
KEPT = ("verdict", "sentence", "metric", "gains", "scratch_twin", "protocol", "counts", "conformal", "seconds")


def main() -> None:
    """Fits every case that was asked for and prints its verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--least", type=float, default=60.0, help="seconds for the scratch twin, at least")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of: {'; '.join(CASES)}")
    options = parser.parse_args()
    twin.LEAST = options.least
    for name in options.cases or CASES:
        facts = CASES[name]
        with tempfile.TemporaryDirectory() as place:
            examples = prepared(options.data / facts["folder"], facts, Path(place))
            settings = {"source": facts.get("source", "all-minilm-l6-v2"), "method": "probe"}
            settings["proof"] = facts.get("proof", "full")
            found = headstart.fit(examples, out=Path(place) / "run", label="label", **settings).json()
        kept = {key: found[key] for key in KEPT}
        kept["arms"] = {arm["name"]: arm["test"][found["metric"]] for arm in found["arms"]}
        saved = found["learning"]["saved"]
        kept["labels_saved"] = [one["sentence"] for one in (saved, *found["learning"]["further"])]
        kept["more_labels"] = found["learning"]["more"] and found["learning"]["more"]["sentence"]
        print(name, json.dumps(kept, indent=1), sep="\n", flush=True)
        known = json.loads(RESULTS.read_text("utf-8"))["cases"] if RESULTS.is_file() else {}
        facts = {"machine": machine(), "versions": versions(), "least_twin_seconds": options.least}
        write_json(RESULTS, {**facts, "cases": {**known, name: kept}})


if __name__ == "__main__":
    main()
