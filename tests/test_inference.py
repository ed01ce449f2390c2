"""Bundles that predict, and embeddings from Python."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart import adapt, heads, inference
from headstart.errors import BundleRefused, DataError, UsageError
from headstart.exporters import bundle as bundles
from headstart.inference import Model, embed, load, predictions
from headstart.outcome import Silent
from headstart.types import Task

COOKING = ("the soup needs salt", "dough rises overnight", "butter burns fast", "rice wants water", "salt the rice")
FOOTBALL = ("the striker scored", "our keeper saved it", "the referee saw a foul", "they won", "the striker ran")
X = [f"{text} {ending}" for ending in ("today", "again") for text in (*COOKING, *FOOTBALL)]
Y = [label for _ in range(2) for label in ("cooking",) * 5 + ("football",) * 5]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fit = headstart.fit((X, Y), out=tmp_path_factory.mktemp("fit") / "run", source="wordllama")
    return Path(fit.bundle)


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load(bundle)


class Told(Silent):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: list[tuple[str, int, int]] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def progress(self, what: str, done: int, total: int) -> None:
        self.done.append((what, done, total))


def test_a_model_predicts_labels_and_probabilities(model: Model) -> None:
    texts = ["salt and butter", "a foul by the keeper", "rice"]
    assert model.predict(texts) == ["cooking", "football", "cooking"]
    chances = model.predict_proba(texts)
    assert chances.shape == (3, 2)
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-6)
    assert model.labels_of(model.logits(texts)) == model.predict(texts)
    assert model.predict("salt and butter") == ["cooking"]


def test_a_prediction_does_not_depend_on_its_company(model: Model) -> None:
    together = model.logits(X)
    alone = np.concatenate([model.logits([text]) for text in X])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_progress_reaches_the_total(model: Model) -> None:
    told = Told()
    model.logits(X, told.progress)
    assert told.done[-1] == ("predicting", len(X), len(X))
    assert [done for _, done, _ in told.done] == sorted({done for _, done, _ in told.done})


def test_no_inputs_give_no_rows(model: Model) -> None:
    assert model.logits([]).shape == (0, 2)
    assert model.predict([]) == []


def test_predictions_are_records(model: Model, tmp_path: Path) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text("number,text\n1,salt the soup\n2,\n3,the keeper saved\n")
    told = Told()
    first, second, lost = predictions(model, [str(table)], listener=told)
    assert (first["input"], second["input"]) == ("row 1", "row 3")
    assert set(first) == set(second) == {"input", "label", "probabilities", "set"}
    assert list(first["probabilities"]) == ["cooking", "football"]
    assert all(type(value) is float for value in first["probabilities"].values())
    assert lost == {"input": "row 2", "error": "empty text"}
    assert told.said == [f"Reading column 'text' of {table} as the text; set it with --input."]
    assert told.done[-1] == ("predicting", 2, 2)


def test_a_column_can_be_named(model: Model, tmp_path: Path) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text("text,title\nsalt,the striker scored\n")
    (row,) = predictions(model, [str(table)], "title")
    assert row["label"] == "football"
    with pytest.raises(DataError, match="has no column 'headline'"):
        predictions(model, [str(table)], "headline")


def test_nothing_to_predict_for_is_an_error(model: Model) -> None:
    with pytest.raises(DataError, match="none of the 2 examples can be used"):
        predictions(model, ["", "  "])


@dataclasses.dataclass
class Fake:
    """What `predictions` looks at, for problems that no bundle here has."""

    task: Task
    labels_of: Callable[[Any], Any]
    interval: float | None = None

    def logits(self, inputs: list[str], _: object) -> Any:
        return np.array([[float(len(text)), -1.0] for text in inputs], np.float32)

    def sets_of(self, logits: Any) -> None:
        return None


def test_values_and_sets_of_labels_are_records_too(model: Model) -> None:
    several: Any = Fake(Task("multilabel", "text", ("a", "b"), "macro_f1"), lambda logits: [("a",)] * len(logits))
    (row,) = predictions(several, ["four"])
    assert row["label"] == ("a",)
    assert row["probabilities"] == pytest.approx({"a": 1 / (1 + np.exp(-4)), "b": 1 / (1 + np.exp(1))}, rel=1e-5)
    number: Any = Fake(Task("regression", "text", (), "r2"), lambda _: None)
    assert predictions(number, ["four", "seventy"])[1] == {"input": "seventy", "value": 7.0}


def test_a_regression_has_no_probabilities(model: Model) -> None:
    number = copy.copy(model)
    number.task = Task("regression", "text", (), "r2")
    with pytest.raises(DataError, match="use predict"):
        number.predict_proba(["a"])


def test_a_model_is_measured_on_the_test_rows_that_the_data_name(model: Model, tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    rows = [f"{text},{label},{'test' if i < 6 else 'train'}" for i, (text, label) in enumerate(zip(X, Y, strict=True))]
    table.write_text("\n".join(("text,label,split", *rows, ",cooking,test")) + "\n")
    told = Told()
    found = model.evaluate(str(table), told)
    assert found["test"]["n"] == 6
    assert found["excluded"] == [{"id": "row 21", "reason": "empty text"}]
    assert any("'text' as the text and 'label' as the label" in sentence for sentence in told.said)
    assert told.said[-1] == "Measuring on the rows that the data name test."
    assert model.evaluate((X, Y))["test"]["n"] == len(X)


def test_a_label_comes_with_its_set_and_a_value_with_its_interval(model: Model, tmp_path: Path) -> None:
    rows = predictions(model, ["salt and butter", "a foul by the keeper", "the weather"])
    least = model._bundle.config["conformal"]["threshold"]
    for row in rows:
        inside = {label for label, chance in row["probabilities"].items() if chance >= least}
        assert set(row["set"]) == inside | {row["label"]}
        assert row["set"][0] == row["label"]
    texts = [f"{word} {i}" for i in range(20) for word in ("four", "seven")]
    fit = headstart.fit((texts, [4.0, 7.0] * 20), out=tmp_path / "run", source="wordllama", problem="regression")
    (row,) = predictions(fit.model, ["four 3"])
    low, high = row["interval"]
    assert low < row["value"] < high
    assert high - low == pytest.approx(2 * fit.receipt.conformal.threshold)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda logits: logits * 1.01, "differ by 0.0"),
        (lambda logits: logits * np.nan, "differ by nan"),
        (lambda logits: logits[:2], r"have the shape \(2, 2\), the model gives \(4, 2\)"),
    ],
)
def test_verify_repeats_the_golden_predictions(
    change: Callable[[Any], Any], said: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 <= model.verify() <= inference.TOLERANCE
    read = bundles.golden

    def golden(bundle: bundles.Bundle) -> Any:
        found = read(bundle)
        return {**found, "logits": change(found["logits"])}

    monkeypatch.setattr(bundles, "golden", golden)
    with pytest.raises(BundleRefused, match=said):
        model.verify()


def changed(bundle: Path, **changes: Any) -> bundles.Bundle:
    read = bundles.read(bundle)
    return dataclasses.replace(read, config={**read.config, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer": "first"}, "layer 'first' is none of last"),
        ({"dim": 128}, "the bundle's dim is 128, its architecture gives 256"),
        ({"architecture": {"family": "magic"}}, "unknown architecture family 'magic'. Valid: .*static"),
        ({"architecture": {"family": "static", "tokens": 32000, "dim": 128}}, "do not fit its architecture"),
        ({"architecture": {"family": "static", "tokens": 32000, "dim": 128, "code": "x"}}, "architecture"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], said: str, bundle: Path) -> None:
    with pytest.raises(BundleRefused, match=said):
        Model(changed(bundle, **changes))


@pytest.mark.parametrize("method", ["probe", "lpft"])
def test_a_bundle_that_reads_four_layers_predicts_as_it_was_proven(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def joined(layers: dict[str, Any], *given: Any) -> tuple[str, heads.FittedHead]:
        return "last4", heads.best(layers["last4"], *given)

    monkeypatch.setattr(heads, "best_layer", joined)
    monkeypatch.setattr(adapt, "choose", lambda *given: given[2][-1].name)
    fit = headstart.fit((X, Y), out=tmp_path / "run", source="all-minilm-l6-v2", method=method, proof="off", budget=20)
    model = load(fit.bundle)
    rows = json.loads((Path(fit.bundle) / "ledger.json").read_text("utf-8"))["rows"]
    shapes = {row["tensor"]: row["shape"] for row in rows if row["tensor"].startswith("head")}
    assert shapes == {"head.weight": [2, 4 * 384], "head.bias": [2]}
    assert model.verify() <= inference.TOLERANCE
    assert sum(found == label for found, label in zip(model.predict(X), Y, strict=True)) > 0.9 * len(X)


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="nowhere"):
        load(tmp_path / "nowhere")


def test_embeddings_have_the_width_of_the_source_and_no_company() -> None:
    found = embed("wordllama", X)
    assert (found.shape, found.dtype) == ((len(X), 256), np.dtype(np.float32))
    np.testing.assert_array_equal(found[3:4], embed("wordllama", [X[3]], cache=False))
    assert embed("wordllama", []).shape == (0, 256)
    np.testing.assert_array_equal(headstart.embed("wordllama", X, cache=True), found)


def test_the_cache_is_used_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    embed("wordllama", ["one", "two"], cache=False)
    assert not list(tmp_path.rglob("*.safetensors"))
    embed("wordllama", ["one", "two"])
    assert list(tmp_path.rglob("embeddings/**/*.safetensors"))


def test_pictures_are_embedded_from_memory_and_from_files(tmp_path: Path) -> None:
    picture = Image.effect_noise((48, 40), 60).convert("RGB")
    picture.save(tmp_path / "noise.png")
    found = embed("efficientnet-lite0", [picture, tmp_path / "noise.png"])
    assert found.shape == (2, 1280)
    np.testing.assert_array_equal(found[0], found[1])


def test_what_cannot_be_embedded_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'wordllama'"):
        embed("wordlama", ["a"])
    with pytest.raises(DataError, match="1 of 2 examples cannot be used. .*empty text"):
        embed("wordllama", ["a", ""])
