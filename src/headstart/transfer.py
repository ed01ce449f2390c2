"""The job, top to bottom: read, split, rank, adapt, choose, prove, ship, report.

Everything else in the package is a room off this corridor.
"""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from headstart import adapt, data, ranking, report, runtime, ship, sources
from headstart import prove as evidence
from headstart.config import FitConfig, resolve
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.outcome import Fit, Listener, Silent
from headstart.store import Run, cache_folder
from headstart.types import Dataset, Ranking

__all__ = ["fit", "rank", "read_examples"]


def fit(examples: Any, out: str | Path | None = None, listener: Listener | None = None, toml: Path | None = None, **settings: Any) -> Fit:
    """Makes a model for labelled examples from a pretrained source, and proves whether that helped.

    Args:
        examples: A folder of class folders, a CSV, TSV, JSONL or Parquet file, a Hugging Face data
            set on disk, a pandas or polars frame, or a pair (X, y).
        out: The run folder; None: ``runs/NAME`` after the data. Finished steps found there are reused.
        listener: Is told how the work goes.
        toml: A file with a ``[fit]`` table of settings.
        settings: Fields of `headstart.config.FitConfig`.

    Raises:
        HeadstartError: See the tree in `headstart.errors`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    with Run(Path(out) if out else Path("runs") / _name(examples), tell.step) as run:
        path = str(Path(examples).resolve()) if isinstance(examples, (str, Path)) else None
        run.describe(data=_name(examples), path=path, config=asdict(config), command=sys.argv, versions=runtime.versions(), machine=runtime.machine())

        # 1. Read: what is unusable is left out by name.
        dataset = run.always("read", partial(read_examples, examples, config), _facts)
        task, table = dataset.task, dataset.examples
        for note in dataset.notes:
            tell.say(note)

        # 2. Split: the test rows are opened by the proof only.
        split = run.step("split", data.split, dataset, config.seed, config.test_share)
        tell.say(evidence.announce(task, split))

        # 3. Rank: the source is picked by frozen embeddings of train rows.
        found = [suited(source, table, split.train) for source in sources.candidates(config.source, task.modality)]
        cards = tuple(source.card for source in found)
        embedder = Embedder(pipeline_of, cache_folder(), tell.progress)
        ranked = run.step(
            "rank", ranking.rank, task, table, split, cards, config.seed, config.budget, given=(found, embedder)
        )
        source = next(one for one in found if one.name == ranked.chosen)

        # 4. Adapt: the arms, simplest first; 5. choose: the simplest that validation finds as good as any.
        methods = adapt.LADDER if config.method == "auto" else tuple(config.method.split(","))
        arms = run.step("adapt", adapt.adapt, task, table, split, source.card, methods, config.seed, given=(source, embedder))
        arm = next(one for one in arms if one.name == adapt.choose(task, table, arms))

        # 6. Prove: all arms and the classical baseline on the test rows, once.
        logits = partial(adapt.test_logits, table, source, embedder)
        receipt = run.step("prove", evidence.prove, task, table, split, arms, arm.name, config.seed, given=(logits,))

        # 7. Ship, 8. report.
        precision = embedder.precision(source, table, split.train)
        bundle = run.folder / "bundle"
        told = (task, source.card, arm, precision, receipt, dataset.excluded, _name(examples))
        run.step("ship", ship.ship, *told, given=(source, bundle), made=(bundle / "manifest.json",))
        run.describe(seconds=run.seconds)
        page = report.write(run.folder)
        return Fit(run.folder, bundle, page, receipt, ranked, dataset.excluded, dataset.notes, dict(run.seconds))


def rank(examples: Any, listener: Listener | None = None, toml: Path | None = None, **settings: Any) -> Ranking:
    """Ranks sources for labelled examples; nothing is trained and no test row is looked at.

    Args:
        examples: As for `fit`.
        listener: Is told how the work goes.
        toml: A file with a ``[fit]`` table of settings.
        settings: Fields of `headstart.config.FitConfig`.

    Raises:
        HeadstartError: See the tree in `headstart.errors`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    dataset = read_examples(examples, config)
    for note in dataset.notes:
        tell.say(note)
    split = data.split(dataset, seed=config.seed, test_share=config.test_share)
    found = [suited(one, dataset.examples, split.train) for one in sources.candidates(config.source, dataset.task.modality)]
    embedder = Embedder(pipeline_of, cache_folder(), tell.progress)
    cards = tuple(one.card for one in found)
    return ranking.rank(dataset.task, dataset.examples, split, cards, config.seed, config.budget, found, embedder)


def read_examples(examples: Any, config: FitConfig) -> Dataset:
    """The table of examples that the settings describe."""
    roles = {name: getattr(config, name) for name in ("input", "label", "group", "split", "problem", "metric")}
    return data.read(examples, **roles)


def _facts(dataset: Dataset) -> dict[str, Any]:
    return {"task": dataset.task, "rows": len(dataset.examples), "excluded": dataset.excluded, "notes": dataset.notes}


def _name(examples: Any) -> str:
    """What the data are called: the file or folder's name."""
    if not isinstance(examples, (str, Path)):
        return "examples"
    return re.sub(r"[^\w.-]+", "-", Path(examples).resolve().stem) or "examples"
