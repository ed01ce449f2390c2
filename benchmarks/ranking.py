"""How well each score ranks sources, against tuning all of them.

Run from the repository: ``python benchmarks/ranking.py [scores|truth|summary] [options]``; without a word, all three.
What is done already (``benchmarks/results/ranking.json``) is not done again, so that a stopped run goes on, and
a larger grid can be filled in over many runs; the summary says what its rows cover.

- Sources: see `pool.py`; images at ``--size`` pixels (96 by default, where 11 sources can be tuned on a small CPU).
- Data sets of ``../shared/data``; "N labels, seed S" as its README says; the test rows are the first ``--test`` of
  the test split in the permutation of seed 0, and no score sees them.
- Scores: each on the same N labelled train rows, for each seed, embedded afresh; what is decided once for a machine
  and a source (how it is computed) is decided before.
- Truth: test accuracy of LP-FT with the method's own recipe at two learning rates, averaged over the seeds; the
  better of the two counts.

Seconds are those of the processor, in this process. The cost of a ranking is its share of all trainings of the truth,
of every rate and seed: without a ranking they would have to be made.

The columns of the summary: weighted Kendall tau (`scipy.stats.weightedtau`) with the truth; regret@k, how many points
of accuracy the best of the first k is below the best of all; averaged over data sets and seeds of equal N.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pool import image_sources, text_sources
from scipy.stats import weightedtau, zscore

from headstart import data
from headstart.adapt import test_logits
from headstart.backbones.source import Source
from headstart.calibration import probabilities
from headstart.features import Embedder
from headstart.methods import Context
from headstart.methods.lpft import LPFT, Settings
from headstart.modalities import pipeline_of
from headstart.runtime import machine, versions
from headstart.scores import SCORES, defined, knn, ridge_loo
from headstart.scores.fused import fuse, noise
from headstart.store import cache_folder, write_json
from headstart.types import Dataset, Split

RESULTS = Path(__file__).parent / "results" / "ranking.json"
IMAGES = ("cifar10", "fashion_mnist", "hymenoptera", "openclipart")
TEXTS = ("trec6", "sst2", "sms_spam", "tweeteval_emotion", "banking77", "bbcnews")
RATES = (3e-4, 1e-3)
LOSSES = {"ridge_loo": ridge_loo.losses, "knn": knn.losses}
"""Scores whose losses, row by row, are kept: in one string, or they would be most of the lines of the file."""


class Store:
    """Records by key, on disk after each of them."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))["records"] if RESULTS.is_file() else {}

    def add(self, key: str, record: Any) -> None:
        """Keeps a record."""
        self.records[key] = record
        write_json(RESULTS, {"machine": machine(), "versions": versions(), "records": self.records})


def main() -> None:
    """Fills in what was asked for, and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("scores", "truth", "summary"))
    parser.add_argument("--sets", nargs="*", default=[*IMAGES, *TEXTS])
    parser.add_argument("--rows", nargs="*", type=int, default=[50, 200, 1000], help="values of N")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rates", nargs="*", type=float, default=list(RATES))
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument("--test", type=int, default=300, help="test rows")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many minutes")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    options = parser.parse_args()
    store, deadline = Store(), time.monotonic() + 60 * options.minutes
    for do in (add_scores, add_truth):
        if options.what in (None, do.__name__.removeprefix("add_")):
            for cell in cells(options):
                if time.monotonic() > deadline:
                    break
                do(store, options, deadline, *cell)
    summarise(store.records)


def cells(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Data set, N and seed: every set with one seed before any with the next."""
    for seed in options.seeds:
        for rows in options.rows:
            for name in options.sets:
                yield name, rows, seed


def sources_for(name: str, options: argparse.Namespace) -> list[Source]:
    """The pool for a data set, images at the size of this run."""
    if name in TEXTS:
        return text_sources()
    pool = image_sources(options.shared / "weights")
    return [one.with_input(replace(one.card.input, size=options.size)) for one in pool]


