"""Rank sources by evidence: frozen embeddings of train rows, closed-form scores, no training.

Sources race on growing subsamples. Who falls behind by more than two standard errors of the paired
difference in leave-one-out loss leaves, and stands in the table with the scores of that subsample. Who
leaves and who is tied rests on those losses, which are the probe's own. The order among sources of one
subsample is that of the fused score, and the intervals of the ranks are of that order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.source import Source
from headstart.calibration import probabilities, standard_error
from headstart.errors import HeadstartError, UsageError, unknown_name
from headstart.features import Embedder
from headstart.scores import SCORES, defined, knn, ridge_loo
from headstart.scores.fused import ALIKE, fuse, noise, rank_intervals
from headstart.store import Remember, afresh
from headstart.types import Examples, FloatArray, IndexArray, RankedSource, Ranking, Split, Task

__all__ = ["ROWS", "check_order", "rank", "showable", "stages", "subsample"]

RACE = (200, 500)
"""Train rows of the first subsamples."""
ROWS = 1000
"""Most train rows of the last one: enough to tell sources apart, few enough to embed by those still racing."""
BEHIND = 2.0
"""Standard errors of the paired difference to the best, beyond which a source leaves the race."""
BUDGET_SHARE = 0.25
"""Share of the budget after which neither a further source nor a further subsample is begun."""
SHORT = 3
"""Sources of the shortlist besides those tied with the best."""


@dataclass
class _Runner:
    """A source in the race."""

    source: Source
    row: RankedSource
    losses: FloatArray = field(default_factory=lambda: np.zeros(0))
    """Leave-one-out losses on the last subsample that it took part in."""
    evidence: FloatArray = field(default_factory=lambda: np.zeros(0))
    """The mean of these and of its nearest neighbours' losses, row by row: what the fused score rests on."""
    stage: int = 0

    @property
    def running(self) -> bool:
        """Whether it has been measured and has not failed."""
        return self.row.error is None and len(self.losses) > 0


@dataclass(frozen=True)
class _Sample:
    """Train rows that sources are compared on."""

    task: Task
    examples: Examples
    rows: IndexArray
    blocks: IndexArray | None
    """Folds, where leaving out single rows would not be fair."""

    @property
    def targets(self) -> NDArray[np.generic]:
        return self.examples.targets[self.rows]


def rank(
    task: Task,
    examples: Examples,
    split: Split,
    sources: Sequence[Source],
    seed: int,
    budget: float | None,
    order: str,
    embedder: Embedder,
    shown: Sequence[str] = (),
    remember: Remember = afresh,
) -> Ranking:
    """Sources by how well their frozen embeddings suit the task; train rows only, nothing is trained.

    The first is chosen. A source is tied with it when its leave-one-out loss is higher by at most one standard error
    of the paired difference, than that of the first and than the lowest. One that fails is listed with its
    reason, and the ranking goes on.

    Args:
        task: What is to be learned.
        examples: The table; only rows of ``split.train`` are looked at.
        split: Train rows and their folds.
        sources: The candidates; opened when their turn comes, small ones first.
        seed: Decides the subsamples.
        budget: Seconds for ranking and adapting; once a quarter of it is used, neither a further source nor a
            further subsample is begun. None: no bound.
        order: What orders the table: ``fused``, ``prior``, or a score of `headstart.scores.SCORES`.
        embedder: Keeps the embeddings, so that the winner's are not computed again.
        shown: Further scores to compute.
        remember: May know leave-one-out losses of the same embeddings and targets from an earlier ranking.

    Raises:
        UsageError: If no source works, with every source's reason; or if ``order`` is not defined for the task.
    """
    check_order(order, task)
    ordered = sorted(sources, key=lambda one: (one.card.parameters, one.name))
    cards = [source.card for source in ordered]
    rows = [RankedSource(card.name, None, None, parameters=card.parameters, licence=card.licence) for card in cards]
    runners = [_Runner(source, row) for source, row in zip(ordered, rows, strict=True)]
    positions = subsample(task, examples.targets[split.train], seed)
    wanted = tuple(dict.fromkeys([*shown, *(() if order in ("fused", "prior") else (order,))]))
    samples = [
        _sample(task, examples, split, np.sort(positions[:size])) for size in stages(len(positions), len(runners))
    ]
    racing, size = _race(runners, samples, seed, budget, embedder, remember)
    if not racing:
        reasons = "; ".join(f"{runner.source.name}: {runner.row.error}" for runner in runners)
        raise UsageError(f"no source could be used: {reasons}")
    for runner in runners:
        _add_scores(runner, _sample(task, examples, split, np.sort(positions[: runner.row.rows])), embedder, wanted)
    return _table(runners, racing, order, size)


