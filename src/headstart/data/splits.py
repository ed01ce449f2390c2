"""Deterministic splits: stratified, with duplicates and groups whole, by the user's own names first.

The result depends on the seed and on contents, targets and groups, not on the order of the rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.labels import is_unlabeled
from headstart.errors import DataError
from headstart.types import Dataset, Examples, IndexArray, Split

__all__ = ["fold_numbers", "split"]

BINS = 10
"""Most quantile bins that a regression target is stratified by."""
ROWS_PER_BIN = 5


@dataclass(frozen=True)
class _Unit:
    """Rows that must stay together: equal content, or one group."""

    rows: tuple[int, ...]
    counts: Counter[int]
    """Stratum -> number of rows in it."""


def split(dataset: Dataset, seed: int = 0, test_share: float = 0.2, folds: int = 5) -> Split:
    """Train, validation, test and unlabelled rows, and fold numbers for the train rows.

    Rows that the data name keep their names; unnamed ones are train rows. Where no row is named
    test, ``test_share`` of the train rows are held out: stratified by class (by quantile for
    regression, by label for multilabel), so that no class loses its last train row, and with rows
    of equal content and rows of one group on one side. A share of 0 holds out none: all are train
    rows. Validation rows are those that are named so.

    Args:
        dataset: What `read` found.
        seed: Decides which rows are held out, and the folds.
        test_share: Share of the labelled rows that becomes the test, in (0, 0.9], or 0 for no test rows.
        folds: Number of folds; fewer where there are fewer rows (or groups) than that, at least 2.

    Raises:
        DataError: If there are fewer than two train rows, or none can be held out.
    """
    examples = dataset.examples
    bare = is_unlabeled(examples.targets)
    names = np.array(dataset.given or [""] * len(examples))
    pool = np.flatnonzero(np.isin(names, ("", "train")) & ~bare)
    validation = np.flatnonzero((names == "validation") & ~bare)
    test = np.flatnonzero((names == "test") & ~bare)
    if len(test):
        how = "The test rows are those that the data name."
    elif not test_share:
        how = f"No test rows: all {len(pool)} labelled rows are train rows."
    else:
        test = _held_out(_units(examples, pool, seed, (examples.digests, examples.groups)), test_share, seed)
        whole = "rows of equal content" + (" and groups" if examples.groups else "")
        by = {"regression": "quantile of the target", "multilabel": "label"}.get(dataset.task.problem, "class")
        how = f"{len(test)} of {len(pool)} rows are the test: stratified by {by}, {whole} kept whole, seed {seed}."
    train = np.setdiff1d(pool, test)
    if len(train) < 2:
        raise DataError(f"only {len(train)} labelled training rows; at least two are needed")
    how += " The validation rows are those that the data name." if len(validation) else ""
    return Split(train, validation, test, np.flatnonzero(bare), how, fold_numbers(examples, train, seed, folds))


def _strata(examples: Examples, rows: IndexArray) -> list[tuple[int, ...]]:
    """For each row the numbers, from 0, of the strata it is in: what is to be spread evenly."""
    targets = examples.targets[rows]
    if targets.ndim == 2:  # one stratum a label, and one for rows without any
        none = (targets.shape[1],)
        return [tuple(np.flatnonzero(row).tolist()) or none for row in targets]
    if targets.dtype.kind == "f":
        bins = int(np.clip(len(rows) // ROWS_PER_BIN, 1, BINS))
        edges = np.quantile(targets, np.arange(1, bins) / bins) if len(rows) else np.zeros(0)
        targets = np.searchsorted(edges, targets, side="right")
    return [(code,) for code in np.unique(targets, return_inverse=True)[1].tolist()]


def _totals(units: Sequence[_Unit]) -> Counter[int]:
    totals = Counter[int]()
    for unit in units:
        totals.update(unit.counts)
    return totals


def _units(examples: Examples, rows: IndexArray, seed: int, ties: Sequence[Sequence[str] | None]) -> list[_Unit]:
    """Rows joined by equal names in any of ``ties``, in an order that depends on the seed and on contents only."""
    strata, parent = _strata(examples, rows), list(range(len(rows)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for names in filter(None, ties):
        first: dict[str, int] = {}
        for node, row in enumerate(rows):
            one, other = root(first.setdefault(names[row], node)), root(node)
            parent[max(one, other)] = min(one, other)
    members: dict[int, list[int]] = {}
    for node in range(len(rows)):
        members.setdefault(root(node), []).append(node)
    # Equal digests share a unit, so the smallest digest of a unit is its own.
    ordered = sorted(members.values(), key=lambda nodes: min(examples.digests[rows[node]] for node in nodes))
    units = []
    for position in np.random.default_rng(seed).permutation(len(ordered)):
        nodes = ordered[position]
        counts = Counter(sorted(stratum for node in nodes for stratum in strata[node]))
        units.append(_Unit(tuple(int(rows[node]) for node in nodes), counts))
    return units


def _held_out(units: Sequence[_Unit], share: float, seed: int) -> IndexArray:
    """Rows of the units that bring the test closest to its quotas; every stratum keeps a train row.

    Greedy: a unit is taken if that lowers the squared distance to the quotas. Rare strata choose
    first, and where strata overlap a unit's rarest one decides alone, as in iterative
    stratification (Sechidis et al., ECML 2011): else the frequent ones would outvote it.
    """
    rows, totals = sum(len(unit.rows) for unit in units), _totals(units)
    overlap = totals.total() > rows
    wanted, left = _quotas(totals, rows, share, seed), totals.copy()
    taken: list[_Unit] = []

    def gain(unit: _Unit) -> float:
        if any(left[s] <= n for s, n in unit.counts.items()):
            return -math.inf
        deciding = [min(unit.counts, key=lambda s: (totals[s], s))] if overlap else unit.counts
        return sum(unit.counts[s] * (2.0 * (wanted[s] - totals[s] + left[s]) - unit.counts[s]) for s in deciding)

    for unit in sorted(units, key=lambda unit: min(totals[s] for s in unit.counts)):
        if gain(unit) > 0:
            taken.append(unit)
            left.subtract(unit.counts)
    if not taken:  # groups larger than the test should be: the least unfitting one
        best = max(units, key=gain, default=None)
        if best is None or gain(best) == -math.inf:
            raise DataError(
                f"no test can be held out of {rows} labelled rows: each class has a single row, or its rows are "
                "one group or copies of each other. Add rows, or name test rows in the data."
            )
        taken.append(best)
    return np.sort(np.array([row for unit in taken for row in unit.rows], np.int64))


def _quotas(totals: Counter[int], rows: int, share: float, seed: int) -> dict[int, int]:
    """Test rows wanted of each stratum: rounded down, then up where the remainders are largest."""
    exact = {s: min(n * share, n - 1) for s, n in sorted(totals.items())}
    if totals.total() > rows:  # strata overlap: each is rounded by itself
        return {s: round(n) for s, n in exact.items()}
    quotas = {s: math.floor(n) for s, n in exact.items()}
    room = [s for s in exact if quotas[s] < totals[s] - 1]
    chance = np.random.default_rng(seed).permutation(len(room))
    ties = dict(zip(room, chance.tolist(), strict=True))
    room.sort(key=lambda s: (quotas[s] - exact[s], ties[s]))
    for s in room[: max(1, round(rows * share)) - sum(quotas.values())]:
        quotas[s] += 1
    return quotas


def fold_numbers(examples: Examples, train: IndexArray, seed: int, folds: int) -> IndexArray:
    """Fold number ``(len(train),)`` of each of these rows, ascending row numbers; groups and copies are whole.

    Whole units, the largest first, each to where its strata are rarest. Fewer folds where there are fewer units.
    """
    units: list[_Unit] = []
    for ties in ((examples.digests, examples.groups), (examples.digests,), ()):
        if len(units) < 2:  # all one group, or copies of one example: that cannot be kept whole
            units = _units(examples, train, seed, ties)
    count, totals = max(2, min(folds, len(units))), _totals(units)
    filled = {s: np.zeros(count) for s in totals}
    sizes = np.zeros(count)
    assigned = np.zeros(len(train), np.int64)
    for unit in sorted(units, key=lambda unit: -len(unit.rows)):
        crowding = sum((n / totals[s] * filled[s] for s, n in unit.counts.items()), np.zeros(count))
        fold = int(np.lexsort((sizes, crowding))[0])
        assigned[np.searchsorted(train, unit.rows)] = fold
        sizes[fold] += len(unit.rows)
        for s, n in unit.counts.items():
            filled[s][fold] += n
    return assigned
