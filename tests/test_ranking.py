"""The race of sources, on sources that are nothing but embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart import ranking
from headstart.backbones.source import Source
from headstart.errors import BundleRefused, UsageError
from headstart.features import Embedder
from headstart.ranking import stages, subsample
from headstart.store import fingerprint
from headstart.types import Examples, InputSpec, Ranking, SourceCard, SourceHead, Split, Task


def source(name: str, parameters: int = 1, prior: float | None = None, prior_name: str = "top-1") -> Source:
    card = SourceCard(
        name, name, "text", "test", parameters, 8, ("last",), InputSpec(), "nothing", "MIT", name, prior, prior_name
    )
    return Source(card, dict)


class Given(Embedder):
    """Embeddings that a test gives, by the name of the source; notes which rows are asked for."""

    def __init__(self, **embeddings: Any) -> None:
        self.embeddings = embeddings
        self.asked: list[tuple[str, int]] = []

    def embed(self, source: Source, examples: Any, rows: Any, precision: str | None = None) -> Any:
        found = self.embeddings[source.name]
        self.asked.append((source.name, len(rows)))
        if isinstance(found, Exception):
            raise found
        layers = found if isinstance(found, dict) else {"last": found}
        return {layer: values[rows].astype(np.float32) for layer, values in layers.items()}


def noisy(y: np.ndarray, noise: float, seed: int, dim: int = 8) -> np.ndarray:
    """Embeddings with the class in one column."""
    x = np.random.default_rng(seed).normal(size=(len(y), dim))
    x[:, 0] = x[:, 0] * noise + y
    return x


Y = np.arange(1400) % 2


def rank(given: Given, sources: list[Source], rows: int = 1400, **options: Any) -> Ranking:
    ids = tuple(map(str, range(rows)))
    # Folds are twins, where a test makes twins of neighbouring rows.
    digests = options.pop("digests", tuple(f"{row:032x}" for row in range(rows)))
    table = Examples("text", ids, ids, digests, options.pop("labels", Y[:rows]).astype(np.int64), None)
    empty = np.zeros(0, np.int64)
    split = Split(np.arange(rows), empty, empty, empty, "", np.arange(rows) // 2 % 5)
    task = Task("classification", "text", ("a", "b"), "accuracy")
    settings = {"seed": 0, "budget": None, "order": "fused", **options}
    return ranking.rank(task, table, split, sources, embedder=given, **settings)


def test_who_is_clearly_behind_leaves_early_and_stays_in_the_table() -> None:
    x = noisy(Y, 0.3, 0)
    given = Given(good=x, alike=x[:, ::-1], bad=noisy(Y, 3, 2))
    found = rank(given, [source("bad"), source("good", 2), source("alike", 3)])
    assert [n for name, n in given.asked if name == "bad"] == [200]
    assert [n for name, n in given.asked if name == "good"] == [200, 500, 1000]
    last = found.rows[-1]
    assert (last.source, last.left, last.rows, last.tied, last.rank_low, last.rank_high) == (
        "bad",
        True,
        200,
        False,
        3,
        3,
    )
    assert {row.rows for row in found.rows[:2]} == {1000}
    assert not any(row.left for row in found.rows[:2])
    assert found.examples == 1000
    assert last.score is not None
    assert last.scores["ridge_loo"] == last.score


def test_the_race_ends_when_one_is_left() -> None:
    given = Given(good=noisy(Y, 0.1, 0), bad=noisy(Y, 3, 2))
    found = rank(given, [source("bad"), source("good", 2)])
    assert [n for _, n in given.asked] == [200, 200]
    assert found.rows[-1].left
    assert found.chosen == "good"
    assert found.examples == 200


def test_on_the_last_rows_nobody_leaves_any_more() -> None:
    given = Given(good=noisy(Y, 0.1, 0), bad=noisy(Y, 3, 2))
    found = rank(given, [source("bad"), source("good", 2)], rows=150)
    assert [(row.source, row.left, row.tied, row.rows) for row in found.rows] == [
        ("good", False, True, 150),
        ("bad", False, False, 150),
    ]


def test_ties_are_called_ties_and_the_first_is_chosen() -> None:
    x = noisy(Y, 0.5, 0)
    given = Given(small=x, large=x[:, ::-1], bad=noisy(Y, 3, 2))
    found = rank(given, [source("large", 9, prior=0.8), source("small", 5, prior=0.7), source("bad", 1, prior=0.2)])
    assert [row.source for row in found.rows] == ["large", "small", "bad"]
    assert [row.tied for row in found.rows] == [True, True, False]
    assert found.chosen == "large"
    assert found.shortlist == ("large", "small", "bad")


def test_cheap_and_near_a_worse_favourite_is_no_tie() -> None:
    y = Y[:150]
    x = noisy(y, 0.5, 0)
    worse = x + np.eye(1, 8) * 0.35 * np.random.default_rng(5).normal(size=(150, 1))
    given = Given(lowest=x, favourite=worse, cheap=worse[:, ::-1])
    three = [source("lowest", 5, 0.5), source("favourite", 6, 0.99), source("cheap", 1, 0.5)]
    found = rank(given, three, rows=150, order="prior")
    assert found.rows[0].source == found.chosen == "favourite"
    assert {row.source for row in found.rows if row.tied} == {"favourite", "lowest"}


def test_what_fails_is_listed_with_its_reason_and_the_ranking_goes_on() -> None:
    given = Given(broken=BundleRefused("its file is gone"), good=noisy(Y, 0.3, 0), bad=noisy(Y, 3, 2))
    found = rank(given, [source("broken"), source("good", 2), source("bad", 3)])
    assert [row.source for row in found.rows] == ["good", "bad", "broken"]
    assert found.rows[-1].error == "its file is gone"
    assert found.rows[-1].score is None
    assert not found.rows[-1].left
    assert "broken" not in found.shortlist
    with pytest.raises(UsageError, match="no source could be used: broken: its file is gone"):
        rank(Given(broken=BundleRefused("its file is gone")), [source("broken")])


def test_one_source_needs_no_race() -> None:
    given = Given(good=noisy(Y, 0.3, 0))
    found = rank(given, [source("good")])
    assert given.asked == [("good", 500)]
    assert (found.rows[0].rank_low, found.rows[0].rank_high, found.rows[0].scores["fused"]) == (1, 1, 0)


def test_a_spent_budget_tries_the_smallest_source_only() -> None:
    given = Given(good=noisy(Y, 0.3, 0), bad=noisy(Y, 3, 2))
    found = rank(given, [source("bad"), source("good", 2)], budget=1e-6)
    assert found.chosen == "bad"
    assert "a quarter of the budget" in str(found.rows[-1].error)
    assert given.asked == [("bad", 200)]


def test_the_best_layer_counts_and_all_are_shown() -> None:
    given = Given(two={"last": noisy(Y, 3, 1), "mean": noisy(Y, 0.3, 0)})
    (row,) = rank(given, [source("two")]).rows
    assert row.layer == "mean"
    assert row.score == row.scores["ridge_loo mean"] > row.scores["ridge_loo last"]


def test_a_single_score_can_order_the_table() -> None:
    given = Given(a=noisy(Y, 0.5, 0), b=noisy(Y, 0.45, 1))
    both = [source("a", prior=0.9), source("b", 2, prior=0.1)]
    found = rank(given, both, order="prior")
    assert [row.source for row in found.rows] == ["a", "b"]
    found = rank(given, both, order="hscore")
    values = [row.scores["hscore"] for row in found.rows]
    assert values == sorted(values, reverse=True)
    with pytest.raises(UsageError, match="unknown score for classification 'magic'"):
        rank(given, both, order="magic")


def test_scores_of_the_source_s_own_classes_are_there_where_it_has_some() -> None:
    x = noisy(Y, 0.2, 0)
    own = SourceHead(np.eye(2, 8, dtype=np.float32) * [[4], [0]], np.array([-2, 0], np.float32))
    with_head = replace(source("a"), head=lambda: own)
    found = rank(Given(a=x, b=x), [with_head, source("b", 2)], shown=("leep", "nce"))
    scores = {row.source: row.scores for row in found.rows}
    assert -0.4 < scores["a"]["leep"] < 0
    assert -0.2 < scores["a"]["nce"] < 0
    assert not {"leep", "nce"} & set(scores["b"])


def test_only_priors_that_measure_the_same_are_compared() -> None:
    x = noisy(Y, 0.5, 0)
    given = Given(a=x, b=x, c=x, d=x)
    four = [
        source("a", 1, 0.70), source("b", 2, 0.80), source("c", 3, 0.99, "another test"), source("d", 4)
    ]  # fmt: skip
    found = rank(given, four)
    assert [row.source for row in found.rows] == ["b", "c", "d", "a"]
    fused = {row.source: row.scores["fused"] for row in found.rows}
    assert fused["c"] == fused["d"] == pytest.approx(0)


def test_duplicates_are_left_out_together() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(200, 300)), 2, 0)
    options = {"rows": 400, "labels": np.random.default_rng(1).integers(0, 2, 200).repeat(2)}
    naive = rank(Given(a=x), [source("a")], **options).rows[0].score
    whole = rank(Given(a=x), [source("a")], digests=tuple(f"{row // 2:032x}" for row in range(400)), **options)
    assert whole.rows[0].score + 0.2 < naive


def test_subsamples_grow_and_keep_the_shares_of_classes() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [600, 300, 100]))
    task = Task("classification", "text", ("a", "b", "c"), "accuracy")
    order = subsample(task, labels, 3)
    assert sorted(order.tolist()) == list(range(1000))
    for size in (10, 200, 500):
        assert np.abs(np.bincount(labels[order[:size]]) / size - [0.6, 0.3, 0.1]).max() <= 1.5 / size
    assert not np.array_equal(order, subsample(task, labels, 4))
    values = subsample(replace(task, problem="regression"), labels.astype(float), 3)
    assert sorted(values.tolist()) == list(range(1000))


@pytest.mark.parametrize("rows", [1, 2, 199, 249, 250, 251, 625, 626, 1000, 10**6])
def test_stages_grow_by_a_quarter_at_least(rows: int) -> None:
    sizes = stages(rows, 2)
    assert sizes[-1] == min(rows, 1000)
    assert all(1.25 * a < b for a, b in zip(sizes, sizes[1:], strict=False))


def test_what_was_measured_before_is_not_measured_again() -> None:
    known: dict[str, Any] = {}
    asked: list[str] = []

    def remember(name: str, function: Any, /, *inputs: Any, given: tuple[Any, ...] = ()) -> Any:
        key = fingerprint(name, *inputs)
        asked.append("known" if key in known else "new")
        if key not in known:
            known[key] = function(*inputs, *given)
        return known[key]

    given, both = Given(a=noisy(Y, 0.5, 0), b=noisy(Y, 3, 1)), [source("a"), source("b", 2)]
    first = rank(given, both, remember=remember)
    assert set(asked) == {"new"}
    asked.clear()
    again = rank(given, both, remember=remember)
    assert set(asked) == {"known"}
    assert [replace(row, seconds=0) for row in again.rows] == [replace(row, seconds=0) for row in first.rows]
    assert first.rows[0].scores["knn"] == pytest.approx(rank(given, both).rows[0].scores["knn"])
