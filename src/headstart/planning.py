"""What a ``fit`` would do and cost, and how to go on with one that was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from headstart import adapt, prove, ranking, sources
from headstart.config import resolve
from headstart.data import split as split_rows
from headstart.errors import HeadstartError, UsageError
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.outcome import Listener, Silent
from headstart.transfer import read_examples

__all__ = ["plan", "resumed"]

TRIED = 32
"""Examples embedded by each source to time it."""


def plan(examples: Any, listener: Listener | None = None, toml: Path | None = None, **settings: Any) -> dict[str, Any]:
    """What `headstart.fit` would do, with its cost estimated from a timed batch of every source.

    Args:
        examples: As for `headstart.fit`; likewise ``toml`` and ``settings``.
        listener: Is told how the work goes.

    Raises:
        HeadstartError: As `headstart.fit`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    dataset = read_examples(examples, config, tell)
    task, table = dataset.task, dataset.examples
    split = split_rows(dataset, seed=config.seed, test_share=config.test_share)
    counts = {name: len(getattr(split, name)) for name in ("train", "validation", "test", "unlabeled")}
    embedder = Embedder(pipeline_of, cache=None, on_progress=tell.progress)
    picked = split.train[ranking.subsample(task, table.targets[split.train], config.seed)]
    costs = []
    for source in sources.candidates(config.source, task.modality):
        fed = suited(source, table, split.train)
        try:
            embedder.embed(fed, table, picked[np.linspace(0, len(picked) - 1, min(TRIED, len(picked))).astype(int)])
        except HeadstartError as error:
            costs.append({"source": source.name, "error": str(error)})
            continue
        rate = embedder.rates[source.name]
        costs.append({"source": source.name, "rank_seconds": len(picked) / rate, "embed_seconds": sum(counts.values()) / rate})
    rank_seconds = sum(cost.get("rank_seconds", 0) for cost in costs) if len(costs) > 1 else 0
    methods = list(adapt.LADDER) if config.method == "auto" else config.method.split(",")
    total = rank_seconds + max((cost.get("embed_seconds", 0) for cost in costs), default=0)
    sentences = [
        *dataset.notes,
        split.how,
        prove.announce(task, split),
        f"rank {len(costs)} source(s) on {len(picked)} training rows, adapt by {', '.join(methods)}, prove on {counts['test']} test rows",
        f"embedding will take about {total:.0f} s at most, less where rows are cached",
    ]
    return {"sentences": sentences, "counts": counts, "sources": costs, "methods": methods, "seconds": total, "excluded": len(dataset.excluded)}


def resumed(data: str | None, out: str | None, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Data and settings of the run in ``out``; settings given now win.

    Raises:
        UsageError: If there is no run to resume, or its data came from Python.
    """
    if out is None:
        raise UsageError("--resume needs --out RUN, the run folder to go on with")
    try:
        facts = json.loads((Path(out) / "run.json").read_text("utf-8"))
        stored, path = facts.get("config", {}), facts.get("path")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"there is no run to resume in {out}; start one with: headstart fit DATA --out {out}") from error
    if data is None and not path:
        raise UsageError(f"the run in {out} does not name its data; give them: headstart fit DATA --out {out} --resume")
    return data or path, {**stored, **{name: value for name, value in settings.items() if value is not None}}
