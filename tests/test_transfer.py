"""The whole job: honest, deterministic, resumable."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart
from headstart import adapt, exhibition, store, transfer
from headstart.audit import pictures
from headstart.errors import DataError, UsageError
from headstart.exporters import bundle as bundles
from headstart.store import fingerprint, read_step

FAST = {"source": "wordllama", "proof": "off"}


def weights(run: Path) -> str:
    return bundles.read(run / "bundle").manifest["files"]["model.safetensors"]["sha256"]


def with_split(table: Path, out: Path) -> Path:
    """The table with every fourth row named test."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "split"])
        writer.writerows([r["text"], r["label"], "test" if i % 4 == 0 else "train"] for i, r in enumerate(rows))
    return out


def test_texts_to_a_bundle_that_predicts(topics_csv, tmp_path):
    found = headstart.fit(topics_csv, out=tmp_path / "run")
    assert {row.source for row in found.ranking.rows} >= {"all-minilm-l6-v2", "wordllama"}
    assert found.verdict in {"helped", "no evidence", "negative transfer"}
    assert found.model.predict(["the striker was offside and the referee saw it"]) == ["football"]
    assert found.model.verify() < 1e-4
    assert found.report.read_text("utf-8").startswith("<!DOCTYPE html>")
    test = next(arm for arm in found.receipt.arms if arm.name == found.receipt.chosen)
    again = found.model.logits(_texts(topics_csv, test.predictions.ids))
    np.testing.assert_allclose(again, test.predictions.logits, rtol=1e-3, atol=1e-3)


def _texts(table: Path, ids: tuple[str, ...]) -> list[str]:
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [row["text"] for row in csv.DictReader(stream)]
    return [rows[int(name.removeprefix("row ")) - 1] for name in ids]


def test_images_to_a_bundle_that_predicts(photo_folder, tmp_path, monkeypatch):
    (photo_folder / "disc" / "broken.png").write_bytes(b"no image")
    found = headstart.fit(photo_folder, out=tmp_path / "run", source="efficientnet-lite0")
    assert [one.id for one in found.excluded] == ["disc/broken.png"]
    assert found.receipt.arms[0].test["accuracy"] > 0.8
    assert found.model.predict([photo_folder / "square" / "square03.png"]) == ["square"]
    assert found.model.source.card.input.size == 160
    assert found.model.verify() < 1e-3
    # Another run on the same rows looks at no pixel again.
    monkeypatch.setattr(pictures, "thumbnails", None)
    monkeypatch.setattr(exhibition, "picture_heat", None)
    again = headstart.fit(photo_folder, out=tmp_path / "again", source="efficientnet-lite0")
    assert read_step(again.run, "audit") == read_step(found.run, "audit")
    assert read_step(again.run, "exhibit").examples == read_step(found.run, "exhibit").examples


def test_a_tuned_source_ships_and_predicts_as_it_was_proved(topics_csv, tmp_path):
    settings = {**FAST, "method": "full", "budget": 5, "proof": "quick"}
    found = headstart.fit(topics_csv, out=tmp_path / "run", **settings)
    (arm,) = read_step(found.run, "adapt")
    assert arm.tensors
    assert arm.details["rows"] == len(read_step(found.run, "split").train) > len(arm.validation.ids)
    assert found.model.verify() < 1e-3
    test = next(one for one in found.receipt.arms if one.name == found.receipt.chosen)
    again = found.model.logits(_texts(topics_csv, test.predictions.ids))
    np.testing.assert_allclose(again, test.predictions.logits, rtol=1e-2, atol=1e-2)


def test_nothing_that_is_chosen_depends_on_the_test_labels(topics_csv, tmp_path):
    """The labels of the test rows are shuffled: ranking, arms and the shipped weights stay the same bits."""
    honest = with_split(topics_csv, tmp_path / "honest.csv")
    with honest.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels = [row["label"] for row in rows if row["split"] == "test"]
    random.Random(3).shuffle(labels)
    shuffled = tmp_path / "shuffled.csv"
    with shuffled.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "label", "split"])
        writer.writeheader()
        writer.writerows({**row, "label": labels.pop()} if row["split"] == "test" else row for row in rows)
    found = [headstart.fit(path, out=tmp_path / path.stem) for path in (honest, shuffled)]
    rankings = [[replace(row, seconds=0.0) for row in one.ranking.rows] for one in found]
    arms = [[fingerprint(replace(arm, seconds=0.0)) for arm in read_step(one.run, "adapt")] for one in found]
    assert rankings[0] == rankings[1]
    assert arms[0] == arms[1]
    assert weights(found[0].run) == weights(found[1].run)
    assert found[0].receipt.arms[0].test["accuracy"] > found[1].receipt.arms[0].test["accuracy"]


