"""Learning again on a made-up task: sources whose embeddings are given, so that nothing is loaded."""

import numpy as np
import pytest

from headstart import ranking
from headstart.prove import relearning, resampling
from headstart.types import Examples, InputSpec, Predictions, RankedSource, Ranking, SourceCard, Split, Task

TASK = Task("classification", "text", ("a", "b", "c"), "accuracy")
NOTHING = np.zeros(0, np.int64)


class FakeSource:
    def __init__(self, name):
        self.name, self.fingerprint = name, name
        self.card = SourceCard(name, name, "text", "fake", 1, 8, ("last",), InputSpec(), "", "", "0")


class Embedder:
    """Embeddings that know the class with this skill."""

    def __init__(self, examples, skills):
        rng = np.random.default_rng(0)
        known = np.eye(3)[examples.targets] @ rng.normal(size=(3, 8))
        self.skills = {name: skill * known + rng.normal(size=known.shape) for name, skill in skills.items()}

    def embed(self, source, examples, rows):
        return {"last": self.skills[source.name][rows].astype(np.float32)}


def made(rows, seed=0, groups=None):
    targets = np.random.default_rng(seed).integers(0, 3, rows)
    names = tuple(f"row {i}" for i in range(rows))
    texts = tuple(f"{'xyz'[t]} {i}" if i % 2 else f"w {i}" for i, t in enumerate(targets))
    return Examples("text", texts, names, tuple(f"{i:032x}" for i in range(rows)), targets, groups)


def parts(rows, test):
    train = np.arange(rows - test)
    return Split(train, NOTHING, np.arange(rows - test, rows), NOTHING, "by hand", train % 5)


def test_every_row_is_asked_about_once_a_draw_and_never_learned_from_then():
    examples = made(83)
    draws = resampling.crossed(examples, np.arange(83), 5, 3, 0)
    assert len(draws) == 3
    for draw in draws:
        assert sorted(np.concatenate([part.test for part in draw])) == list(range(83))
        for part in draw:
            assert not set(part.train) & set(part.test)
            assert len(part.folds) == len(part.train)
            assert len(np.unique(part.folds)) == 5
    assert draws[0][0].test.tolist() != draws[1][0].test.tolist()


def test_groups_stay_whole_in_folds_and_in_the_folds_inside():
    groups = tuple(f"g{i // 4}" for i in range(80))
    for part in resampling.crossed(made(80, groups=groups), np.arange(80), 5, 1, 0)[0]:
        names = np.array(groups)
        assert not set(names[part.train]) & set(names[part.test])
        inside = {}
        for row, fold in zip(part.train, part.folds, strict=True):
            assert inside.setdefault(groups[row], fold) == fold


def test_sources_are_chosen_inside_the_folds(monkeypatch):
    """Two sources that know nothing: what is picked by its training rows gains nothing on the others."""
    examples, seen = made(90), []

    def spying(task, table, split, sources, *rest):
        seen.append((set(split.train), len(split.test)))
        rows = [RankedSource(one.name, 1.0, 0.1) for one in sources]
        return Ranking(tuple(rows), sources[len(seen) % 2].name, len(split.train))

    monkeypatch.setattr(ranking, "rank", spying)
    embedder = Embedder(examples, {"one": 0.0, "two": 0.0})
    learner = resampling.selecting(TASK, examples, [FakeSource("one"), FakeSource("two")], "fused", 0, embedder)
    draws = resampling.crossed(examples, np.arange(90), 5, 2, 0)
    scores = resampling.scores(learner, TASK, examples, draws)
    assert scores.mean() == pytest.approx(1 / 3, abs=0.15)
    for part, (train, test) in zip([part for draw in draws for part in draw], seen, strict=True):
        assert train == set(part.train)
        assert test == 0


@pytest.mark.parametrize(("skill", "sign"), [(3.0, 1), (0.0, -1)])
def test_the_gain_of_cross_validation_has_the_sign_of_the_skill(skill, sign, monkeypatch):
    examples = made(120)
    monkeypatch.setattr(
        ranking, "rank", lambda task, table, split, sources, *rest: Ranking((), sources[0].name, len(split.train))
    )
    given = (
        TASK,
        examples,
        parts(120, 24),
        0,
        (5, 2),
        (FakeSource("one"),),
        "fused",
        Embedder(examples, {"one": skill}),
    )
    found = relearning.folds(*given)
    assert sign * found.low > 0
    assert sign * found.high > 0
    assert found.value == pytest.approx(found.ours - found.theirs)
    assert "Nadeau and Bengio" in found.test
    assert found.on == "5-fold cross-validation of 120 rows, repeated 2 times"
    assert found.p_value < 0.05


def test_curves_rise_and_name_what_is_saved():
    examples, split = made(260), parts(260, 100)
    twin = ("scratch twin", Predictions(tuple(examples.ids[160:]), np.zeros((100, 3)) + [0.0, 0.1, 0.2]))
    found = relearning.curves(
        TASK,
        examples,
        split,
        0,
        FakeSource("one"),
        relearning.Frozen("probe of one", "last", "ridge"),
        twin,
        Embedder(examples, {"one": 1.2}),
    )
    assert [curve.arm for curve in found.curves] == ["probe of one", "scratch twin", "classical baseline"]
    transfer, scratch, simple = found.curves
    assert transfer.rows == simple.rows == (20, 40, 80, 160)
    assert transfer.values.shape == simple.values.shape == (4, 5)
    assert (scratch.rows, scratch.values.shape) == ((160,), (1, 1))
    means = transfer.values.mean(axis=1)
    assert means[-1] > means[0]
    assert np.ptp(transfer.values[-1]) == 0
    assert found.saved.over == "scratch twin"
    assert found.saved.low <= found.saved.times <= found.saved.high
    assert found.saved.at_least
    assert "needs at least 8.0 times the labels" in found.saved.sentence
    assert [one.over for one in found.further] == ["classical baseline"]
    assert found.more.rows == 100
    assert 0 <= found.more.low <= found.more.gain <= found.more.high < 0.3


def test_lower_is_better_metrics_are_drawn_as_they_are_and_saved_the_right_way_round():
    examples = made(260)
    task = Task("classification", "text", ("a", "b", "c"), "log_loss")
    found = relearning.curves(
        task,
        examples,
        parts(260, 100),
        0,
        FakeSource("one"),
        relearning.Frozen("probe of one", "last", "ridge"),
        None,
        Embedder(examples, {"one": 3.0}),
    )
    transfer = found.curves[0].values.mean(axis=1)
    assert transfer[-1] < transfer[0]
    assert found.saved.times > 1
    assert found.more.gain >= 0


def test_an_upper_bound_is_open_towards_none_and_closed_above():
    """The scratch twin is right everywhere: the transfer saves nothing, and how little is not known."""
    examples, split = made(260), parts(260, 100)
    perfect = Predictions(tuple(examples.ids[160:]), np.eye(3)[examples.targets[160:]])
    found = relearning.curves(
        TASK,
        examples,
        split,
        0,
        FakeSource("one"),
        relearning.Frozen("probe of one", "last", "ridge"),
        ("scratch twin", perfect),
        Embedder(examples, {"one": 0.5}),
    )
    assert found.saved.sentence.startswith("No labels are saved")
    assert found.saved.low == 0.0
    assert 1.0 <= found.saved.high <= 8.1
    assert 0 < found.saved.times <= found.saved.high
