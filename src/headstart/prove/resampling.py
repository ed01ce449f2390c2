"""Learning again from parts of the rows: cross-validation, and nested subsets for learning curves.

What learns is a `Learner`; what it may learn from and is asked about are `Part`s. A draw is a
tuple of parts that together ask about every row of the evaluation once: one part where test rows
are held out, one a fold where the rows take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart import curves, evaluate, heads, ranking
from headstart.backbones.source import Source
from headstart.data import fold_numbers
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.modalities import BASELINES
from headstart.types import Examples, FloatArray, IndexArray, Split, Task

__all__ = [
    "Draw",
    "Learner",
    "Part",
    "classical",
    "crossed",
    "held_out",
    "predicted",
    "probing",
    "remembering",
    "scores",
    "selecting",
    "subset",
]


@dataclass(frozen=True)
class Part:
    """Rows to learn from and rows to be asked about."""

    train: IndexArray
    folds: IndexArray
    """Fold number of each row of ``train``; groups are whole."""
    test: IndexArray
    seed: int
    """Decides the nested subsets of ``train``."""


Learner = Callable[[Part], FloatArray]
"""Calibrated logits ``(len(part.test), outputs)`` of what was learned from ``part.train`` alone."""
Draw = tuple[Part, ...]


def held_out(split: Split, draws: int, seed: int) -> tuple[Draw, ...]:
    """The one held-out test as draws that differ in their nested subsets alone."""
    return tuple((Part(split.train, split.folds, split.test, seed + number),) for number in range(draws))


def crossed(examples: Examples, rows: IndexArray, folds: int, repeats: int, seed: int) -> tuple[Draw, ...]:
    """Repeated stratified cross-validation of these rows (ascending), with folds inside every training part."""
    draws = []
    for repeat in range(repeats):
        numbers = fold_numbers(examples, rows, seed + repeat, folds)
        parts = []
        for number in np.unique(numbers):
            train, test = rows[numbers != number], rows[numbers == number]
            inner = fold_numbers(examples, train, seed + repeat, folds)
            parts.append(Part(train, inner, test, seed + repeat))
        draws.append(tuple(parts))
    return tuple(draws)


def subset(part: Part, examples: Examples, rows: int) -> Part:
    """The part with the first ``rows`` of its training rows in their nested order."""
    if rows >= len(part.train):
        return part
    kept = np.sort(curves.nested(examples.targets[part.train], part.seed)[:rows])
    return replace(part, train=part.train[kept], folds=part.folds[kept])


def predicted(learner: Learner, examples: Examples, draw: Draw, share: float = 1.0) -> FloatArray:
    """Logits ``(rows, outputs)`` of a draw, part after part, learned from this share of each part's rows."""
    return np.concatenate([learner(subset(part, examples, round(share * len(part.train)))) for part in draw])


def remembering(learner: Learner) -> Learner:
    """The learner, asked only once about the same part."""
    known: dict[bytes, FloatArray] = {}

    def learn(part: Part) -> FloatArray:
        key = part.train.tobytes() + b"|" + part.test.tobytes()
        if key not in known:
            known[key] = learner(part)
        return known[key]

    return learn


def scores(learner: Learner, task: Task, examples: Examples, draws: Sequence[Draw]) -> FloatArray:
    """The task's metric ``(J,)`` on each part of each draw, learned from the part's other rows."""
    return np.array(
        [
            evaluate.value(task.metric, learner(part), examples.targets[part.test], task.problem)
            for draw in draws
            for part in draw
        ]
    )


def selecting(
    task: Task, examples: Examples, sources: Sequence[Source], order: str, seed: int, embedder: Embedder
) -> Learner:
    """The whole frozen procedure: sources are ranked, and the best is probed, by the part's training rows alone."""
    by_name = {source.name: source for source in sources}

    def learn(part: Part) -> FloatArray:
        nothing = np.zeros(0, np.int64)
        split = Split(part.train, nothing, nothing, nothing, "a part", part.folds)
        ranked = ranking.rank(task, examples, split, list(sources), seed, None, order, embedder)
        source = by_name[ranked.chosen]
        arm = METHODS["probe"]().run(Context(task, examples, split, source, embedder, seed))
        embeddings = embedder.embed(source, examples, part.test)[arm.layer]
        return np.asarray(arm.head.logits(embeddings) / arm.head.temperature)

    return learn


def probing(
    task: Task, examples: Examples, source: Source, layer: str, names: Sequence[str], embedder: Embedder
) -> Learner:
    """A probe of one layer of one source by the best of these heads."""

    def learn(part: Part) -> FloatArray:
        known = embedder.embed(source, examples, part.train)[layer]
        found = heads.best(known, examples.targets[part.train], part.folds, task.problem, task.outputs, names)
        asked = embedder.embed(source, examples, part.test)[layer]
        return np.asarray(found.head.logits(asked) / found.head.temperature)

    return learn


def classical(task: Task, examples: Examples, seed: int) -> Learner:
    """The classical baseline of the modality."""
    made = BASELINES[task.modality](task, seed)

    def learn(part: Part) -> FloatArray:
        made.fit([examples.inputs[row] for row in part.train], examples.targets[part.train], part.folds)
        return np.asarray(made.logits([examples.inputs[row] for row in part.test]))

    return learn
