"""The embedding engine: rows depend on their example only, and are computed once."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from headstart import features, runtime
from headstart.backbones import Source, build
from headstart.features import Embedder, RowStore, made
from headstart.features import embedder as engine
from headstart.types import Examples, InputSpec, SourceCard


class Words:
    """A pipeline that hashes words to token numbers; batches of equal length, as the real one."""

    fingerprint = "words"

    def parts(self, inputs):
        lengths = np.array([len(text.split()) for text in inputs])
        for length in np.unique(lengths):
            part = np.flatnonzero(lengths == length)
            ids = [
                [int(hashlib.sha256(word.encode()).hexdigest(), 16) % 50 for word in inputs[i].split()] for i in part
            ]
            batch = {"ids": torch.tensor(ids).reshape(len(part), length), "mask": None}
            yield part, partial(dict, batch)


class Counting:
    """A backbone's tensors, counting how often they are read."""

    def __init__(self):
        torch.manual_seed(0)
        state = build({"family": "static", "tokens": 50, "dim": 8}).model.state_dict()
        self.state = {name: tensor.numpy() for name, tensor in state.items()}
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return self.state


def make_source(tensors, **facts):
    card = {
        "name": "tiny",
        "title": "Tiny",
        "modality": "text",
        "provider": "test",
        "parameters": 400,
        "dim": 8,
        "layers": ("last",),
        "input": InputSpec(max_tokens=9),
        "trained_on": "nothing",
        "licence": "MIT",
        "weights_sha256": "0" * 64,
        "architecture": {"family": "static", "tokens": 50, "dim": 8},
    }
    return Source(SourceCard(**{**card, **facts}), tensors)


def table(texts):
    digests = tuple(hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts)
    return Examples(
        "text", tuple(texts), tuple(f"row {i}" for i in range(len(texts))), digests, np.zeros(len(texts), np.int64)
    )


TEXTS = ["a b c", "d", "e f", "a b c", "g h i", "j k"]


@pytest.fixture
def tensors():
    return Counting()


def expected(tensors, text):
    (_, batch), *_ = map(made, Words().parts([text]))
    return tensors.state["embedding.weight"][batch["ids"][0].numpy()].mean(0)


def embedder(cache, seen=None):
    return Embedder(lambda _source: Words(), cache, None if seen is None else lambda *step: seen.append(step))


def test_rows_come_in_the_order_asked_for(tmp_path, tensors):
    rows = np.array([5, 0, 3, 1, 5])
    found = embedder(tmp_path).embed(make_source(tensors), table(TEXTS), rows)["last"]
    assert found.shape == (5, 8)
    assert found.dtype == np.float32
    for row, vector in zip(rows, found, strict=True):
        np.testing.assert_allclose(vector, expected(tensors, TEXTS[row]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cached", [True, False])
def test_equal_contents_are_computed_once_and_never_again(tmp_path, tensors, cached):
    seen = []
    one = embedder(tmp_path if cached else None, seen)
    first = one.embed(make_source(tensors), table(TEXTS), np.arange(6))["last"]
    assert seen[-1][1:] == (5, 5)
    again = one.embed(make_source(tensors), table(TEXTS[::-1]), np.arange(6))["last"]
    np.testing.assert_array_equal(again[::-1], first)
    assert sum(done == total for _, done, total in seen) == 1


def test_a_warm_cache_serves_another_process_without_the_weights(tmp_path, tensors):
    first = embedder(tmp_path).embed(make_source(tensors), table(TEXTS), np.arange(6))["last"]
    reads = tensors.reads
    again = embedder(tmp_path).embed(make_source(tensors), table(TEXTS), np.arange(6))["last"]
    np.testing.assert_array_equal(again, first)
    assert tensors.reads == reads


@pytest.mark.parametrize(
    "facts",
    [
        {"weights_sha256": "1" * 64},
        {"layers": ("last", "mean")},
        {"architecture": {"family": "static", "tokens": 50, "dim": 8, "x": 1}},
    ],
)
def test_the_key_holds_what_decides_the_value(tmp_path, tensors, facts):
    one = embedder(tmp_path)
    spaces = {one._space(make_source(tensors, **changed), Words(), "float32") for changed in ({}, facts)}
    spaces.add(one._space(make_source(tensors), Words(), "bfloat16"))
    other = Words()
    other.fingerprint = "words, but cut"
    spaces.add(one._space(make_source(tensors), other, "float32"))
    assert len(spaces) == 4


def test_a_damaged_shard_is_dropped_and_computed_again(tmp_path, tensors):
    first = embedder(tmp_path).embed(make_source(tensors), table(TEXTS), np.arange(6))["last"]
    (shard,) = (tmp_path / "embeddings").rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:100])
    again = embedder(tmp_path).embed(make_source(tensors), table(TEXTS), np.arange(6))["last"]
    np.testing.assert_array_equal(again, first)


