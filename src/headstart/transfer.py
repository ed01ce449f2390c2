"""The job, top to bottom: read, split, rank, initialize, adapt, choose, prove, audit, ship, report.

Everything else in the package is a room off this corridor.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from headstart import adapt, data, initialization, ranking, report, runtime, ship, sources
from headstart import prove as evidence
from headstart.audit import audit as audit_rows
from headstart.backbones.source import Source
from headstart.config import FitConfig, resolve
from headstart.errors import unknown_name
from headstart.evaluate import valid_metrics
from headstart.exhibition import exhibit
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.outcome import Fit, Listener, Silent
from headstart.store import Run, cache_folder, recall, remember
from headstart.types import Audit, Dataset, Ranking

__all__ = ["audit", "fit", "name_of", "rank", "read_examples"]


def fit(
    examples: Any,
    out: str | Path | None = None,
    listener: Listener | None = None,
    toml: Path | None = None,
    **settings: Any,
) -> Fit:
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
    config, tell, begin = resolve(settings, toml), listener or Silent(), time.perf_counter()
    adapt.ladder(config.method)  # a misspelt name is told before any work

    # 1. Read: what is unusable is left out by name.
    dataset = read_examples(examples, config, tell)
    task, table = dataset.task, dataset.examples
    candidates = sources.candidates(config.source, task.modality)
    ranking.check_order(config.score, task)
    with Run(Path(out) if out else Path("runs") / name_of(examples), tell.step) as run:
        _describe(run, examples, config, tell)
        run.record("read", _facts(dataset), time.perf_counter() - begin)

        # 2. Split: the test rows are opened by the proof only.
        split = run.step("split", data.split, dataset, config.seed, config.test_share)
        how = evidence.plan(dataset, split, config.proof, config.budget, config.augment)
        for sentence in evidence.announce(task, split, how):
            tell.say(sentence)

        # 3. Rank: the source is picked by frozen embeddings of train rows.
        found = [suited(source, table, split.train) for source in candidates]
        embedder = Embedder(pipeline_of, cache_folder(), tell.progress)
        rules = (found, config.seed, config.budget, config.score)
        ranked = run.step("rank", ranking.rank, task, table, split, *rules, given=(embedder, (), remember))
        methods = adapt.ladder(config.method, task, len(split.train))
        source, teacher = adapt.roles(methods, found, ranked)

        # 4. Initialize: the source's weights are where the target starts; each tensor is accounted for.
        ledger = run.step("initialize", initialization.begin, task, source, given=(remember,))

        # 5. Adapt: the arms, simplest first; 6. choose: the simplest that validation finds as good as any.
        plan = (methods, config.seed, config.budget, config.augment, teacher)
        tools = (embedder, run.folder / "training", tell.progress, tell.say, run.spent["rank"])
        arms = run.step("adapt", adapt.adapt, task, table, split, source, *plan, given=tools)
        arm = next(one for one in arms if one.name == adapt.choose(task, table, arms))

        # 7. Prove: all arms and what they have to beat on the test rows, once.
        predict, place = partial(adapt.test_logits, table, source, embedder), run.folder / "training"
        cost = next(row.seconds for row in ranked.rows if row.source == source.name)
        opened = evidence.Given(predict, embedder, remember, recall, tell.say, tell.progress, place, cost)
        rivals = (source,) if teacher else _ranked(found, ranked)
        told = (task, table, split, how, rivals, ranked.order, arms, arm.name, config.seed)
        receipt = run.step("prove", evidence.prove, *told, given=(opened,))

        # 8. Audit: it sees the test rows too, and comes last so that nothing is decided by it.
        seen = (dataset, dataset.excluded, split, source, _layer(ranked, source), config.seed, receipt)
        audited = run.step("audit", audit_rows, *seen, given=(embedder, remember))
        for finding in audited.findings:
            if finding.severity == "serious":
                tell.say(f"{finding.kind.capitalize()}: {finding.sentence}")

        # 9. Exhibit: small previews of the examples that the report speaks of; it never sees the data itself.
        tuned = source.tuned(arm.tensors)
        spoken = (task, table, split, tuned, arm, receipt, audited, config.seed)
        run.step("exhibit", exhibit, *spoken, given=(embedder, remember))

        # 10. Ship, 11. report.
        precision = embedder.precision(tuned, table, split.train)
        bundle = run.folder / "bundle"
        shipped = (task, tuned, arm, ledger, precision, receipt, dataset.excluded, name_of(examples))
        run.step("ship", ship.ship, *shipped, given=(bundle, embedder), made=(bundle / "manifest.json",))
        run.describe(seconds=run.spent, embedding=embedder.ways)
        page = report.write(run.folder)
        return Fit(run.folder, bundle, page, receipt, ranked, dataset.excluded, dataset.notes, dict(run.seconds))


def audit(examples: Any, listener: Listener | None = None, toml: Path | None = None, **settings: Any) -> Audit:
    """Looks for what is wrong with labelled examples, through the eyes of the source that ranks first.

    Args:
        examples: As for `fit`.
        listener: Is told how the work goes.
        toml: A file with a ``[fit]`` table of settings.
        settings: Fields of `headstart.config.FitConfig`.

    Raises:
        HeadstartError: See the tree in `headstart.errors`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    dataset = read_examples(examples, config, tell)
    split = data.split(dataset, seed=config.seed, test_share=config.test_share if dataset.given else 0)
    found = [
        suited(one, dataset.examples, split.train) for one in sources.candidates(config.source, dataset.task.modality)
    ]
    embedder = Embedder(pipeline_of, cache_folder(), tell.progress)
    rules = (found, config.seed, config.budget, config.score)
    ranked = ranking.rank(dataset.task, dataset.examples, split, *rules, embedder)
    source = next(one for one in found if one.name == ranked.chosen)
    return audit_rows(dataset, dataset.excluded, split, source, _layer(ranked, source), config.seed, None, embedder)


