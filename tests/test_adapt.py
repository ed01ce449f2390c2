"""The ladder: what is tried, what is chosen, what a budget does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart import adapt
from headstart.backbones.source import Source
from headstart.errors import UsageError
from headstart.methods import Context
from headstart.types import (
    Arm,
    Examples,
    InputSpec,
    LinearHead,
    Predictions,
    RankedSource,
    Ranking,
    SourceCard,
    Split,
    Task,
)

TEXTS = Task("classification", "text", ("a", "b"), "accuracy")


def test_few_texts_are_tuned_by_contrast_and_everything_else_by_lpft():
    assert adapt.ladder("auto", TEXTS, 600) == ("probe", "contrastive")
    assert adapt.ladder("auto", TEXTS, 601) == ("probe", "lpft")
    assert adapt.ladder("auto", replace(TEXTS, modality="image"), 20) == ("probe", "lpft")
    assert adapt.ladder("auto", replace(TEXTS, problem="regression", labels=()), 20) == ("probe", "lpft")


def test_asked_methods_run_simplest_first_and_once():
    assert adapt.ladder("full, probe,full") == ("probe", "full")
    with pytest.raises(UsageError, match="unknown method 'prob'; did you mean 'probe'"):
        adapt.ladder("prob")


def arms(*chances: np.ndarray) -> tuple[Examples, list[Arm]]:
    rows = len(chances[0])
    names = tuple(f"row {number}" for number in range(rows))
    table = Examples("text", names, names, names, np.zeros(rows, np.int64))
    head = LinearHead("ridge", np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    made = [
        Arm(f"arm {i}", "s", "m", 0, 0.0, "last", head, Predictions(names, np.log(np.stack([p, 1 - p], 1))))
        for i, p in enumerate(chances)
    ]
    return table, made


def test_the_simplest_arm_within_noise_of_the_best_is_chosen():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.8, 200)
    noisy = np.clip(base + rng.normal(0.005, 0.1, 200), 0.05, 0.95)
    better = np.clip(base + 0.15, 0.05, 0.99)
    assert adapt.choose(TEXTS, *arms(base, noisy)) == "arm 0"
    assert adapt.choose(TEXTS, *arms(base, better)) == "arm 1"
    assert adapt.choose(TEXTS, *arms(better, base)) == "arm 0"


def test_arms_are_compared_on_the_rows_that_all_of_them_predicted():
    """On all rows the first arm looks better; on the shared ones the second is."""
    base = np.r_[np.full(100, 0.5), np.full(100, 0.99)]
    table, (first, second) = arms(base, np.r_[np.full(100, 0.9), np.full(100, 0.01)])
    half = Predictions(second.validation.ids[:100], second.validation.logits[:100])
    assert adapt.choose(TEXTS, table, [first, second]) == "arm 0"
    assert adapt.choose(TEXTS, table, [first, replace(second, validation=half)]) == "arm 1"


def test_the_smallest_source_learns_from_the_best_of_the_others():
    def source(name: str, parameters: int) -> Source:
        spec = InputSpec(max_tokens=8)
        card = SourceCard(name, name, "text", "test", parameters, 4, ("last",), spec, "nothing", "none", "0")
        return Source(card, dict)

    found = [source("large", 30), source("small", 10), source("middle", 20), source("broken", 5)]
    rows = [RankedSource(name, -1.0, 0.1) for name in ("middle", "small", "large")]
    ranked = Ranking((*rows, RankedSource("broken", None, None, error="no weights")), "middle", 100)
    assert adapt.roles(["probe", "lpft"], found, ranked) == (found[2], None)
    assert adapt.roles(["probe", "distillation"], found, ranked) == (found[1], found[2])
    best = replace(ranked, rows=(rows[1], rows[2], rows[0]), chosen="small")
    assert adapt.roles(["distillation"], found, best) == (found[1], found[0])
    with pytest.raises(UsageError, match="only small can be used. Name two: --source LARGE,SMALL"):
        adapt.roles(["distillation"], found[1:2], replace(ranked, rows=rows[1:2], chosen="small"))


def test_the_receipt_is_told_what_became_of_tuned_arms():
    _, (probe, tuned) = arms(np.full(4, 0.5), np.full(4, 0.6))
    tuned = replace(tuned, details={"rows": 80, "events": ("20 of 60 steps fit the budget",)})
    assert adapt.told([probe], probe.name, 100) == ()
    assert adapt.told([probe, tuned], probe.name, 100) == (
        "No tuned arm beat the frozen probe on held-out rows by more than noise, so the probe ships.",
        "arm 1 was trained on 80 of 100 rows and not chosen.",
        "arm 1: 20 of 60 steps fit the budget.",
    )
    whole = replace(tuned, details={"rows": 100, "events": ()})
    assert adapt.told([probe, whole], whole.name, 100) == ()
    pupil = replace(whole, details={"rows": 100, "events": (), "taught": tuned.validation})
    assert adapt.told([probe, pupil], pupil.name, 100) == (
        "The seconds of arm 1 include its teacher's, of which nothing ships.",
    )


def test_small_classes_weigh_more_where_the_metric_counts_classes_alike():
    targets = np.repeat([0, 1], [36, 4])
    names = tuple(map(str, range(40)))
    table = Examples("text", names, names, names, targets)
    rows = np.arange(40)
    split = Split(rows, rows[:0], rows[:0], rows[:0], "by hand", rows % 4)
    even = Context(replace(TEXTS, metric="macro_f1"), table, split, None, None, 0)
    weights = even.class_weights(3.0)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[targets].mean() == pytest.approx(1.0)
    assert even.class_weights(10.0) is None
    assert replace(even, task=TEXTS).class_weights(3.0) is None
