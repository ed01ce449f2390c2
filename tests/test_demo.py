"""The demo's data are what the installed packages hold, drawn the same way every time."""

from __future__ import annotations

import csv
import errno
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from headstart import demo
from headstart.errors import DataError, MissingExtra, ResourceError, UsageError

PACKAGES = ("elpv_dataset", "chatterbot_corpus", "yaml")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def cell_rows() -> dict[str, tuple[int, str]]:
    """File name -> row number in the package's table, and defect probability."""
    folder = Path(importlib.util.find_spec("elpv_dataset").submodule_search_locations[0])
    rows = [line.split() for line in (folder / "data" / "labels.csv").read_text("utf-8").splitlines()]
    return {Path(file).name: (number, probability) for number, (file, probability, _) in enumerate(rows)}


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))


def fake_package(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    found, fake = importlib.util.find_spec, SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: fake if asked == name else found(asked))


def corpus(monkeypatch: pytest.MonkeyPatch, folder: Path, topics: dict[str, list[str]]) -> None:
    english = folder / "package" / "data" / "english"
    english.mkdir(parents=True)
    for topic, texts in topics.items():
        turns = "\n".join(f"- - {text}\n  - an answer" for text in texts)
        (english / f"{topic}.yml").write_text(f"categories:\n- {topic}\nconversations:\n{turns}\n", "utf-8")
    fake_package(monkeypatch, "chatterbot_corpus", folder / "package")


def test_cells_are_sorted_by_their_label(tmp_path: Path) -> None:
    folder = demo.prepare_cells(tmp_path)
    rows = cell_rows()
    for split in ("train", "test"):
        for probability, label in demo.CELL_CLASSES.items():
            files = list((folder / split / label).iterdir())
            assert len(files) == 150
            assert {rows[file.name][1] for file in files} == {probability}
            assert len({file.read_bytes() for file in files}) == 150
    with Image.open(files[0]) as image:
        assert image.size == (300, 300)


def test_no_solar_module_is_on_both_sides(tmp_path: Path) -> None:
    folder, rows = demo.prepare_cells(tmp_path), cell_rows()
    test = {rows[file.name][0] // 60 for file in (folder / "test").glob("*/*.png")}
    train = {rows[file.name][0] // 60 for file in (folder / "train").glob("*/*.png")}
    assert len(test) == len(train) == 10
    assert test & train == set()
    assert max(test | train) < 20


def test_cells_carry_their_licence(tmp_path: Path) -> None:
    text = (demo.prepare_cells(tmp_path) / "LICENCE.txt").read_text("utf-8")
    assert "CC BY-NC-SA 4.0" in text
    assert "Not for commercial use" in text
    assert "Deitsch" in text


def test_topics_have_eight_examples_each_to_learn_from(tmp_path: Path) -> None:
    rows = table(demo.prepare_topics(tmp_path))
    topics = {row["label"] for row in rows}
    assert topics == {
        "ai", "coding", "emotion", "literature", "movies", "psychology", "science", "sports", "trivia",
    }  # fmt: skip
    assert Counter(row["label"] for row in rows if row["split"] == "train") == dict.fromkeys(topics, 8)
    assert min(Counter(row["label"] for row in rows if row["split"] == "test").values()) >= 11
    assert len({row["text"].casefold() for row in rows}) == len(rows) == 625


def test_topics_leave_out_small_talk_small_topics_and_shared_texts(tmp_path: Path, monkeypatch: Any) -> None:
    def texts(word: str, count: int) -> list[str]:
        return [f"{word} number {number}" for number in range(count)]

    corpus(
        monkeypatch,
        tmp_path,
        {
            "animals": [*texts("cat", 19), "who knows", "CAT  number 0"],
            "plants": [*texts("tree", 19), "Who knows", ""],
            "small": [*texts("rock", 18), "who knows"],
            "conversations": texts("hello", 30),
        },
    )
    rows = table(demo.prepare_topics(tmp_path))
    assert Counter(row["label"] for row in rows) == {"animals": 19, "plants": 19}
    assert "who knows" not in {row["text"].casefold() for row in rows}


def test_the_draw_is_the_same_again_and_a_folder_made_earlier_is_kept(tmp_path: Path) -> None:
    first, other = demo.prepare_topics(tmp_path / "a"), demo.prepare_topics(tmp_path / "b")
    assert first.read_bytes() == other.read_bytes()
    first.write_text("mine", "utf-8")
    assert demo.prepare_topics(tmp_path / "a").read_text("utf-8") == "mine"


def test_an_interrupted_preparation_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(demo.shutil, "copyfile", full)
        with pytest.raises(ResourceError, match="disk full"):
            demo.prepare_cells(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (demo.prepare_cells(tmp_path) / "train").is_dir()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_its_extra(package: str, tmp_path: Path, monkeypatch: Any) -> None:
    hide(monkeypatch, package)
    with pytest.raises(MissingExtra, match=r"headstart\[demo\]"):
        demo.run(tmp_path, fit=lambda *_, **__: None)


def test_a_package_without_its_files_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "package" / "data"
    (data / "english").mkdir(parents=True)
    fake_package(monkeypatch, "elpv_dataset", tmp_path / "package")
    fake_package(monkeypatch, "chatterbot_corpus", tmp_path / "package")
    with pytest.raises(DataError, match=r"labels\.csv is missing"):
        demo.prepare_cells(tmp_path)
    (data / "labels.csv").write_text("images/cell0001.png 1.0 mono\n\n", "utf-8")
    with pytest.raises(DataError, match="0 working train cells"):
        demo.prepare_cells(tmp_path)
    lines = [f"images/{number}.png {float(number % 2)} mono" for number in range(1200)]
    (data / "labels.csv").write_text("\n".join(lines), "utf-8")
    with pytest.raises(DataError, match="without .*Install it again"):
        demo.prepare_cells(tmp_path)
    with pytest.raises(DataError, match="without its English texts"):
        demo.prepare_topics(tmp_path)


def test_run_fits_every_task_and_says_its_licence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[Path, dict[str, Any]]] = []

    def fit(data: Path, **settings: Any) -> str:
        calls.append((data, settings))
        return f"result {len(calls)}"

    assert demo.run(tmp_path, fit=fit, seed=3) == {"solar-cells": "result 1", "topics": "result 2"}
    assert [data.exists() for data, _ in calls] == [True, True]
    assert [settings["out"] for _, settings in calls] == [tmp_path / "solar-cells", tmp_path / "topics"]
    assert [settings["metric"] for _, settings in calls] == ["accuracy", "balanced_accuracy"]
    assert [settings["seed"] for _, settings in calls] == [3, 3]
    said = capsys.readouterr()
    assert said.out == ""
    assert "CC BY-NC-SA 4.0: not for commercial use" in said.err


def test_run_can_do_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    lines: list[str] = []
    assert list(demo.run(tmp_path, only="topics", say=lines.append, fit=lambda *_, **__: 1)) == ["topics"]
    assert len(lines) == 1
    with pytest.raises(UsageError, match="did you mean 'topics'"):
        demo.run(tmp_path, only="topic")
