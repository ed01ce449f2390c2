"""What a ``fit`` would do and cost, and how to go on with one that was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart import adapt, prove, ranking, sources
from headstart.backbones.source import Source
from headstart.config import resolve
from headstart.data import split as split_rows
from headstart.errors import HeadstartError, UsageError
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.outcome import Listener, Silent
from headstart.transfer import read_examples
from headstart.types import Examples, IndexArray

__all__ = ["plan", "resumed"]

TRIED = 32
"""Examples embedded by each source to time it."""
WARMING = 8
"""Examples embedded before, so that opening the source is not timed with them."""


def plan(examples: Any, listener: Listener | None = None, toml: Path | None = None, **settings: Any) -> dict[str, Any]:
    """What `headstart.fit` would do, with its cost estimated from a timed batch of every source.

    Args:
        examples: As for `headstart.fit`.
        listener: Is told how the work goes, and what was guessed.
        toml: A file with a ``[fit]`` table of settings.
        settings: Fields of `headstart.config.FitConfig`.

    Returns:
        ``notes``, what was guessed; ``sentences``, the plan; ``counts`` of rows; ``sources`` with
        ``rank_seconds`` (embedding what the ranking looks at) and ``embed_seconds`` (embedding the other
        rows), or ``error``; ``methods``; ``seconds`` of embedding in all, where nothing is cached;
        ``excluded``, the number of examples left out.

    Raises:
        HeadstartError: As `headstart.fit`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    dataset = read_examples(examples, config, tell)
    task, table = dataset.task, dataset.examples
    split = split_rows(dataset, seed=config.seed, test_share=config.test_share)
    methods = adapt.ladder(config.method, task, len(split.train))
    counts = {name: len(getattr(split, name)) for name in ("train", "validation", "test", "unlabeled")}
    ranking.check_order(config.score, task)
    found = [suited(source, table, split.train) for source in sources.candidates(config.source, task.modality)]
    most = ranking.stages(counts["train"], len(found))[-1]
    picked = split.train[np.sort(ranking.subsample(task, table.targets[split.train], config.seed)[:most])]
    rest = counts["train"] + counts["validation"] + counts["test"] - len(picked)
    costs = [_cost(source, table, picked, rest, tell) for source in found]
    failed = [f"{cost['source']}: {cost['error']}" for cost in costs if "error" in cost]
    if len(failed) == len(costs):
        raise UsageError(f"no source could be used: {'; '.join(failed)}")
    ranked, others = ([cost.get(key, 0.0) for cost in costs] for key in ("rank_seconds", "embed_seconds"))
    seconds = sum(ranked) + max(others)
    begin = f"rank {len(costs)} sources on" if len(costs) > 1 else f"embed with {costs[0]['source']}"
    end = f"adapt by {', '.join(methods)}, prove on {counts['test']:,} rows"
    sentences = [
        split.how,
        *prove.announce(task, split, prove.plan(dataset, split, config.proof, config.budget)),
        f"Would {begin} {'at most ' if len(costs) > 1 else ''}{len(picked):,} training rows, {end}.",
        f"Embedding would take about {max(1, round(seconds)):,} s at most, less where rows are cached.",
        *_tuning(methods, config.budget),
        *(f"Cannot be used: {one}" for one in failed),
    ]
    return {
        "notes": list(dataset.notes),
        "sentences": sentences,
        "counts": counts,
        "sources": costs,
        "methods": list(methods),
        "seconds": seconds,
        "excluded": len(dataset.excluded),
    }


def _tuning(methods: Sequence[str], budget: float) -> list[str]:
    """What tuning may take; how long its steps are is only known once they are timed."""
    tuned = [name for name in methods if name not in adapt.FROZEN]
    if not tuned:
        return []
    return [f"Tuning by {', '.join(tuned)} would then get what is left of the budget of {budget:,.0f} s at most."]


def _cost(source: Source, table: Examples, picked: IndexArray, rest: int, tell: Listener) -> dict[str, Any]:
    """Seconds of embedding by one source: the picked rows for the ranking, then the rest of them."""
    embedder = Embedder(pipeline_of, cache=None, on_progress=tell.progress)
    spread = picked[np.linspace(0, len(picked) - 1, min(WARMING + TRIED, len(picked))).astype(int)]
    try:
        embedder.embed(source, table, spread[:WARMING])
        embedder.embed(source, table, spread[WARMING:])
    except HeadstartError as error:
        return {"source": source.name, "error": str(error)}
    rate = embedder.rates[source.name]
    return {"source": source.name, "rank_seconds": len(picked) / rate, "embed_seconds": rest / rate}


def resumed(data: str | None, out: str | None, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Data and settings of the run in ``out``; settings given now win.

    Raises:
        UsageError: If there is no run to resume, or its data came from Python.
    """
    if out is None:
        raise UsageError("--resume needs --out RUN, the run folder to go on with")
    try:
        facts = json.loads((Path(out) / "run.json").read_text("utf-8"))
        stored, path = dict(facts.get("config", {})), facts.get("path")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"there is no run to resume in {out}; start one with: headstart fit DATA --out {out}"
        ) from error
    if data is None and not path:
        raise UsageError(f"the run in {out} does not name its data; give them: headstart fit DATA --out {out} --resume")
    return data or path, {**stored, **{name: value for name, value in settings.items() if value is not None}}
