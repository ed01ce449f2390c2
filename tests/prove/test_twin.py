import pytest

import headstart
from headstart.errors import Diverged
from headstart.methods import scratch
from headstart.prove import twin
from headstart.types import Arm, LinearHead, Predictions

FULL = {"source": "wordllama", "method": "probe", "proof": "full"}


@pytest.mark.parametrize("taken", [0.1, 8.0, 8.1, 31.0, 33.0, 200.0])
def test_the_twin_gets_at_least_the_time_of_all_transfer_arms_and_at_most_twice_that(taken):
    arm = Arm("one", "s", "probe", 0, taken / 2, "last", LinearHead("ridge", None, None), Predictions((), None))
    seconds = twin.seconds_for((arm, arm))
    assert seconds == twin.seconds_for((), taken)
    assert max(twin.LEAST, taken) <= seconds < 2 * max(twin.LEAST, taken)


def test_the_verdict_rests_on_the_twin_and_a_second_run_remembers_it(topics_csv, tmp_path, monkeypatch):
    seen, original = [], scratch.Scratch.run

    def spying(self, context):
        seen.append(context)
        return original(self, context)

    monkeypatch.setattr(scratch.Scratch, "run", spying)
    monkeypatch.setattr(twin, "seconds_for", lambda arms, spent: 1.0)
    found = headstart.fit(topics_csv, out=tmp_path / "one", **FULL)
    receipt = found.receipt
    assert [gain.over for gain in receipt.gains] == ["scratch twin", "classical baseline", "majority baseline"]
    made = next(arm for arm in receipt.arms if arm.name == "scratch twin")
    assert made.predictions.ids == receipt.arms[0].predictions.ids
    assert made.test["n"] == receipt.counts["test"]
    assert (made.source, made.method) == ("wordllama", "scratch")
    assert receipt.scratch_twin.startswith("trained for ")
    assert receipt.not_measured == ()
    assert "the same model trained from scratch" in receipt.sentence
    assert receipt.learning.curves[1].arm == "scratch twin"
    assert receipt.learning.saved.over == "scratch twin"
    assert not any("was not measured" in note for note in receipt.notes)
    assert (receipt.verdict == "helped") == (receipt.gains[0].low > 0)
    document = found.json()
    assert document["gain"]["over"] == "scratch twin"
    assert document["proof"] == "full"

    some, every = seen  # as long as was good on some of the training rows, on all of them
    assert some.like is None
    assert every.like is not None
    assert set(some.split.train) | set(some.split.validation) == set(every.split.train)
    assert some.seconds == every.seconds == 0.5

    monkeypatch.setattr(scratch.Scratch, "run", None)
    monkeypatch.setattr(twin, "seconds_for", lambda arms, spent: 0.5)
    again = headstart.fit(topics_csv, out=tmp_path / "two", **FULL).receipt
    assert again.gains[0] == receipt.gains[0]


def test_a_twin_that_cannot_be_trained_is_not_invented(topics_csv, tmp_path, monkeypatch):
    def diverge(self, context):
        raise Diverged("the loss left the finite numbers")

    monkeypatch.setattr(scratch.Scratch, "run", diverge)
    receipt = headstart.fit(topics_csv, out=tmp_path / "run", seed=11, **FULL).receipt
    assert receipt.scratch_twin == "not measured: the loss left the finite numbers"
    assert receipt.gains[0].over == "classical baseline"
    assert receipt.not_measured == ("the same model trained from scratch",)
    assert any("was not measured" in note for note in receipt.notes)


@pytest.mark.parametrize("proof", ["quick", "off"])
def test_what_is_left_out_is_said(topics_csv, tmp_path, proof, monkeypatch):
    monkeypatch.setattr(scratch.Scratch, "run", None)
    found = headstart.fit(topics_csv, out=tmp_path / "run", **{**FULL, "proof": proof})
    receipt = found.receipt
    assert "the same model trained from scratch" in receipt.not_measured
    assert receipt.proof == proof
    if proof == "off":
        assert receipt.gains == ()
        assert "Nothing was proved" in receipt.sentence
        assert all(arm.test == {"n": 0} for arm in receipt.arms)
        assert len(receipt.targets) == 0
        assert found.json()["gain"] is None
        assert found.model.predict(["the soup needs salt"]) == ["cooking"]
    else:
        assert receipt.gains[0].over == "classical baseline"
        assert "cross-validation" in receipt.gains[0].on