def showable(task: Task, experimental: bool = False) -> tuple[str, ...]:
    """Scores that a table for this task can show, where a source allows them."""
    return defined(task.problem, source_head=True, experimental=experimental)


def check_order(order: str, task: Task) -> None:
    """Refuses what cannot order sources for this task.

    Raises:
        UsageError: With the valid names.
    """
    valid = ("fused", "prior", *showable(task, experimental=True))
    if order not in valid:
        raise unknown_name(f"score for {task.problem}", order, valid)


def stages(rows: int, sources: int) -> tuple[int, ...]:
    """Sizes of the subsamples of so many train rows: 200, 500, then all up to a thousand; one source needs no race.

    >>> stages(300, 2), stages(520, 2), stages(5000, 2), stages(5000, 1)
    ((200, 300), (200, 520), (200, 500, 1000), (500,))
    """
    if sources == 1:
        return (min(rows, RACE[-1]),)
    last = min(rows, ROWS)
    return (*(size for size in RACE if 1.25 * size < last), last)


def _sample(task: Task, examples: Examples, split: Split, positions: IndexArray) -> _Sample:
    rows = split.train[positions]
    repeated = examples.groups is not None or len({examples.digests[row] for row in rows}) < len(rows)
    return _Sample(task, examples, rows, split.folds[positions] if repeated else None)


def _race(
    runners: Sequence[_Runner],
    samples: Sequence[_Sample],
    seed: int,
    budget: float | None,
    embedder: Embedder,
    remember: Remember,
) -> tuple[list[_Runner], int]:
    """Who is still racing at the end, and on how many rows they were compared; see `rank`."""
    deadline = time.perf_counter() + BUDGET_SHARE * (budget if budget is not None else float("inf"))
    racing, last = list(runners), len(samples) - 1
    for stage, sample in enumerate(samples):
        for runner in racing:
            if time.perf_counter() > deadline and not stage and any(other.running for other in runners):
                reason = f"not tried: a quarter of the budget of {budget:.0f} s was used by smaller sources"
                runner.row = replace(runner.row, error=reason)
            else:
                _measure(runner, sample, embedder, stage, remember)
        racing = [runner for runner in racing if runner.row.error is None]
        ahead = _fuse(racing, seed)
        over = stage == last or time.perf_counter() > deadline
        racing = racing if over else ahead
        if over or len(racing) < 2:
            break
    return racing, len(sample.rows)


def _measure(runner: _Runner, sample: _Sample, embedder: Embedder, stage: int, remember: Remember) -> None:
    """Scores a source on a subsample by the layer with the lowest loss; what goes wrong is noted in its row."""
    begin, problem = time.perf_counter(), sample.task.problem
    try:
        layers = embedder.embed(runner.source, sample.examples, sample.rows)
        losses = {
            layer: remember("losses", ridge_loo.losses, values, sample.targets, problem, sample.blocks)
            for layer, values in layers.items()
        }
        best = min(losses, key=lambda layer: float(losses[layer].mean()))
        scores = {"ridge_loo": -float(losses[best].mean())}
        if len(layers) > 1:
            scores |= {f"ridge_loo {layer}": -float(values.mean()) for layer, values in losses.items()}
        neighbours = remember("neighbours", knn.losses, layers[best], sample.targets, problem, sample.blocks)
        scores["knn"] = -float(neighbours.mean())
        if runner.source.card.prior is not None:
            scores["prior"] = runner.source.card.prior
        runner.losses, runner.evidence, runner.stage = losses[best], (losses[best] + neighbours) / 2, stage
        found = replace(runner.row, layer=best, rows=len(sample.rows), scores=scores)
        runner.row = replace(found, score=scores["ridge_loo"], standard_error=standard_error(losses[best]))
    except HeadstartError as error:
        runner.row = replace(runner.row, score=None, standard_error=None, error=str(error))
    runner.row = replace(runner.row, seconds=runner.row.seconds + time.perf_counter() - begin)