def dataset(name: str, options: argparse.Namespace) -> Dataset:
    """The whole set with its splits."""
    if name not in TEXTS:
        return data.read(options.shared / "data" / "image" / name)
    import pandas

    parts = [pandas.read_csv(options.shared / "data" / "text" / name / f"{part}.csv") for part in ("train", "test")]
    frame = pandas.concat([part.assign(split=word) for part, word in zip(parts, ("train", "test"), strict=True)])
    return data.read(frame.astype({"label": str}), label="label", input="text", split="split", problem="classification")


def cut(found: Dataset, rows: int, seed: int, test: int) -> Split:
    """N train rows of this seed, and the first test rows of seed 0."""
    split = data.split(found, seed=0)
    train = np.sort(np.random.default_rng(seed).permutation(split.train)[:rows])
    kept = np.sort(np.random.default_rng(0).permutation(split.test)[:test])
    folds = data.fold_numbers(found.examples, train, seed, 5)
    return Split(train, np.zeros(0, np.int64), kept, np.zeros(0, np.int64), "benchmark", folds)


def place_of(name: str, rows: int, seed: int, options: argparse.Namespace) -> str:
    """Key of what belongs to one data set, size, N and seed."""
    return f"{name}|{f'{options.size} px' if name not in TEXTS else 'text'}|{rows}|{seed}"


def add_scores(store: Store, options: argparse.Namespace, deadline: float, name: str, rows: int, seed: int) -> None:
    """Every score of every source on the N rows of a seed."""
    place = place_of(name, rows, seed, options)
    left = [one for one in sources_for(name, options) if f"scores|{place}|{one.name}" not in store.records]
    if not left:
        return
    found = dataset(name, options)
    split = cut(found, rows, seed, options.test)
    targets = found.examples.targets[split.train]
    for source in left:
        if time.monotonic() > deadline:
            return
        with TemporaryDirectory() as fresh:
            ways = cache_folder() / "ways"
            ways.mkdir(parents=True, exist_ok=True)
            (Path(fresh) / "ways").symlink_to(ways)
            Embedder(pipeline_of, Path(fresh)).embed(source, found.examples, split.train[:1])
            begin = time.process_time()
            layers = Embedder(pipeline_of, Path(fresh)).embed(source, found.examples, split.train)
            embedding = np.array(layers[source.card.layers[0]], np.float64)
            seconds = {"embed": time.process_time() - begin}
        head = source.head()
        given = probabilities(head.logits(embedding), "classification") if head else None
        scores: dict[str, float] = {"parameters": float(source.card.parameters)}
        for score in defined("classification", source_head=head is not None, experimental=True):
            begin = time.process_time()
            scores[score] = SCORES[score](embedding, targets, "classification", given)
            seconds[score] = time.process_time() - begin
        if source.card.prior is not None:
            scores["prior"] = source.card.prior
        losses = {name: f(embedding, targets, "classification") for name, f in LOSSES.items()}
        told = {name: " ".join(f"{loss:.3f}" for loss in values) for name, values in losses.items()}
        record = {"scores": scores, "seconds": rounded(seconds), "losses": told}
        store.add(f"scores|{place}|{source.name}", record)
        print(f"scores {place} {source.name} {seconds['embed']:.1f} s", flush=True)


