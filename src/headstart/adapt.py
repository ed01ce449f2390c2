"""Adapt the chosen source: run the ladder of methods, then choose among the arms by validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.source import Source
from headstart.calibration import log_losses, standard_error
from headstart.errors import UsageError, unknown_name
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.types import Arm, Examples, FloatArray, IndexArray, Ranking, Split, Task

__all__ = ["adapt", "choose", "ladder", "roles", "test_logits", "told"]

FEW = 300
"""Rows a class up to which texts are tuned by contrast: below, it beats cross-entropy; from here on they are even."""
FINAL = 0.75
"""Share of a binding budget that is kept for training the chosen arm on all rows; the trials share the rest."""
FROZEN = {"probe"}
"""Methods that train nothing step by step: they predict out-of-fold, and their seconds need no bound."""
TAUGHT = {"distillation"}
"""Methods that need a second, larger source to learn from."""
LEAST = 1.0
"""Seconds that a training gets even where the budget is used up."""
NOISE = 1.0
"""Standard errors of a paired difference below which two arms count as equal (the one-standard-error rule, Breiman et
al. 1984): on a fifth of few rows, two of them would hide gains of five points."""


def ladder(asked: str, task: Task | None = None, rows: int = 0) -> tuple[str, ...]:
    """Methods to run, simplest first: those of ``auto``, or the comma-separated names.

    Args:
        asked: ``auto`` or names.
        task: What is to be learned, which decides what ``auto`` tries.
        rows: Number of train rows.

    Raises:
        UsageError: If a method is unknown; lists the valid ones.
    """
    if asked == "auto":
        few = task and (task.modality, task.problem) == ("text", "classification") and rows <= FEW * task.outputs
        return ("probe", "contrastive") if few else ("probe", "lpft")
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",")))
    if unknown := [name for name in names if name not in METHODS]:
        raise unknown_name("method", unknown[0], ("auto", *METHODS))
    return tuple(sorted(names, key=list(METHODS).index))


def roles(methods: Sequence[str], sources: Sequence[Source], ranked: Ranking) -> tuple[Source, Source | None]:
    """The source to adapt, and the one that teaches it, if any.

    The ranking's choice is adapted, and nobody teaches. For distillation it is the smallest usable source, and
    the first of the others in the ranking teaches it.

    Args:
        methods: See `ladder`.
        sources: The candidates.
        ranked: Their ranking.

    Raises:
        UsageError: If somebody has to teach and there is one usable source only.
    """
    by_name = {source.name: source for source in sources}
    if not TAUGHT & set(methods):
        return by_name[ranked.chosen], None
    usable = [by_name[row.source] for row in ranked.rows if row.error is None]
    student = min(usable, key=lambda one: one.card.parameters)
    teacher = next((one for one in usable if one is not student), None)
    if teacher is None:
        raise UsageError(
            f"distillation needs a large source and a small one, and only {student.name} can be used. "
            "Name two: --source LARGE,SMALL"
        )
    return student, teacher


def adapt(
    task: Task,
    examples: Examples,
    split: Split,
    source: Source,
    methods: Sequence[str],
    seed: int,
    budget: float | None,
    augment: bool,
    teacher: Source | None,
    embedder: Embedder,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
    spent: float = 0.0,
) -> tuple[Arm, ...]:
    """One arm a method, simplest first.

    Where the data name no validation rows, tuned arms are compared on one fold of the train rows,
    and the one to ship is trained again on all of them; the others stay as they are.

    Args:
        task: What is to be learned.
        examples: The table.
        split: Methods look at its train and validation rows.
        source: The source to adapt.
        methods: Names of the method table, see `ladder`.
        seed: Decides every random number of training.
        budget: Seconds for ranking and adapting; None: as the recipes say.
        augment: Whether training examples may be varied.
        teacher: Whom distillation learns from, see `roles`.
        embedder: Keeps the embeddings.
        folder: Where the state of an unfinished training is kept.
        progress: Called with (what, done, total).
        say: Told what is decided on the way.
        spent: Seconds of the budget that the ranking used.
    """
    begin = time.perf_counter() - spent

    def left(share: float) -> float | None:
        return None if budget is None else max(LEAST, share * (budget - (time.perf_counter() - begin)))

    tools: dict[str, Any] = {"augment": augment, "folder": folder, "progress": progress, "say": say}
    context = Context(task, examples, split, source, embedder, seed, teacher=teacher, **tools)
    inner = context.held_out()
    again = inner is not context
    arms = [METHODS[name]().run(context) for name in methods if name in FROZEN]
    trained = [name for name in methods if name not in FROZEN]
    for number, name in enumerate(trained):
        share = (1 - FINAL if again else 1.0) / (len(trained) - number)
        arms.append(METHODS[name]().run(replace(inner, seconds=left(share))))
    chosen = choose(task, examples, arms)
    number = next(number for number, arm in enumerate(arms) if arm.name == chosen)
    best = arms[number]
    if again and best.method not in FROZEN:
        say(f"{best.method} is the best on held-out rows; training it on all {len(split.train):,} rows")
        whole = METHODS[best.method]().run(replace(context, seconds=left(1.0), like=best))
        arms[number] = replace(whole, seconds=best.seconds + whole.seconds)
    elif trained:
        say("no tuned arm is better than the probe on held-out rows; the probe ships")
    return tuple(arms)


def choose(task: Task, examples: Examples, arms: Sequence[Arm]) -> str:
    """Name of the simplest arm that is not significantly worse on validation than the best.

    Args:
        task: Decides the loss.
        examples: Holds the targets of the validation rows.
        arms: Simplest first; compared on the rows that all were validated on.
    """
    places = [{name: number for number, name in enumerate(arm.validation.ids)} for arm in arms]
    shared = [name for name in places[0] if all(name in place for place in places)]
    row = {name: number for number, name in enumerate(examples.ids)}
    targets = examples.targets[[row[name] for name in shared]]
    losses = [
        log_losses(arm.validation.logits[[place[name] for name in shared]], targets, task.problem)
        for arm, place in zip(arms, places, strict=True)
    ]
    best = int(np.argmin([values.mean() for values in losses]))
    for arm, values in zip(arms, losses, strict=True):
        gap = values - losses[best]
        if gap.mean() <= NOISE * standard_error(gap):
            return arm.name
    return arms[best].name


def told(arms: Sequence[Arm], chosen: str, rows: int) -> tuple[str, ...]:
    """What a reader of the receipt should know of the arms, as sentences.

    Args:
        arms: All of them.
        chosen: Name of the one that ships.
        rows: Number of train rows.
    """
    tuned = [arm for arm in arms if arm.details]
    found = []
    if tuned and chosen not in {arm.name for arm in tuned}:
        found.append("No tuned arm beat the frozen probe on held-out rows by more than noise, so the probe ships.")
    for arm in tuned:
        if arm.details["rows"] < rows:
            found.append(f"{arm.name} was trained on {arm.details['rows']:,} of {rows:,} rows and not chosen.")
        if "taught" in arm.details:
            found.append(f"The seconds of {arm.name} include its teacher's, of which nothing ships.")
        found += [f"{arm.name}: {event}." for event in arm.details["events"]]
    return tuple(found)


def test_logits(examples: Examples, source: Source, embedder: Embedder, arm: Arm, rows: IndexArray) -> FloatArray:
    """Calibrated logits ``(len(rows), outputs)`` of an arm, for the proof."""
    layers = embedder.embed(source.tuned(arm.tensors), examples, rows)
    return arm.head.logits(layers[arm.layer]) / arm.head.temperature