def rank(
    examples: Any,
    listener: Listener | None = None,
    toml: Path | None = None,
    experimental: bool = False,
    **settings: Any,
) -> Ranking:
    """Ranks sources for labelled examples; nothing is trained and no test row is looked at.

    Args:
        examples: As for `fit`.
        listener: Is told how the work goes.
        toml: A file with a ``[fit]`` table of settings.
        experimental: Whether to compute the scores behind the experimental mark too.
        settings: Fields of `headstart.config.FitConfig`.

    Raises:
        HeadstartError: See the tree in `headstart.errors`.
    """
    config, tell = resolve(settings, toml), listener or Silent()
    dataset = read_examples(examples, config, tell)
    split = data.split(dataset, seed=config.seed, test_share=config.test_share)
    found = [
        suited(one, dataset.examples, split.train) for one in sources.candidates(config.source, dataset.task.modality)
    ]
    embedder = Embedder(pipeline_of, cache_folder(), tell.progress)
    shown = ranking.showable(dataset.task, experimental)
    rules = (found, config.seed, config.budget, config.score)
    return ranking.rank(dataset.task, dataset.examples, split, *rules, embedder, shown)


def read_examples(examples: Any, config: FitConfig, tell: Listener) -> Dataset:
    """The table of examples that the settings describe; says what was guessed.

    Raises:
        DataError: If the data cannot be used as they are.
        UsageError: If the metric is none of the problem's.
    """
    begin = time.perf_counter()
    tell.step("read", None)
    roles = {name: getattr(config, name) for name in ("input", "label", "group", "split", "problem", "metric")}
    dataset = data.read(examples, **roles)
    tell.step("read", time.perf_counter() - begin)
    valid = valid_metrics(dataset.task.problem)
    if dataset.task.metric not in valid:
        raise unknown_name(f"metric for {dataset.task.problem}", dataset.task.metric, valid)
    for note in dataset.notes:
        tell.say(note)
    return dataset


def _layer(ranked: Ranking, source: Source) -> str:
    """The layer by which a source was ranked."""
    return next(row.layer for row in ranked.rows if row.source == source.name)


def _ranked(found: Sequence[Source], ranked: Ranking) -> tuple[Source, ...]:
    """The sources that have a score."""
    scored = {row.source for row in ranked.rows if row.score is not None}
    return tuple(source for source in found if source.name in scored)


def _describe(run: Run, examples: Any, config: FitConfig, tell: Listener) -> None:
    """Notes what one needs to do the same again, and says so where the folder held a run of other data."""
    path = str(Path(examples).resolve()) if isinstance(examples, (str, Path)) else None
    where = {"versions": runtime.versions(), "machine": runtime.machine()}
    facts = {"data": name_of(examples), "path": path, "config": asdict(config), "command": sys.argv, **where}
    before = run.describe(**facts).get("path")
    if before not in (None, path):
        tell.say(f"{run.folder} held a run of {before}; its bundle and report will be replaced.")


def _facts(dataset: Dataset) -> dict[str, Any]:
    """What the report needs of the data as they were read."""
    return {
        "task": dataset.task,
        "rows": len(dataset.examples),
        "excluded": dataset.excluded,
        "notes": dataset.notes,
    }


def name_of(examples: Any) -> str:
    """What the data are called: the file or folder's name."""
    if not isinstance(examples, (str, Path)):
        return "examples"
    return re.sub(r"[^\w.-]+", "-", Path(examples).resolve().stem) or "examples"