def add_truth(store: Store, options: argparse.Namespace, deadline: float, name: str, rows: int, seed: int) -> None:
    """Test accuracy of every source after LP-FT on the N rows of a seed."""
    place = place_of(name, rows, seed, options)
    left = [
        (one, rate)
        for one in sources_for(name, options)
        for rate in options.rates
        if f"truth|{place}|{one.name}|{rate:g}|{options.test}" not in store.records
    ]
    if not left:
        return
    found = dataset(name, options)
    split = cut(found, rows, seed, options.test)
    targets = found.examples.targets[split.test]
    for source, rate in left:
        if time.monotonic() > deadline:
            return
        embedder = Embedder(pipeline_of, cache_folder())
        context = Context(found.task, found.examples, split, source, embedder, seed)
        begin = time.process_time()
        arm = LPFT(replace(Settings(), rate=rate)).run(context)
        trained = time.process_time() - begin
        tuned = test_logits(found.examples, source, Embedder(pipeline_of, None), arm, split.test)
        accuracy = float((tuned.argmax(1) == targets).mean())
        record = {"accuracy": round(accuracy, 5), "seconds": round(trained, 2), "steps": arm.details["steps"]}
        store.add(f"truth|{place}|{source.name}|{rate:g}|{options.test}", record)
        print(f"truth {place} {source.name} {rate:g}: {accuracy:.3f} in {trained:.1f} s", flush=True)


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Seconds to a millisecond."""
    return {name: round(value, 3) for name, value in values.items()}


# --- summary ------------------------------------------------------------------------------------


def truths(records: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, dict[str, Any]]]:
    """(set, input, N) -> source -> accuracy of its best rate (mean over seeds), and seconds of all.

    Of rates and seeds, those count that every source of a set was tuned with.
    """
    runs: dict[tuple[str, str, int], dict[str, dict[tuple[float, int], Any]]] = {}
    for key, record in records.items():
        kind, *parts = key.split("|")
        if kind == "truth":
            name, size, rows, seed, source, rate, _ = parts
            runs.setdefault((name, size, int(rows)), {}).setdefault(source, {})[float(rate), int(seed)] = record
    found = {}
    for cell, sources in runs.items():
        shared = set.intersection(*(set(done) for done in sources.values()))
        rates = sorted({rate for rate, _ in shared})
        seeds = sorted(set.intersection(*({s for r, s in shared if r == rate} for rate in rates)) if rates else set())
        if seeds:
            found[cell] = {
                source: {
                    "accuracy": max(np.mean([done[rate, seed]["accuracy"] for seed in seeds]) for rate in rates),
                    "seconds": sum(done[rate, seed]["seconds"] for rate in rates for seed in seeds),
                    "seeds": seeds,
                    "rates": rates,
                }
                for source, done in sources.items()
            }
    return found


def values_of(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Name of a row of the summary -> its value for each source; a missing one counts as the mean of the others."""
    names = dict.fromkeys(name for row in rows for name in row["scores"])
    table = {name: np.array([row["scores"].get(name, np.nan) for row in rows]) for name in names}
    ridge, near = (np.array([row["losses"][name].split() for row in rows], float) for name in LOSSES)
    unknown = np.full(len(rows), np.nan)
    priors = table.get("prior", unknown)
    for name, losses, known in (
        ("fused", (ridge + near) / 2, priors),
        ("without prior", (ridge + near) / 2, unknown),
        ("knn + prior", near, priors),
        ("loo + prior", ridge, priors),
    ):
        table[name] = fuse(-losses.mean(1), known, noise(losses))
    three = (table["ridge_loo"], table["logme"], priors)
    table["z(loo, logme, prior)"] = sum(np.nan_to_num(zscore(values, nan_policy="omit")) for values in three)
    return {
        name: np.where(np.isnan(values), np.nanmean(values), values)
        for name, values in table.items()
        if not np.isnan(values).all()
    }