def _add_scores(runner: _Runner, sample: _Sample, embedder: Embedder, wanted: Iterable[str]) -> None:
    """Further scores of a source on the last subsample it was measured on; those it does not allow are left out."""
    names = [name for name in wanted if name not in runner.row.scores]
    if not runner.running or not names:
        return
    begin = time.perf_counter()
    layers = embedder.embed(runner.source, sample.examples, sample.rows)
    head = runner.source.head() if any(SCORES[name].source_head for name in names) else None
    given = probabilities(head.logits(layers["last"]), "classification") if head else None
    scores = {
        name: SCORES[name](layers[runner.row.layer], sample.targets, sample.task.problem, given)
        for name in names
        if head or not SCORES[name].source_head
    }
    scores, seconds = {**runner.row.scores, **scores}, runner.row.seconds + time.perf_counter() - begin
    runner.row = replace(runner.row, scores=scores, seconds=seconds)


def _fuse(racing: Sequence[_Runner], seed: int) -> list[_Runner]:
    """Fuses the scores of the sources of one subsample, and gives those that may go on to a larger one."""
    if not racing:
        return []
    evidence, priors = np.stack([runner.evidence for runner in racing]), _priors(racing)
    fused = fuse(-evidence.mean(1), priors, noise(evidence))
    low, high = rank_intervals(evidence, priors, seed)
    for at, runner in enumerate(racing):
        scores = {**runner.row.scores, "fused": float(fused[at])}
        runner.row = replace(runner.row, scores=scores, rank_low=int(low[at]), rank_high=int(high[at]))
    lowest = _lowest(racing)
    return [one for one in racing if _near(one.losses, lowest, BEHIND)]


def _lowest(racing: Sequence[_Runner]) -> FloatArray:
    """The leave-one-out losses that are lowest in the mean."""
    return min((runner.losses for runner in racing), key=lambda losses: float(losses.mean()))


def _near(losses: FloatArray, best: FloatArray, errors: float) -> bool:
    """Whether paired losses ``(N,)`` are higher than the best ones by at most so many standard errors."""
    gap = losses - best
    return bool(gap.mean() <= max(errors * standard_error(gap), ALIKE))


def _priors(racing: Sequence[_Runner]) -> FloatArray:
    """Priors ``(S,)`` that can be compared, NaN for the others: those that most of the sources are measured by."""
    cards = [runner.source.card for runner in racing]
    names = [card.prior_name for card in cards if card.prior is not None]
    common = max(sorted(set(names)), key=names.count, default="")
    return np.array([card.prior if card.prior is not None and card.prior_name == common else np.nan for card in cards])


def _table(runners: Sequence[_Runner], racing: Sequence[_Runner], order: str, size: int) -> Ranking:
    """The table: those still racing by what orders them, then those that left, the last to leave first."""
    still = {runner.source.name for runner in racing}

    def place(runner: _Runner) -> tuple[bool, bool, int, float, float]:
        row = runner.row
        value, fused = row.scores.get(order, -np.inf), row.scores.get("fused", -np.inf)
        return row.error is not None, row.source not in still, -runner.stage, -value, -fused

    lined = sorted(runners, key=place)
    best = lined[0]
    # Near the first of the table is not enough: what orders it can prefer a source that is not the lowest in loss.
    bars = (best.losses, _lowest(racing))
    names = {one.source.name for one in racing if one is best or all(_near(one.losses, bar, 1) for bar in bars)}
    rows = [
        replace(one.row, tied=one.source.name in names, left=one.row.error is None and one.source.name not in still)
        for one in lined
    ]
    short = [row.source for at, row in enumerate(rows) if row.error is None and (at < SHORT or row.tied)]
    return Ranking(tuple(rows), best.source.name, size, order=order, shortlist=tuple(short))


def subsample(task: Task, targets: NDArray[np.generic], seed: int, most: int = ROWS) -> IndexArray:
    """Positions of at most ``most`` rows in random order, such that each beginning has its share of every class."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if task.problem == "classification":
        _, classes, sizes = np.unique(targets[order], return_inverse=True, return_counts=True)
        turn = np.empty(len(order), np.int64)
        for label in range(len(sizes)):
            turn[classes == label] = np.arange(sizes[label])
        # Classes reach equal shares of their sizes at the same time.
        order = order[np.argsort((turn + 0.5) / sizes[classes], kind="stable")]
    return order[:most].astype(np.int64)
