"""What is done with a bundle, good or bad."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "n"}


def test_texts_are_predicted(text_run: Path, run: Any) -> None:
    given = ("butter burns in the pan", "the keeper saw a foul")
    rows = run("predict", text_run / "bundle", *given, "--json").document
    assert [row["input"] for row in rows] == list(given)
    assert [row["label"] for row in rows] == ["cooking", "football"]
    for row in rows:
        assert set(row) == {"input", "label", "probabilities", "set"}
        assert row["label"] in row["set"]
        assert set(row["set"]) <= set(row["probabilities"])
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert max(row["probabilities"], key=row["probabilities"].get) == row["label"]
    lines = run("predict", text_run / "bundle", *given).out.splitlines()
    assert lines[0].split() == ["prediction", "most", "likely", "input"]
    assert lines[1].startswith("cooking ")
    assert lines[1].endswith(given[0])


def test_texts_come_from_tables_and_the_standard_input(
    text_run: Path, texts: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = run("predict", text_run / "bundle", texts, "--json").document
    assert [row["input"] for row in rows] == [f"row {number}" for number in range(1, 41)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("the striker scored\n\nrice wants water\n"))
    rows = run("predict", text_run / "bundle", "-", "--json").document
    assert [row["input"] for row in rows] == ["line 1", "line 3", "line 2"]
    assert rows[2] == {"input": "line 2", "error": "empty text"}


@pytest.mark.parametrize("name", ["picture.png", "notes.txt"])
def test_a_file_of_another_kind_is_not_taken_for_a_text(name: str, text_run: Path, tmp_path: Path, run: Any) -> None:
    if name == "picture.png":
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    ran = run("predict", text_run / "bundle", tmp_path / name)
    assert ran.code == 3
    assert str(tmp_path / name) in ran.err


def test_a_corrupt_picture_among_good_ones_is_listed(broken_photos: Path, photo_run: Path, run: Any) -> None:
    given = [broken_photos / "red" / name for name in ("0.png", "half.png", "1.png")]
    ran = run("predict", photo_run / "bundle", *given, "--json")
    assert ran.code == 0
    good, bad = ran.document[:2], ran.document[2]
    assert [row["input"] for row in good] == [str(given[0]), str(given[2])]
    assert [row["label"] for row in good] == ["red", "red"]
    assert set(bad) == {"input", "error"}
    assert bad["input"] == str(given[1])
    assert f"not predicted: {given[1]}: {bad['error']}" in run("predict", photo_run / "bundle", *given).out


def test_corrupt_pictures_alone_are_an_error(broken_photos: Path, photo_run: Path, run: Any) -> None:
    given = [broken_photos / "red" / name for name in ("empty.png", "half.png")]
    ran = run("predict", photo_run / "bundle", *given, "--json")
    assert ran.code == 3
    assert all(str(path) in ran.document["error"]["message"] for path in given)


def test_bundles_are_measured(
    text_run: Path, texts: Path, tmp_path: Path, run: Any, write_csv: Any, topics: Any
) -> None:
    found = run("evaluate", text_run / "bundle", texts, "--json").document
    assert set(found["test"]) == METRICS
    assert found["test"]["n"] == 40
    assert found["excluded"] == []
    assert run("evaluate", text_run / "bundle", texts).out.splitlines()[-1].split() == ["n", "40"]
    strange = write_csv(tmp_path / "strange.csv", [("text", "label"), ("a law", "politics"), *topics])
    ran = run("evaluate", text_run / "bundle", strange)
    assert ran.code == 3
    assert "labels that the model does not know: 'politics'" in ran.err


def test_bundles_are_verified_and_inspected(text_run: Path, run: Any) -> None:
    found = run("verify", text_run / "bundle", "--json").document
    assert found["verified"] is True
    assert found["largest_difference"] <= 1e-3
    assert run("verify", text_run / "bundle").out.startswith("verified: ")
    facts = run("inspect", text_run / "bundle", "--json").document
    assert facts["labels"] == ["cooking", "football"]
    assert facts["source"]["name"] == "wordllama"
    assert "cooking, football" in run("inspect", text_run / "bundle").out


def missing(bundle: Path) -> None:
    shutil.rmtree(bundle)


def emptied(bundle: Path) -> None:
    missing(bundle)
    bundle.mkdir()


def flipped(bundle: Path) -> None:
    content = bytearray((bundle / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "model.safetensors").write_bytes(content)


def stuffed(bundle: Path) -> None:
    (bundle / "model.py").write_text("raise SystemExit('executed')")


def garbled(bundle: Path) -> None:
    (bundle / "config.json").write_text('{"problem": "classification", "problem": "regression"}')


@pytest.mark.parametrize("harm", [missing, emptied, flipped, stuffed, garbled])
def test_a_bad_bundle_is_refused_by_every_command(
    harm: Callable[[Path], None], text_run: Path, texts: Path, tmp_path: Path, run: Any
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(text_run / "bundle", bundle)
    harm(bundle)
    for command in (("predict", bundle, "hello"), ("evaluate", bundle, texts), ("inspect", bundle), ("verify", bundle)):
        ran = run(*command, "--json")
        assert (ran.code, ran.document["error"]["kind"]) == (4, "BundleRefused"), command[0]
        assert ran.err.count("\n") == 1
