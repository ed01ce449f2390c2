from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import split
from headstart.errors import DataError
from headstart.types import Dataset, Examples, Split, Task

NAMES = {"classification": ("a", "b", "c", "d"), "multilabel": ("a", "b", "c"), "regression": ()}


def dataset(
    targets: Any,
    digests: list[str] | None = None,
    groups: list[str] | None = None,
    names: list[str] | None = None,
) -> Dataset:
    targets = np.asarray(targets)
    problem: Any = {"b": "multilabel", "f": "regression", "i": "classification"}[targets.dtype.kind]
    count = len(targets)
    task = Task(problem, "text", NAMES[problem], "accuracy")
    ids = tuple(f"row {number}" for number in range(1, count + 1))
    contents = tuple(digests or [f"{hash((7, number)):032x}" for number in range(count)])
    examples = Examples("text", ids, ids, contents, targets, tuple(groups) if groups else None)
    return Dataset(task, examples, tuple(names) if names else None, (), ())


def permuted(data: Dataset, order: list[int]) -> Dataset:
    old = data.examples
    examples = dataclasses.replace(
        old,
        inputs=tuple(old.inputs[i] for i in order),
        digests=tuple(old.digests[i] for i in order),
        targets=old.targets[order],
        groups=old.groups and tuple(old.groups[i] for i in order),
    )
    return dataclasses.replace(data, examples=examples)  # the ids, "row 1" and so on, stay where they were


def parts(found: Split) -> list[set[int]]:
    return [set(rows.tolist()) for rows in (found.train, found.validation, found.test, found.unlabeled)]


@st.composite
def tables(draw: st.DrawFn) -> Dataset:
    """Tables of every problem with unlabelled rows, copies, groups and named splits."""
    count = draw(st.integers(12, 40))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    problem = draw(st.sampled_from(["classification", "multilabel", "regression"]))
    if problem == "classification":
        targets: Any = np.array([0, 1, 0, 1, *column(st.integers(-1, 3))[4:]], np.int64)
    elif problem == "regression":
        targets = np.array([0, 1, 2, 3, *column(st.floats(0, 9) | st.just(np.nan))[4:]], np.float64)
    else:
        targets = np.array(column(st.lists(st.booleans(), min_size=3, max_size=3)), np.bool_)
    copies = draw(st.booleans()) and [f"{n % 26:032x}" for n in column(st.integers(0, 60))]
    groups = draw(st.booleans()) and [f"g{n}" for n in column(st.integers(0, 9))]
    names = draw(st.booleans()) and column(st.sampled_from(["", "train", "validation"]))
    if names:
        names[:8] = ["train"] * 8
    return dataset(targets, copies or None, groups or None, names or None)


@settings(max_examples=80, deadline=None)
@given(tables(), st.integers(0, 9))
def test_every_split_is_disjoint_complete_whole_and_repeatable(data: Dataset, seed: int) -> None:
    try:
        found = split(data, seed=seed)
    except DataError as error:  # everything hangs together: rightly refused
        assert "no test can be held out" in str(error) or "at least two are needed" in str(error)  # noqa: PT017
        return
    pieces = parts(found)
    assert sum(map(len, pieces)) == len(set().union(*pieces)) == len(data.examples)
    assert len(found.test) >= 1
    assert len(found.train) >= 2

    bare = data.examples.targets
    if bare.ndim == 1:
        without = np.isnan(bare) if bare.dtype.kind == "f" else bare < 0
        assert found.unlabeled.tolist() == np.flatnonzero(without).tolist()
    if data.given:
        named = {i for i, name in enumerate(data.given) if name == "validation"}
        assert set(found.validation.tolist()) == named - set(found.unlabeled.tolist())

    again = split(data, seed=seed)
    for field in dataclasses.fields(Split):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(again, field.name))

    for ties in filter(None, (data.examples.digests, data.examples.groups)):
        train, test = ({ties[i] for i in rows} for rows in (found.train, found.test))
        assert not train & test
    if bare.dtype.kind == "i":  # no class loses its last train row
        pool = [i for i in range(len(bare)) if bare[i] >= 0 and i not in pieces[1]]
        assert set(bare[found.train]) == set(bare[pool])


