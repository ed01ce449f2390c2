"""The ledger of a fit: what started where, what adapting changed, and that the bundle holds just that."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import headstart
from headstart import initialization, sources
from headstart.initialization.rules.labels import shared_rows
from headstart.store import read_step, remember, sha256_array
from headstart.types import Arm, LinearHead, Predictions, Task

TASK = Task("classification", "text", ("bread", "rain", "wind"), "accuracy")


@pytest.fixture(scope="module")
def source():
    return sources.resolve("all-minilm-l6-v2")


@pytest.fixture(scope="module")
def begun(source):
    return initialization.begin(TASK, source, remember)


def arm(source, **tensors):
    head = LinearHead("ridge", np.ones((3, 384), np.float32), np.zeros(3, np.float32))
    names = {name.replace("__", "."): value for name, value in tensors.items()}
    return Arm("arm", source.name, "full", 0, 0.0, "last", head, Predictions((), np.zeros((0, 3))), names)


def test_what_the_backbone_does_without_is_told(source, begun):
    assert source.unused
    assert {row.tensor: row.reason for row in begun.unused} == dict(source.unused)


def test_a_tensor_that_has_another_name_in_the_files_is_told(source):
    first, *_ = source.tensors()
    renamed = dataclasses.replace(source, origins={first: f"bert.{first}"})
    row = next(iter(initialization.begin(TASK, renamed, lambda _, function, *inputs: function(*inputs))))
    assert (row.rule, row.sources) == ("renamed", (f"bert.{first}",))
    assert row.reason == f"bert.{first} in {source.name}, same shape"


def test_every_tensor_of_the_target_starts_somewhere(source, begun):
    weights = source.tensors()
    assert [row.tensor for row in begun.target] == [*(f"backbone.{n}" for n in weights), "head.weight", "head.bias"]
    assert {row.status for row in begun if row.tensor.startswith("head.")} == {"fresh"}
    assert begun.used == set(weights)
    assert begun.share("copied") + begun.share("fresh") == pytest.approx(1)
    assert begun.share("fresh") == pytest.approx(3 * 385 / begun.parameters)


def test_a_source_is_read_and_hashed_once(source, begun, monkeypatch):
    monkeypatch.setattr(type(source), "tensors", property(lambda self: pytest.fail("read again")), raising=False)
    assert initialization.begin(TASK, source, remember) == begun


def test_a_tuned_arm_is_told_as_tuned_and_what_it_left_alone_as_frozen(source, begun):
    weights = source.tensors()
    names = ["encoder.layer.5.output.dense.weight", "encoder.layer.4.output.dense.weight"]
    changed = {names[0]: weights[names[0]] + 1, names[1]: weights[names[1]].copy()}
    ledger = initialization.finish(begun, arm(source, **changed))
    rows = {row.tensor: row for row in ledger}
    tuned, same = rows[f"backbone.{names[0]}"], rows[f"backbone.{names[1]}"]
    assert (tuned.status, tuned.frozen, tuned.sha256) == ("copied", False, sha256_array(changed[names[0]]))
    assert "tuned on the training rows by full" in tuned.reason
    assert (same.frozen, same.reason) == (True, f"same name and shape in {source.name}")
    assert not rows["head.weight"].frozen
    assert ledger.unused == begun.unused
    assert "fitted to the training rows by the ridge head" in rows["head.weight"].reason
    trained = tuned.parameters + 3 * 385
    assert ledger.share("frozen") == pytest.approx(1 - trained / ledger.parameters)


def test_the_bundle_holds_what_its_ledger_says(topics_csv, tmp_path):
    found = headstart.fit(topics_csv, out=tmp_path / "run", source="wordllama")
    told = found.ledger
    document = json.loads((found.bundle / "ledger.json").read_text())
    assert [(row["tensor"], row["status"], row["sha256"]) for row in document["rows"]] == [
        (row.tensor, row.status, row.sha256) for row in told
    ]
    tensors = load_file(found.bundle / "model.safetensors")
    hashes = {name: sha256_array(value) for name, value in tensors.items()}
    assert {row.tensor: row.sha256 for row in told.target} == hashes
    assert [row.tensor for row in read_step(found.run, "initialize")] == [row.tensor for row in told]
    assert told.share("frozen") == told.share("copied")
    page = found.report.read_text("utf-8")
    assert all(row.sha256 in page for row in told)
    assert told.summary.partition(" copied")[0] in (found.bundle / "README.md").read_text()


def test_what_the_source_leaves_out_is_told_with_its_reason():
    lite = sources.resolve("efficientnet-lite0")
    task = Task("classification", "image", ("goldfish", "great-white-shark", "zeppelin of mine"), "accuracy")
    ledger = initialization.begin(task, lite, remember)
    assert {row.tensor: row.reason for row in ledger.unused} == dict(lite.unused)
    assert {row.rule for row in ledger.unused} == {"source"}
    known = len(shared_rows(lite.head().classes, task.labels))
    assert known >= 1
    assert f"knows {known} of these classes" in ledger.target[-1].reason
