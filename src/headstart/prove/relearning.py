"""What the proof learns again: frozen arms and the classical baseline from folds and from fewer labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart import stats
from headstart.backbones.source import Source
from headstart.classical import FEW_ROWS
from headstart.evaluate import METRICS
from headstart.features import Embedder
from headstart.heads import applicable
from headstart.prove import resampling
from headstart.prove.learning import learning, measured_curve, single_point
from headstart.prove.measure import LEVEL
from headstart.types import Examples, Gain, Learning, Predictions, Split, Task

__all__ = ["CLASSICAL", "Frozen", "curves", "folds"]

CLASSICAL = "classical baseline"
DRAWS, FEW_DRAWS = 5, 2
DEAR = 20_000
"""Training rows times outputs from which on the classical baseline's curve is drawn `FEW_DRAWS` times, where rows are
more than `headstart.classical.FEW_ROWS`."""


@dataclass(frozen=True)
class Frozen:
    """What can be learned again cheaply: one kind of head on one layer of a frozen source."""

    arm: str
    layer: str
    kind: str


def folds(
    task: Task,
    examples: Examples,
    split: Split,
    seed: int,
    times: tuple[int, int],
    sources: tuple[Source, ...],
    order: str,
    embedder: Embedder,
) -> Gain:
    """The gain of a frozen probe over the classical baseline by repeated cross-validation of train and test rows.

    Source, layer, head and penalty are chosen anew inside every training part, so that choosing
    among many wins nothing. The interval is Nadeau and Bengio's, see `headstart.stats.corrected_t`.

    Args:
        task: Names the metric.
        examples: The table.
        split: Its train and test rows take turns.
        seed: Decides the folds.
        times: Folds and repetitions.
        sources: The candidates.
        order: What ranks them, see `headstart.ranking.rank`.
        embedder: Keeps the embeddings.
    """
    count, repeats = times
    rows = np.sort(np.concatenate([split.train, split.test]))
    draws = resampling.crossed(examples, rows, count, repeats, seed)
    learner = resampling.selecting(task, examples, sources, order, seed, embedder)
    ours = resampling.scores(learner, task, examples, draws)
    theirs = resampling.scores(resampling.classical(task, examples, seed), task, examples, draws)
    sign = 1.0 if METRICS[task.metric].higher_is_better else -1.0
    parts = [part for draw in draws for part in draw]
    n_test = float(np.mean([len(part.test) for part in parts]))
    found = stats.corrected_t(sign * (ours - theirs), round(len(rows) - n_test), round(n_test), LEVEL)
    return Gain(
        over=CLASSICAL,
        metric=task.metric,
        value=found.value,
        low=found.low,
        high=found.high,
        level=LEVEL,
        test=f"corrected resampled t-test (Nadeau and Bengio), {count} folds, {repeats} repetitions, "
        "source and head chosen inside",
        p_value=found.p_value,
        on=f"{count}-fold cross-validation of {len(rows):,} rows, repeated {repeats} times",
        ours=float(ours.mean()),
        theirs=float(theirs.mean()),
    )


def curves(
    task: Task,
    examples: Examples,
    split: Split,
    seed: int,
    source: Source,
    what: Frozen,
    twin: tuple[str, Predictions] | None,
    embedder: Embedder,
) -> Learning:
    """Learning curves on the test rows: of a frozen arm, of the classical baseline, and the scratch twin's end.

    A curve of the scratch twin would cost as much as training it again and again; its accuracy with all
    labels is enough to say how many the transfer needs for the same.

    Args:
        task: Names the metric.
        examples: The table.
        split: Curves learn from ``train`` and are measured on ``test``.
        seed: Decides the subsets.
        source: Of the frozen arm.
        what: The frozen arm.
        twin: The scratch twin's name and predictions, or None.
        embedder: Keeps the embeddings.
    """
    few = len(split.train) > FEW_ROWS and len(split.train) * task.outputs >= DEAR
    draws = resampling.held_out(split, DRAWS, seed)
    probe = resampling.remembering(
        resampling.probing(task, examples, source, what.layer, _heads(task, what.kind), embedder)
    )
    simple = resampling.remembering(resampling.classical(task, examples, seed))
    transfer = measured_curve(task, examples, what.arm, probe, draws, seed)
    others = [measured_curve(task, examples, CLASSICAL, simple, draws[: FEW_DRAWS if few else DRAWS], seed)]
    if twin is not None:
        name, found = twin
        others.insert(0, single_point(task, examples, name, len(split.train), found.logits, split.test, seed))
    return learning(task, transfer, others)


def _heads(task: Task, kind: str) -> tuple[str, ...]:
    return tuple(name for name in applicable(task.problem) if name in ("ridge", kind))