@settings(max_examples=60, deadline=None)
@given(tables())
def test_folds_are_whole_and_none_is_empty(data: Dataset) -> None:
    try:
        found = split(data)
    except DataError:
        return
    assert len(found.folds) == len(found.train)
    used = sorted(set(found.folds.tolist()))
    assert used == list(range(len(used)))
    assert 2 <= len(used) <= 5
    ties = [set(filter(None, (data.examples.digests[i], (data.examples.groups or {i: None})[i]))) for i in found.train]
    pairs = [(a, b) for a in range(len(ties)) for b in range(a) if ties[a] & ties[b]]
    broken = [found.folds[a] != found.folds[b] for a, b in pairs]
    assert not any(broken) or (all_hang_together(len(ties), pairs) and len(used) >= 2)


def all_hang_together(count: int, pairs: list[tuple[int, int]]) -> bool:
    reached, grown = {0}, True
    while grown:
        new = {b for a, b in pairs if a in reached} | {a for a, b in pairs if b in reached}
        grown = not new <= reached
        reached |= new
    return len(reached) == count


@settings(max_examples=60, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(data: Dataset, random: Any) -> None:
    data = dataclasses.replace(data, given=None)
    order = list(range(len(data.examples)))
    random.shuffle(order)
    try:
        found = split(data)
    except DataError:
        with pytest.raises(DataError):
            split(permuted(data, order))
        return
    other = split(permuted(data, order))
    for rows, moved in ((found.train, other.train), (found.test, other.test)):
        assert sorted(rows.tolist()) == sorted(order[i] for i in moved)
    assert folded(data, found) == folded(permuted(data, order), other)


def folded(data: Dataset, found: Split) -> list[tuple[str, int]]:
    """Content and fold of every train row; copies cannot be told apart."""
    return sorted((data.examples.digests[i], fold) for i, fold in zip(found.train, found.folds.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]),
    st.integers(0, 5),
)
def test_classes_keep_their_shares(sizes: list[int], share: float, seed: int) -> None:
    targets = np.repeat(np.arange(len(sizes)), sizes)
    if sum(sizes) == len(sizes):
        with pytest.raises(DataError, match="no test can be held out of"):
            split(dataset(targets), seed=seed, test_share=share)
        return
    found = split(dataset(targets), seed=seed, test_share=share)
    room = sum(size - 1 for size in sizes)
    assert abs(len(found.test) - min(room, max(1, round(share * sum(sizes))))) <= sum(
        size * share > size - 1 for size in sizes
    )
    for label, size in enumerate(sizes):
        held = int((targets[found.test] == label).sum())
        assert abs(held - min(share * size, size - 1)) <= 1
        assert size - held >= 1
        counts = np.bincount(found.folds[targets[found.train] == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes_of_folds = np.bincount(found.folds)
    assert sizes_of_folds.max() - sizes_of_folds.min() <= len(sizes)


def test_small_classes_share_the_test() -> None:
    targets = np.repeat(np.arange(77), 2)
    tested = []
    for seed in (0, 1):
        found = split(dataset(targets), seed=seed)
        assert len(found.test) == 31
        assert len(set(targets[found.train])) == 77
        tested.append(set(targets[found.test]))
    assert tested[0] != tested[1]
    assert max(tested[0]) > 40  # chosen by the seed, not by the alphabet


def test_the_seed_decides() -> None:
    data = dataset(np.arange(100) % 4)
    assert split(data, seed=0).test.tolist() != split(data, seed=1).test.tolist()
    assert split(data, seed=0).folds.tolist() != split(data, seed=1).folds.tolist()


def test_regression_is_stratified_by_quantile() -> None:
    values = np.random.default_rng(3).lognormal(size=200)
    found = split(dataset(values))
    assert len(found.test) == 40
    ranks = values.argsort().argsort()
    assert np.bincount(ranks[found.test] // 20, minlength=10).tolist() == [4] * 10
    for fold in range(5):
        tenths = np.bincount(ranks[found.train[found.folds == fold]] // 20, minlength=10)
        assert tenths.min() >= 2
        assert tenths.max() <= 5


def test_multilabel_is_stratified_by_label() -> None:
    rng = np.random.default_rng(5)
    targets = rng.random((500, 3)) < [0.5, 0.2, 0.04]
    found = split(dataset(targets))
    assert 90 <= len(found.test) <= 110
    shares = targets[found.test].sum(0) / targets.sum(0)
    assert (abs(shares - 0.2) < 0.06).all()
    assert "by label" in found.how


def test_groups_are_stratified_as_well_as_they_can_be() -> None:
    groups = [f"patient {number // 10}" for number in range(400)]
    targets = (np.arange(400) // 10) % 2
    found = split(dataset(targets, groups=groups))
    assert len(found.test) == 80
    assert targets[found.test].mean() == 0.5
    assert np.bincount(found.folds).tolist() == [60, 60, 60, 70, 70] or np.ptp(np.bincount(found.folds)) <= 20
    assert "and groups kept whole" in found.how


def test_a_group_larger_than_the_test_is_taken_if_nothing_else_is_there() -> None:
    found = split(dataset(np.arange(40) % 2, groups=["g"] * 20 + ["h"] * 20))
    assert len(found.test) == 20
    assert np.bincount(found.folds).tolist() == [4] * 5  # one group is left: it cannot be kept whole


def test_given_names_are_kept() -> None:
    names = ["train", "", "validation", "test", "train", "test", ""]
    found = split(dataset([0, 1, 0, 1, -1, -1, 0], names=names))
    assert found.train.tolist() == [0, 1, 6]
    assert found.validation.tolist() == [2]
    assert found.test.tolist() == [3]
    assert found.unlabeled.tolist() == [4, 5]
    assert found.how == "The test rows are those that the data name. The validation rows are those that the data name."


def test_test_rows_are_held_out_of_train_and_unnamed_rows_only() -> None:
    names = ["train"] * 20 + [""] * 20 + ["validation"] * 10
    found = split(dataset(np.arange(50) % 2, names=names))
    assert len(found.test) == 8
    assert found.test.max() < 40
    assert found.validation.tolist() == list(range(40, 50))
    assert found.how.startswith("8 of 40 rows are the test: stratified by class")


def test_copies_and_groups_chain_together() -> None:
    # 0 and 1 are copies, 1 and 2 are one group, 2 and 3 are copies
    digests = ["0" * 32, "0" * 32, "1" * 32, "1" * 32] + [f"{n:032x}" for n in range(5, 25)]
    groups = ["a", "b", "b", "c"] + [f"g{n}" for n in range(20)]
    for seed in range(10):
        found = split(dataset(np.zeros(24, int), digests, groups), seed=seed)
        sides = {row in set(found.test.tolist()) for row in range(4)}
        assert len(sides) == 1


def test_fewer_rows_than_folds() -> None:
    found = split(dataset([0, 1, 0, 1, 0]), folds=10)
    assert len(found.train) == 4
    assert sorted(found.folds.tolist()) == [0, 1, 2, 3]
    assert len(set(split(dataset(np.arange(50) % 2), folds=1).folds.tolist())) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset([0, 1, 2]), "no test can be held out of 3 labelled rows"),
        (dataset(np.arange(6) % 2, groups=["g"] * 6), "no test can be held out of 6 labelled rows"),
        (dataset(np.arange(6) % 2, digests=["x", "y"] * 3), "no test can be held out"),
        (dataset([0, -1, 1], names=["train", "train", "test"]), "only 1 labelled training rows"),
        (dataset([0, 1], names=["test", "test"]), "only 0 labelled training rows"),
        (dataset([-1, -1]), "no test can be held out of 0"),
        (dataset([np.nan, 1.0]), "no test can be held out of 1"),
    ],
)
def test_data_that_cannot_be_split(data: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(data)


def test_index_arrays_are_sorted_int64() -> None:
    found = split(dataset(np.arange(50) % 3))
    for rows in (found.train, found.validation, found.test, found.unlabeled, found.folds):
        assert rows.dtype == np.int64
    assert (np.diff(found.train) > 0).all()
    assert (np.diff(found.test) > 0).all()
