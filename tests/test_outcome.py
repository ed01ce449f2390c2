"""What a fit gives back, and its one JSON object."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import outcome
from headstart.outcome import Fit, Silent, plain, ranking_json
from headstart.types import ArmResult, Exclusion, Gain, Predictions, RankedSource, Ranking, Receipt

ROWS = Predictions(("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]]))
RANKING = Ranking(
    (RankedSource("good", -0.5, 0.1, {"ridge_loo last": -0.5}, 1.5), RankedSource("bad", None, None, error="broken")),
    "good",
    12,
)


def arm(name: str, source: str) -> ArmResult:
    validation, test = {"r2": math.nan, "n": 2}, {"r2": np.float64(0.5), "n": np.int64(2)}
    return ArmResult(name, source, "probe", 1.0, validation, test, ROWS)


def fit(*gains: Gain, sentence: str = "Transfer helped.") -> Fit:
    receipt = Receipt(
        verdict="helped",
        sentence=sentence,
        chosen="second",
        metric="r2",
        gains=gains,
        arms=(arm("first", "one"), arm("second", "two"), arm("classical baseline", "none")),
        counts={"train": 10, "validation": 0, "test": 2},
        detectable_gain=None,
        scratch_twin="not measured",
        notes=("from the proof",),
        targets=np.array([0, 1]),
    )
    run = Path("runs/<b>")
    excluded = (Exclusion("c", "empty text"),)
    return Fit(run, run / "bundle", run / "report.html", receipt, RANKING, excluded, ("from reading",), {"read": 0.1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((1, (2.5, "x")), [1, [2.5, "x"]]),
        ({1: {"deep": [math.inf]}}, {"1": {"deep": [None]}}),
        (None, None),
        ("text", "text"),
    ],
)
def test_plain_is_strict_json(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_the_document_holds_what_is_promised() -> None:
    gain = Gain("classical baseline", "r2", 0.1, 0.05, math.inf, 0.95, "paired bootstrap")
    document = fit(gain, gain).json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["source"], document["method"], document["verdict"]) == ("two", "probe", "helped")
    assert document["test"] == {"r2": 0.5, "n": 2}
    assert document["bundle"] == "runs/<b>/bundle"
    assert [set(one) for one in document["arms"]] == [{"name", "source", "method", "seconds", "validation", "test"}] * 3
    assert document["arms"][0]["validation"] == {"r2": None, "n": 2}
    assert document["gain"] == document["gains"][0]
    assert document["gain"]["high"] is None
    assert document["excluded"] == [{"id": "c", "reason": "empty text"}]
    assert document["notes"] == ["from reading", "from the proof"]
    assert document["seconds"] == {"read": 0.1}


def test_without_a_proof_there_is_no_gain() -> None:
    assert fit().json()["gain"] is None
    assert fit().json()["gains"] == []


def test_a_ranking_names_failures() -> None:
    good, bad = ranking_json(RANKING)
    assert good["scores"] == {"ridge_loo last": -0.5}
    assert (bad["score"], bad["error"]) == (None, "broken")
    promised = {"source", "score", "standard_error", "scores", "seconds", "error"}
    assert promised <= set(good)
    assert promised <= set(bad)


def test_a_notebook_gets_escaped_words() -> None:
    page = fit(sentence="1 < 2 & <script>")._repr_html_()
    assert "1 &lt; 2 &amp; &lt;script&gt;" in page
    assert "runs/&lt;b&gt;/report.html" in page
    assert "<script" not in page


def test_the_model_is_loaded_from_the_bundle_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("headstart.inference.load", lambda path: opened.append(path) or "model")
    result = fit()
    assert result.verdict == "helped"
    assert (result.model, result.model) == ("model", "model")
    assert opened == [Path("runs/<b>/bundle")]


def test_silence_is_a_listener() -> None:
    nobody: outcome.Listener = Silent()
    nobody.say("a")
    nobody.step("read", None)
    nobody.progress("embedding", 1, 2)
