"""Rank sources by evidence: frozen embeddings of train rows, a closed-form score, no training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.source import Source
from headstart.calibration import standard_error
from headstart.errors import HeadstartError, ResourceError, UsageError
from headstart.features import Embedder
from headstart.scores import ridge_loo
from headstart.types import Examples, FloatArray, IndexArray, RankedSource, Ranking, Split, Task

__all__ = ["rank", "subsample"]

ROWS = 500
"""Train rows the scores are based on: enough to tell sources apart, few enough to embed by all of them."""
BUDGET_SHARE = 0.5
"""Share of the budget after which no further source is tried."""


def rank(
    task: Task,
    examples: Examples,
    split: Split,
    sources: Sequence[Source],
    seed: int,
    budget: float | None,
    embedder: Embedder,
) -> Ranking:
    """Sources by leave-one-out log-loss of a ridge on their embeddings; train rows only.

    A source is tied with the best when their losses differ by less than one standard error of
    the paired difference. One that fails is listed with its reason, and the ranking goes on.

    Args:
        task: What is to be learned.
        examples: The table; only rows of ``split.train`` are looked at.
        split: Train rows and their folds.
        sources: The candidates; opened when their turn comes.
        seed: Decides the subsample.
        budget: Seconds for ranking and adapting; sources go from small to large, and none is
            begun once half of it is used. None: no bound.
        embedder: Keeps the embeddings, so that the winner's are not computed again.

    Raises:
        UsageError: If no source works; names every source's reason.
    """
    positions = subsample(task, examples.targets[split.train], seed)
    rows, folds = split.train[positions], split.folds[positions]
    blocks = folds if _repeated(examples, rows) else None
    losses: dict[str, FloatArray] = {}
    results: list[RankedSource] = []
    begin = time.perf_counter()
    for source in sorted(sources, key=lambda one: one.card.parameters):
        turn, card = time.perf_counter(), source.card
        row = RankedSource(card.name, None, None, parameters=card.parameters, licence=card.licence)
        try:
            if budget is not None and losses and turn - begin > BUDGET_SHARE * budget:
                raise ResourceError(f"not tried: half of the budget of {budget:.0f} s was used by smaller sources")
            layers = embedder.embed(source, examples, rows)
            by_layer = {
                layer: ridge_loo.losses(values, examples.targets[rows], task.problem, blocks)
                for layer, values in layers.items()
            }
            best = min(by_layer, key=lambda layer: float(by_layer[layer].mean()))
            losses[card.name] = by_layer[best]
            row = replace(
                row, layer=best, score=-float(by_layer[best].mean()), standard_error=standard_error(by_layer[best])
            )
            row = replace(
                row, scores={f"ridge_loo {layer}": -float(values.mean()) for layer, values in by_layer.items()}
            )
        except HeadstartError as error:
            row = replace(row, error=str(error))
        results.append(replace(row, seconds=time.perf_counter() - turn))
    if not losses:
        raise UsageError("no source could be used: " + "; ".join(f"{row.source}: {row.error}" for row in results))
    return _ordered(results, losses, len(rows))


def _ordered(results: Sequence[RankedSource], losses: dict[str, FloatArray], rows: int) -> Ranking:
    best = min(losses, key=lambda name: float(losses[name].mean()))
    tied = {name: bool((gap := other - losses[best]).mean() <= standard_error(gap)) for name, other in losses.items()}
    ordered = sorted(results, key=lambda row: (row.score is None, -(row.score or 0)))
    return Ranking(tuple(replace(row, tied=tied.get(row.source, False)) for row in ordered), best, rows)


def _repeated(examples: Examples, rows: IndexArray) -> bool:
    """Whether groups or equal contents make single rows no fair thing to leave out."""
    return examples.groups is not None or len({examples.digests[row] for row in rows}) < len(rows)


def subsample(task: Task, targets: NDArray[np.generic], seed: int, most: int = ROWS) -> IndexArray:
    """Positions of at most ``most`` rows, drawn in turn from every class, sorted."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if len(order) > most and task.problem == "classification":
        classes = targets[order]
        turn = np.empty(len(order), np.int64)
        for label in np.unique(classes):
            turn[classes == label] = np.arange(int((classes == label).sum()))
        order = order[_proportional(classes, turn, most)]
    return np.sort(order[:most]).astype(np.int64)


def _proportional(classes: NDArray[np.generic], turn: IndexArray, most: int) -> IndexArray:
    """Positions in the order in which classes reach equal shares of their sizes."""
    _, inverse, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    return np.argsort((turn + 0.5) / sizes[inverse], kind="stable")[:most]