def test_the_same_seed_gives_the_same_weights_with_and_without_a_cache(topics_csv, tmp_path, monkeypatch):
    shas = set()
    for name in ("one", "two", "three"):
        if name != "two":
            monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / f"cache-{name}"))
        shas.add(weights(headstart.fit(topics_csv, out=tmp_path / name, seed=5, source="all-minilm-l6-v2").run))
    assert len(shas) == 1
    other = headstart.fit(topics_csv, out=tmp_path / "other", seed=6, source="all-minilm-l6-v2").run
    assert weights(other) not in shas


def test_finished_steps_are_reused_and_changed_ones_are_not(topics_csv, tmp_path, monkeypatch):
    first = headstart.fit(topics_csv, out=tmp_path / "run", **FAST)
    monkeypatch.setattr(adapt, "METHODS", dict.fromkeys(adapt.METHODS))
    again = headstart.fit(topics_csv, out=tmp_path / "run", **FAST)
    assert {**again.json(), "seconds": 0} == {**first.json(), "seconds": 0}
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        headstart.fit(topics_csv, out=tmp_path / "run", seed=1, **FAST)


def test_a_removed_bundle_is_shipped_again(topics_csv, tmp_path):
    import shutil

    first = headstart.fit(topics_csv, out=tmp_path / "run", **FAST)
    sha = weights(first.run)
    shutil.rmtree(first.bundle)
    assert weights(headstart.fit(topics_csv, out=tmp_path / "run", **FAST).run) == sha


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "no-such"}, "unknown source 'no-such'"),
        ({"method": "no-such"}, "unknown method 'no-such'"),
        ({"metric": "no-such"}, "no-such"),
        ({"metric": "rmse"}, "rmse"),
        ({"source": "efficientnet-lite0"}, "is for images"),
    ],
)
def test_a_refused_setting_leaves_no_run_behind(topics_csv, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        headstart.fit(topics_csv, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_missing_file_leaves_no_run_behind(tmp_path):
    with pytest.raises(DataError):
        headstart.fit(tmp_path / "nothing.csv", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pair_of_lists_is_data_too(tmp_path):
    texts = [f"{word} number {i}" for i in range(12) for word in ("cheese", "engine")]
    labels = ["food", "car"] * 12
    found = headstart.fit((texts, labels), out=tmp_path / "run", **FAST)
    assert found.model.predict(["a motor with cylinders"]) == ["car"]
    assert headstart.rank((texts, labels), **FAST).chosen == "wordllama"
    assert len(texts) == 24


def test_a_small_budget_ends_the_ranking_early_and_says_so(topics_csv, tmp_path):
    ranking = headstart.rank(topics_csv, budget=1e-6)
    assert ranking.rows[-1].error == "not tried: a quarter of the budget of 0 s was used by smaller sources"
    assert ranking.chosen == "wordllama"


def start(data: Path, out: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "headstart",
        "fit",
        str(data),
        "--out",
        str(out),
        "--source",
        "wordllama",
        "--quiet",
    ]
    source = str(Path(headstart.__file__).parents[1])
    environment = {**os.environ, "HEADSTART_CACHE": str(cache), "PYTHONPATH": source}
    return subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> dict:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


def test_a_killed_fit_goes_on_to_the_same_weights(topics_csv, tmp_path):
    """SIGKILL at moments spread over the run; the same command then finishes, bit for bit."""
    whole = finish(start(topics_csv, tmp_path / "whole", tmp_path / "cache"))
    lasted = 4.0
    for number, share in enumerate((0.35, 0.55, 0.7, 0.85)):
        run, cache = tmp_path / f"run{number}", tmp_path / f"cache{number}"
        process = start(topics_csv, run, cache)
        time.sleep(lasted * share)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        begin = time.perf_counter()
        again = finish(start(topics_csv, run, cache))
        lasted = max(2.0, time.perf_counter() - begin)
        assert again["test"] == whole["test"]
        assert weights(run) == weights(tmp_path / "whole")
        assert not list(run.rglob("*.tmp"))


@pytest.mark.parametrize("after", range(0, 14, 2))
def test_a_fit_that_dies_inside_a_write_goes_on(topics_csv, tmp_path, monkeypatch, after):
    """The process ends before, or instead of, the n-th rename of a file into place."""
    expected = weights(headstart.fit(topics_csv, out=tmp_path / "whole", **FAST).run)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    original, left = Path.replace, [after]

    class Died(BaseException):
        pass

    def dying(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return original(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    with contextlib.suppress(Died):
        headstart.fit(topics_csv, out=tmp_path / "run", **FAST)
    monkeypatch.setattr(Path, "replace", original)
    assert weights(headstart.fit(topics_csv, out=tmp_path / "run", **FAST).run) == expected


def test_run_folders_hold_no_pickle(topics_csv, tmp_path):
    run = headstart.fit(topics_csv, out=tmp_path / "run", **FAST).run
    kinds = {path.suffix for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert kinds <= {".json", ".safetensors", ".html", ".md"}
    assert store.read_step(run, "prove").targets is not None


def test_names_of_runs_come_from_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert transfer.name_of("a b/ü&x.csv") == "ü-x"
    assert transfer.name_of(Path("photos/")) == "photos"
    assert transfer.name_of(([], [])) == "examples"
