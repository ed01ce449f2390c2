"""The scratch twin: the architecture that ships, trained from random weights, as fairly as can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.adapt import test_logits
from headstart.backbones.source import Source
from headstart.errors import Diverged, ResourceError
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.prove.measure import Measure
from headstart.types import Arm, ArmResult, Examples, Split, Task

__all__ = ["NAME", "seconds_for", "train"]

NAME = "scratch twin"
LEAST = 8.0
"""Seconds that a twin is trained for at least: a network that hardly moved proves nothing."""


def seconds_for(arms: Sequence[Arm], spent: float = 0.0) -> float:
    """Seconds for the twin: a power of two that is at least what all transfer arms took together.

    Rounded up, so that a run that is repeated asks for the same training in spite of the clock;
    never more than twice as much.

    Args:
        arms: The transfer arms.
        spent: Seconds that finding their source took.

    >>> seconds_for((), 20.0)
    32.0
    """
    taken = max(LEAST, spent + sum(arm.seconds for arm in arms))
    return float(2 ** math.ceil(math.log2(taken)))


def train(
    task: Task,
    examples: Examples,
    split: Split,
    seed: int,
    source: Source,
    seconds: float,
    augment: bool,
    embedder: Embedder,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[ArmResult | None, str]:
    """The twin with its measurements, or None and why there is none.

    It trains as the arm that ships does: where the data name no validation rows, on all folds but one to see
    how long is good, then on all rows for as long; each takes half of the time.

    Args:
        task: What is to be learned.
        examples: The table.
        split: The twin learns from ``train`` alone, and is measured on ``test``.
        seed: Decides its weights and every random number of training.
        source: Gives the architecture and the preprocessing.
        seconds: Time to train.
        augment: Whether its training examples may be varied.
        embedder: Predicts with it.
        folder: Where the state of an unfinished training is kept.
        progress: Called with (what, done, total).
    """
    tools: dict[str, Any] = {"augment": augment, "folder": folder, "progress": progress}
    context = Context(task, examples, split, source, embedder, seed, **tools)
    inner, method = context.held_out(), METHODS["scratch"]()
    twice = inner is not context
    try:
        arm = method.run(replace(inner, seconds=seconds / 2 if twice else seconds))
        if twice:
            whole = method.run(replace(context, seconds=seconds / 2, like=arm))
            arm = replace(whole, seconds=arm.seconds + whole.seconds)
        found = Measure(task, examples, split, seed).arm(arm, test_logits(examples, source, embedder, arm, split.test))
    except (Diverged, ResourceError) as error:
        return None, f"not measured: {error}"
    told = f"trained for {found.seconds:,.0f} s, {arm.details.get('steps', 0):,} steps on all training rows"
    return replace(found, name=NAME, source=source.name, method="scratch"), told
