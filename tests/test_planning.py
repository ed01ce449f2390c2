"""What a fit would do and cost, and how to go on with one that was stopped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from headstart import planning, sources
from headstart.backbones.source import Source
from headstart.errors import BundleRefused, DataError, UsageError
from headstart.planning import plan, resumed


def words(count: int) -> tuple[list[str], list[str]]:
    """Different texts in two classes."""
    return [f"text number {number}" for number in range(count)], ["even", "odd"] * (count // 2)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_plan_counts_rows_and_seconds_and_keeps_nothing(cache: Path) -> None:
    found = plan(words(700), source="wordllama", seed=2)
    assert found["counts"] == {"train": 560, "validation": 0, "test": 140, "unlabeled": 0}
    (cost,) = found["sources"]
    assert cost["source"] == "wordllama"
    # 500 rows are ranked on; the other 60 train rows and 140 test rows are embedded afterwards
    assert cost["embed_seconds"] / cost["rank_seconds"] == pytest.approx(200 / 500)
    assert found["seconds"] == pytest.approx(cost["rank_seconds"] + cost["embed_seconds"])
    assert found["methods"] == ["probe"]
    said = " ".join(found["sentences"])
    assert "seed 2" in said
    assert "140 test rows are held out" in said
    assert "Would embed with wordllama 500 training rows, adapt by probe, prove on 140 rows." in said
    assert any("Problem: classification" in note for note in found["notes"])
    assert not list(cache.rglob("*.safetensors"))


def test_few_rows_are_enough_for_a_plan() -> None:
    found = plan(words(6), source="wordllama")
    assert found["seconds"] > 0
    assert "about 1 s at most" in found["sentences"][-1]


def test_a_plan_is_json(topics_csv: Path) -> None:
    found = plan(str(topics_csv), source="wordllama")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def broken(source: Source) -> Source:
    def tensors() -> Any:
        raise BundleRefused("its file is gone")

    return Source(dataclasses.replace(source.card, name="broken"), tensors, source.assets)


def test_a_source_that_fails_is_said_and_the_plan_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    good = sources.resolve("wordllama")
    monkeypatch.setattr(sources, "candidates", lambda *_: [broken(good), good])
    found = plan(words(40))
    assert found["sources"][0] == {"source": "broken", "error": "its file is gone"}
    assert found["sources"][1]["rank_seconds"] > 0
    assert found["sentences"][-1] == "Cannot be used: broken: its file is gone"
    assert "Would rank 2 sources on" in " ".join(found["sentences"])
    monkeypatch.setattr(sources, "candidates", lambda *_: [broken(good)])
    with pytest.raises(UsageError, match="no source could be used: broken: its file is gone"):
        plan(words(40))


def test_a_plan_refuses_what_a_fit_would(topics_csv: Path) -> None:
    with pytest.raises(UsageError, match="unknown method 'magic'"):
        plan(str(topics_csv), method="magic")
    with pytest.raises(UsageError, match="unknown setting 'sede'"):
        plan(str(topics_csv), sede=1)
    with pytest.raises(DataError, match="no column 'nope'"):
        plan(str(topics_csv), label="nope")


def test_embedding_is_timed_after_the_source_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Embedder(planning.Embedder):
        def embed(self, source: Any, examples: Any, rows: Any) -> Any:
            calls.append(len(rows))
            return super().embed(source, examples, rows)

    monkeypatch.setattr(planning, "Embedder", Embedder)
    plan(words(200), source="wordllama")
    assert calls == [planning.WARMING, planning.TRIED]


def run_json(folder: Path, **facts: Any) -> str:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(facts))
    return str(folder)


def test_a_run_remembers_its_data_and_settings(tmp_path: Path) -> None:
    out = run_json(tmp_path / "run", path="/data/x.csv", config={"source": "wordllama", "seed": 4, "label": None})
    data, settings = resumed(None, out, {"seed": None, "source": None})
    assert (data, settings) == ("/data/x.csv", {"source": "wordllama", "seed": 4, "label": None})
    data, settings = resumed("other.csv", out, {"seed": 0, "budget": "2m"})
    assert (data, settings["seed"], settings["budget"], settings["source"]) == ("other.csv", 0, "2m", "wordllama")


def test_a_run_from_python_needs_its_data_again(tmp_path: Path) -> None:
    out = run_json(tmp_path / "run", path=None, config={})
    with pytest.raises(UsageError, match="does not name its data; give them: headstart fit DATA --out"):
        resumed(None, out, {})
    assert resumed("x.csv", out, {}) == ("x.csv", {})


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"config": 3}', "\x00"])
def test_what_is_no_run_cannot_be_resumed(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match="there is no run to resume in"):
        resumed("x.csv", str(tmp_path), {})


def test_resuming_needs_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--resume needs --out RUN"):
        resumed("x.csv", None, {})


def test_a_plan_says_what_tuning_may_take(topics_csv):
    said = plan(topics_csv, source="wordllama", method="lpft,full", budget="90s")["sentences"]
    assert "Tuning by lpft, full would then get what is left of the budget of 90 s at most." in said
    assert not any("Tuning" in one for one in plan(topics_csv, source="wordllama", method="probe")["sentences"])
