"""Adapt the chosen source: run the ladder of methods, then choose among the arms by validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.backbones.source import Source
from headstart.calibration import log_losses, standard_error
from headstart.errors import unknown_name
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.types import Arm, Examples, FloatArray, IndexArray, Split, Task

__all__ = ["adapt", "choose", "ladder", "test_logits"]

LADDER = ("probe",)
"""Methods of ``--method auto``, simplest first."""
NOISE = 1.96
"""Standard errors of a paired difference below which two arms count as equal."""


def ladder(asked: str) -> tuple[str, ...]:
    """Methods to run, simplest first: those of ``auto``, or the comma-separated names.

    Raises:
        UsageError: If a method is unknown; lists the valid ones.
    """
    if asked == "auto":
        return LADDER
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",")))
    if unknown := [name for name in names if name not in METHODS]:
        raise unknown_name("method", unknown[0], ("auto", *METHODS))
    return names


def adapt(
    task: Task,
    examples: Examples,
    split: Split,
    source: Source,
    methods: Sequence[str],
    seed: int,
    embedder: Embedder,
) -> tuple[Arm, ...]:
    """One arm a method, simplest first.

    Args:
        task: What is to be learned.
        examples: The table.
        split: Methods look at its train and validation rows.
        source: The source to adapt.
        methods: Names of the method table, see `ladder`.
        seed: Decides every random number of training.
        embedder: Keeps the embeddings.
    """
    context = Context(task, examples, split, source, embedder, seed)
    return tuple(METHODS[name]().run(context) for name in methods)


def choose(task: Task, examples: Examples, arms: Sequence[Arm]) -> str:
    """Name of the simplest arm that is not significantly worse on validation than the best.

    Args:
        task: Decides the loss.
        examples: Holds the targets of the validation rows.
        arms: Simplest first, all validated on the same rows.
    """
    row = {name: number for number, name in enumerate(examples.ids)}
    targets = examples.targets[[row[name] for name in arms[0].validation.ids]]
    losses = [log_losses(arm.validation.logits, targets, task.problem) for arm in arms]
    best = int(np.argmin([values.mean() for values in losses]))
    for arm, values in zip(arms, losses, strict=True):
        gap = values - losses[best]
        if gap.mean() <= NOISE * standard_error(gap):
            return arm.name
    return arms[best].name


def test_logits(examples: Examples, source: Source, embedder: Embedder, arm: Arm, rows: IndexArray) -> FloatArray:
    """Calibrated logits ``(len(rows), outputs)`` of an arm, for the proof."""
    layers = embedder.embed(source.tuned(arm.tensors), examples, rows)
    return arm.head.logits(layers[arm.layer]) / arm.head.temperature
