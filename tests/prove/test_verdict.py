import pytest

from headstart.prove import verdict
from headstart.types import Gain

TFIDF = "TF-IDF + logistic regression"


def gain(value, over="classical baseline", ours=0.8, reach=0.06, on="200 test rows"):
    return Gain(
        over, "accuracy", value, value - reach, value + reach, 0.95, "a test", None, None, on, ours, ours - value
    )


BETTER, SAME, WORSE = 0.10, 0.01, -0.10
SCRATCH = {"helped": 0.30, "no evidence": 0.0, "negative transfer": -0.20}


@pytest.mark.parametrize(
    ("value", "word"), [(BETTER, "helped"), (SAME, "no evidence"), (WORSE, "negative transfer"), (None, "no evidence")]
)
def test_the_interval_decides(value, word):
    assert verdict.call(None if value is None else gain(value)) == word


def test_an_interval_that_ends_at_zero_is_no_evidence():
    assert verdict.call(gain(0.06, reach=0.06)) == "no evidence"


@pytest.mark.parametrize(
    ("word", "value", "begins", "says"),
    [
        ("helped", BETTER, "Transfer helped: accuracy 0.80 against 0.50 for the same model", "better than TF-IDF"),
        ("helped", SAME, "Transfer helped", "not measurably better than TF-IDF"),
        ("helped", WORSE, "You would be better served by TF-IDF", "Transfer did help this model: accuracy 0.80"),
        ("no evidence", BETTER, "No evidence that transfer helped", "It is better than TF-IDF"),
        ("no evidence", SAME, "No evidence that transfer helped", "not measurably better than TF-IDF"),
        ("no evidence", WORSE, "You would be better served by TF-IDF", "No evidence that transfer helped"),
        ("negative transfer", BETTER, "Negative transfer: the same model trained from scratch", "by training from scr"),
        (
            "negative transfer",
            SAME,
            "Negative transfer: the same model trained from scratch",
            "by training from scratch",
        ),
        ("negative transfer", WORSE, "You would be better served by TF-IDF", "Negative transfer: the same model"),
    ],
)
def test_scratch_decides_and_a_baseline_that_wins_is_named_first(word, value, begins, says):
    twin = gain(SCRATCH[word], "scratch twin")
    assert verdict.call(twin) == word
    said = verdict.sentence(gain(value), TFIDF, twin)
    assert said.startswith(begins)
    assert says in said
    assert "200 test rows" in said
    assert "95% interval" in said


def test_without_a_twin_the_baseline_decides():
    assert verdict.sentence(gain(WORSE), TFIDF).endswith(f"You would be better served by {TFIDF}.")
    assert "is simpler and did no worse" in verdict.sentence(gain(0.0), TFIDF)
    assert verdict.sentence(gain(BETTER), TFIDF).startswith("Transfer helped: accuracy 0.80 against 0.70 for TF-IDF")


def test_rows_of_a_cross_validation_are_called_what_they_are():
    on = "5-fold cross-validation of 60 rows, repeated 3 times"
    assert f"for {TFIDF} in {on}; gain" in verdict.sentence(gain(BETTER, on=on), TFIDF)