def test_a_stopped_job_goes_on_after_its_last_shard(tmp_path, tensors, monkeypatch):
    monkeypatch.setattr(engine, "SHARD_ROWS", 2)

    def stop(_what, done, _total):
        if done >= 4:
            raise KeyboardInterrupt

    texts = [f"w{i} " + "x " * i for i in range(6)]
    with pytest.raises(KeyboardInterrupt):
        Embedder(lambda _s: Words(), tmp_path, stop).embed(make_source(tensors), table(texts), np.arange(6))
    seen = []
    found = embedder(tmp_path, seen).embed(make_source(tensors), table(texts), np.arange(6))["last"]
    assert seen[-1][1:] == (4, 4)
    whole = embedder(None).embed(make_source(tensors), table(texts), np.arange(6))["last"]
    np.testing.assert_array_equal(found, whole)


def test_a_killed_job_goes_on_after_its_last_shard(tmp_path):
    """SIGKILL: nothing of the process runs after it."""
    script = f"""
import importlib.util, os, signal
import numpy as np
spec = importlib.util.spec_from_file_location("table", {__file__!r})
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)
from pathlib import Path
table.engine.SHARD_ROWS = 2
def kill(_what, done, _total):
    if done >= 5:
        os.kill(os.getpid(), signal.SIGKILL)
texts = [f"w{{i}} " + "x " * i for i in range(6)]
embedder = table.Embedder(lambda _s: table.Words(), Path({str(tmp_path)!r}), kill)
embedder.embed(table.make_source(table.Counting()), table.table(texts), np.arange(6))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    seen, texts, tensors = [], [f"w{i} " + "x " * i for i in range(6)], Counting()
    found = embedder(tmp_path, seen).embed(make_source(tensors), table(texts), np.arange(6))["last"]
    assert seen[-1][1:] == (2, 2), "four rows were on disk"
    whole = embedder(None).embed(make_source(tensors), table(texts), np.arange(6))["last"]
    np.testing.assert_array_equal(found, whole)


def test_many_rows_are_gathered_in_a_mapped_file(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.features.rows.LARGE", 100)
    store, values = RowStore(tmp_path), np.arange(80, dtype=np.float32).reshape(10, 8)
    names = [f"{number:032x}" for number in range(10)]
    store.append(names, {"last": values})
    found = store.read(names[::-1])["last"]
    np.testing.assert_array_equal(found, values[::-1])
    assert type(found) is np.ndarray
    assert isinstance(found.base, np.memmap)
    assert not isinstance(store.read(names[:2])["last"].base, np.memmap)


def test_row_store_keeps_the_first_value_of_a_digest(tmp_path):
    store = RowStore(tmp_path)
    store.append(["00" * 16], {"last": np.zeros((1, 2), np.float32)})
    store.append(["00" * 16, "11" * 16], {"last": np.ones((2, 2), np.float32)})
    for one in (store, RowStore(tmp_path)):
        np.testing.assert_array_equal(one.read(["11" * 16, "00" * 16])["last"], [[1, 1], [0, 0]])
        assert "22" * 16 not in one


@pytest.mark.parametrize(
    ("fast", "multiplies", "parity", "expected"),
    [
        (True, True, 0.9, "bfloat16"),
        (True, True, 1.1, "float32"),
        (True, False, 0.9, "float32"),
        (False, True, 0.9, "float32"),
    ],
)
def test_the_precision_is_the_fast_one_only_where_it_is_as_good(
    tmp_path, tensors, monkeypatch, fast, multiplies, parity, expected
):
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda: fast)
    monkeypatch.setattr(engine, "PARITY", parity)
    monkeypatch.setattr("headstart.backbones.static.Static.multiplies", multiplies)
    assert embedder(tmp_path).precision(make_source(tensors), table(TEXTS), np.arange(6)) == expected
    reads = tensors.reads
    assert embedder(tmp_path).precision(make_source(tensors), table(TEXTS), np.arange(6)) == expected
    assert tensors.reads == reads


def test_the_way_is_recorded_and_holds_for_what_was_tuned(tmp_path, tensors, monkeypatch):
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda: True)
    monkeypatch.setattr("headstart.backbones.static.Static.multiplies", True)
    one = embedder(tmp_path)
    assert one.precision(make_source(tensors), table(TEXTS), np.arange(6)) == "bfloat16"
    assert one.ways["tiny"]["cosine"] > 0.999
    assert json.loads(next((tmp_path / "ways").glob("*.json")).read_text()) == one.ways["tiny"]
    reads = tensors.reads
    tuned = make_source(tensors).tuned({"embedding.weight": tensors.state["embedding.weight"] + 1})
    assert one.precision(tuned, table(TEXTS), np.arange(6)) == "bfloat16"
    assert tensors.reads == reads


def test_rows_on_disk_are_not_held_in_memory(tmp_path):
    store, width, shards = RowStore(tmp_path), 4096, 6
    names = [f"{number:032x}" for number in range(shards * 1024)]
    for start in range(0, len(names), 1024):
        values = np.full((1024, width), start, np.float32)
        store.append(names[start : start + 1024], {"last": values, "mean": -values})
    del values
    tracemalloc.start()
    again = RowStore(tmp_path)
    rows = again.read([names[5000], names[0], names[1024]])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(rows["mean"][:, 0], [-4096, 0, -1024])
    assert most < 2 * 1024 * width, "less than one of the twelve arrays of 16 MB"


@pytest.mark.parametrize(("name", "kind"), [("efficientnet-lite0", "image"), ("all-minilm-l6-v2", "text")])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_embedding_does_not_depend_on_its_batch(name, kind, precision, monkeypatch):
    """Bit for bit: what makes the cache, subsamples and resuming agree with each other."""
    from PIL import Image

    from headstart import sources
    from headstart.modalities import pipeline_of

    runtime.use_threads()
    source = sources.resolve(name)
    rng = np.random.default_rng(0)
    if kind == "image":
        source = source.with_input(replace(source.card.input, size=64))
        inputs = [Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)) for _ in range(35)]
    else:
        words = ["where", "is", "my", "card", "and", "why", "was", "the", "payment", "refused"]
        inputs = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(40)]
    backbone, pipeline = source.backbone(), pipeline_of(source)

    def run(part):
        found = np.empty((len(part), source.card.dim), np.float32)
        for positions, layers in features.run_backbone(backbone, pipeline.parts(part), "cpu", precision):
            found[positions] = layers["last"]
        return found

    whole = run(inputs)
    for start, stop in ((0, 1), (3, 5), (7, 16), (34, 35)):
        np.testing.assert_array_equal(run(inputs[start:stop]), whole[start:stop])
    monkeypatch.setattr(runtime, "thread_count", lambda: 5)
    np.testing.assert_array_equal(run(inputs), whole, "nor on the number of threads")


def test_bfloat16_is_as_good_on_smooth_images():
    """Small images enlarged: what their neighbouring pixels differ by is little beside what they are."""
    from PIL import Image

    from headstart import sources
    from headstart.modalities import pipeline_of

    source = sources.resolve("efficientnet-lite2")
    source = source.with_input(replace(source.card.input, size=96))
    rng = np.random.default_rng(0)
    inputs = [Image.fromarray(rng.integers(60, 190, (6, 6, 3), dtype=np.uint8)).resize((96, 96)) for _ in range(8)]
    rows = []
    for precision in ("float32", "bfloat16"):
        parts = pipeline_of(source).parts(inputs)
        ((_, layers),) = features.run_backbone(source.backbone(), parts, "cpu", precision)
        rows.append(layers["last"])
    assert engine._cosines(*rows).mean() > engine.PARITY