def judged(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Weighted tau, regret@1 and regret@3 in points; where scores are equal, as the order of the sources has it."""
    if np.ptp(scores) == 0:
        return 0.0, *(chance(truth, k) for k in (1, 3))
    order = np.argsort(-scores, kind="stable")
    regrets = (100 * (truth.max() - truth[order[:k]].max()) for k in (1, 3))
    return float(weightedtau(truth, scores).statistic), *regrets


def chance(truth: np.ndarray, k: int) -> float:
    """Expected regret of k sources drawn at random, in points."""
    rng = np.random.default_rng(0)
    draws = [truth[rng.permutation(len(truth))[:k]].max() for _ in range(2000)]
    return float(100 * (truth.max() - np.mean(draws)))


def summarise(records: dict[str, Any]) -> None:
    """Prints, and keeps in the results, a table for images and one for texts, by N."""
    found: dict[str, Any] = {}
    known = truths(records)
    for kind in ("image", "text"):
        for rows in sorted({cell[2] for cell in known}):
            chosen = {
                cell: t for cell, t in known.items() if cell[2] == rows and (cell[1] == "text") == (kind == "text")
            }
            if summary := compared(records, chosen):
                found[f"{kind}, N={rows}"] = summary
    if found:
        found["all"] = overall(list(found.values()))
    for title, summary in found.items():
        print(f"\n{title}: {summary['covers']}")
        print(f"{'':20} {'tau_w':>6} {'regret@1':>9} {'regret@3':>9}")
        for name, row in summary["rows"].items():
            print(f"{name:20} {row['tau']:6.3f} {row['regret1']:9.2f} {row['regret3']:9.2f}")
        print(f"it costs {summary['cost']:.1%} of tuning all")
    write_json(RESULTS, {"machine": machine(), "versions": versions(), "summary": found, "records": records})


def overall(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """One table of several, each cell alike: of the rows that all of them have."""
    cells = [table["cells"] for table in tables]
    names = [name for name in tables[0]["rows"] if all(name in table["rows"] for table in tables)]
    rows = {
        name: {
            key: float(np.average([table["rows"][name][key] for table in tables], weights=cells))
            for key in ("tau", "regret1", "regret3")
        }
        for name in names
    }
    cost = float(np.average([table["cost"] for table in tables], weights=cells))
    return {"covers": f"{sum(cells)} cells of the tables above", "cells": sum(cells), "cost": cost, "rows": rows}


def compared(records: dict[str, Any], known: dict[tuple[str, str, int], dict[str, Any]]) -> dict[str, Any] | None:
    """Rows of one table, over the cells in which every source of the pool was tuned and scored."""
    results: dict[str, list[tuple[float, float, float]]] = {}
    covered, costs, seeds, rates = [], [], set(), set()
    sources = sorted({source for truth in known.values() for source in truth})
    for (name, size, rows), truth in sorted(known.items()):
        for seed in truth[sources[0]]["seeds"] if len(truth) == len(sources) else ():
            scored = [records.get(f"scores|{name}|{size}|{rows}|{seed}|{source}") for source in sources]
            if any(one is None for one in scored):
                continue
            accuracy = np.array([truth[source]["accuracy"] for source in sources])
            if np.ptp(accuracy) == 0:
                continue
            table = values_of([one for one in scored if one])
            results.setdefault("random", []).append((0.0, chance(accuracy, 1), chance(accuracy, 3)))
            for score, values in table.items():
                results.setdefault(score, []).append(judged(values, accuracy))
            spent = sum(one["seconds"][key] for one in scored if one for key in ("embed", *LOSSES))
            costs.append(spent / sum(truth[source]["seconds"] for source in sources))
            covered.append(f"{name} {size}" if size != "text" else name)
            seeds.add(seed)
            rates |= {rate for one in truth.values() for rate in one["rates"]}
    if not covered:
        return None
    whole = {score: values for score, values in results.items() if len(values) == len(covered)}
    means = {score: np.mean(values, axis=0) for score, values in whole.items()}
    where, what = ", ".join(dict.fromkeys(covered)), f"seeds {sorted(seeds)}, rates {sorted(rates)}"
    covers = f"{len(sources)} sources on {where}; {what}"
    rows_ = {
        name: dict(zip(("tau", "regret1", "regret3"), map(float, row), strict=True)) for name, row in means.items()
    }
    return {"covers": covers, "cells": len(covered), "cost": float(np.median(costs)), "rows": rows_}


if __name__ == "__main__":
    main()
