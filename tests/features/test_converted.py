"""OpenVINO's ways: as good as torch's, chosen once, and only where they pay."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from headstart import runtime, sources
from headstart.features import Embedder, run_backbone
from headstart.features import embedder as engine
from headstart.features.converted import Converted
from headstart.modalities import pipeline_of
from headstart.types import Examples

WORDS = ["where", "is", "my", "card", "and", "why", "was", "the", "payment", "refused"]


def case(name):
    """A source, and inputs of its kind."""
    source, rng = sources.resolve(name), np.random.default_rng(0)
    if source.card.modality == "text":
        return source, [" ".join(rng.choice(WORDS, rng.integers(1, 5))) for _ in range(36)]
    source = source.with_input(replace(source.card.input, size=96))
    return source, [
        Image.fromarray(rng.integers(0, 255, (7, 7, 3), dtype=np.uint8)).resize((96, 96)) for _ in range(35)
    ]


def rows(run, source, inputs):
    width = source.backbone().width
    found = {layer: np.empty((len(inputs), width(layer)), np.float32) for layer in source.card.layers}
    for positions, layers in run(pipeline_of(source).parts(inputs)):
        for layer, values in layers.items():
            found[layer][positions] = values
    return found


@pytest.mark.parametrize(
    ("name", "whole"), [("paraphrase-minilm-l3-v2", True), ("efficientnet-lite0", True), ("efficientnet-lite0", False)]
)
def test_converted_sources_give_every_layer_whatever_the_batch(name, whole):
    runtime.use_threads()
    source, inputs = case(name)
    converted = Converted(source, whole)
    found = rows(converted.run, source, inputs)
    exact = rows(lambda batches: run_backbone(source.backbone(), batches, "cpu", "float32"), source, inputs)
    for layer in source.card.layers:
        assert engine._cosines(exact[layer], found[layer]).mean() > (0.99 if whole else 0.999)
        for start, stop in ((0, 1), (3, 5), (33, 35)):
            np.testing.assert_array_equal(
                rows(converted.run, source, inputs[start:stop])[layer], found[layer][start:stop]
            )


def table(texts):
    digests = tuple(hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts)
    return Examples("text", tuple(texts), tuple(texts), digests, np.zeros(len(texts), np.int64))


def test_openvino_is_chosen_once_and_computes_large_tables_only(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda: True)
    monkeypatch.setattr(engine, "FEW", 20)
    monkeypatch.setattr(engine, "RACED", 8)
    seconds = iter([1e9, 1.0])
    monkeypatch.setattr(engine, "_median_seconds", lambda *_: next(seconds))
    source, texts = case("paraphrase-minilm-l3-v2")
    texts = list(dict.fromkeys(texts))
    many, few = table(texts), table(texts[:10])
    pipeline, all_rows = pipeline_of(source), np.arange(len(many))
    one = Embedder(pipeline_of, tmp_path)
    assert one._way(source, many, all_rows, pipeline) == f"openvino {engine._openvino()}"
    assert one.ways[source.name]["pays_from"] == 20
    again = Embedder(pipeline_of, tmp_path)
    assert again._way(source, many, all_rows, pipeline).startswith("openvino"), "remembered: no clock was asked"
    assert again._way(source, few, all_rows[:10], pipeline) == "bfloat16"
    assert Embedder(pipeline_of, None)._way(source, many, all_rows, pipeline) == "bfloat16"
    by_openvino = again.embed(source, many, all_rows)
    by_torch = again.embed(source, many, all_rows, "bfloat16")
    assert engine._cosines(by_openvino["last"], by_torch["last"]).mean() > engine.PARITY
    assert not np.array_equal(by_openvino["last"], by_torch["last"])
    decided = [json.loads(path.read_text("utf-8")) for path in (tmp_path / "ways").glob("*.json")]
    assert sorted(way["precision"] for way in decided) == ["bfloat16", "bfloat16 by OpenVINO"]


@pytest.mark.parametrize("why", ["slow", "unlike", "refused"])
def test_torch_computes_what_openvino_does_not_do_better(tmp_path, monkeypatch, why):
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda: True)
    monkeypatch.setattr(engine, "FEW", 5)
    monkeypatch.setattr(engine, "RACED", 6)
    source, texts = case("paraphrase-minilm-l3-v2")
    many = table(list(dict.fromkeys(texts)))
    one, pipeline, all_rows = Embedder(pipeline_of, tmp_path), pipeline_of(source), np.arange(len(many))
    monkeypatch.setattr(engine, "_median_seconds", lambda *_: 1.0 if why == "slow" else next(seconds))
    seconds = iter([1e9, 1.0])
    assert one.precision(source, many, all_rows, pipeline) == "bfloat16"
    if why == "unlike":
        monkeypatch.setattr(engine, "PARITY", 1.1)
    if why == "refused":

        def refuse(*_):
            raise RuntimeError("no such operation")

        monkeypatch.setattr("headstart.features.converted._model", refuse)
    assert one._way(source, many, all_rows, pipeline) == "bfloat16"
    (decided,) = [way for key, way in one._decided.items() if "pays_from" in way]
    assert decided["pays_from"] is None
    assert {"slow": "1.00 times", "unlike": "1.1 and", "refused": "no such operation"}[why] in decided["why"]
