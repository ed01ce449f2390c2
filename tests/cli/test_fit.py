"""``fit`` and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "n"}


def test_fit_prints_one_json_object_with_the_promised_keys(texts: Path, text_run: Path, run: Any, quick: Any) -> None:
    ran = run(*quick(texts, "--out", text_run))
    assert ran.code == 0
    found = ran.document
    promised = "run bundle verdict source method test arms gain seconds ranking excluded"
    assert set(promised.split()) <= set(found)
    assert (found["run"], found["bundle"]) == (str(text_run), str(text_run / "bundle"))
    assert found["verdict"] in ("helped", "no evidence", "negative transfer")
    assert (found["source"], found["method"]) == ("wordllama", "probe")
    assert set(found["test"]) == METRICS
    assert found["test"]["n"] == found["counts"]["test"] == 8
    assert all({"name", "source", "method", "seconds", "validation", "test"} <= set(arm) for arm in found["arms"])
    assert any("baseline" in arm["name"] for arm in found["arms"])
    assert {"over", "metric", "value", "low", "high", "level", "test"} <= set(found["gain"])
    assert found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]
    assert {"read", "split", "rank", "adapt", "prove", "ship"} <= set(found["seconds"])
    assert {"source", "score", "standard_error", "scores", "seconds", "error"} <= set(found["ranking"][0])
    assert found["excluded"] == []
    assert Path(found["report"]).is_file()
    assert "ranking sources" in ran.err
    assert "Reading column 'text' as the text and 'label' as the label" in ran.err


def test_fit_says_the_verdict_to_people(texts: Path, text_run: Path, run: Any) -> None:
    ran = run("fit", texts, "--out", text_run, "--source", "wordllama", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert "transfer" in ran.out.splitlines()[1]
    assert f"bundle  {text_run / 'bundle'}\n" in ran.out
    assert f"report  {text_run / 'report.html'}\n" in ran.out
    assert "\x1b" not in ran.out


def test_fit_says_the_detectable_gain_before_the_work(texts: Path, text_run: Path, run: Any, quick: Any) -> None:
    said = run(*quick(texts, "--out", text_run)).err
    assert said.index("they can show a gain") < said.index("ranking sources")


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    texts: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, quick: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*quick(texts, "--dry-run")).document
    assert found["counts"] == {"train": 32, "validation": 0, "test": 8, "unlabeled": 0}
    assert found["sources"][0]["source"] == "wordllama"
    assert found["seconds"] > 0
    assert not list(tmp_path.iterdir())
    ran = run("fit", texts, "--source", "wordllama", "--dry-run")
    assert "Embedding would take about" in ran.out
    assert not list(tmp_path.iterdir())


def seed_planned(run: Any, *arguments: object) -> str:
    ran = run("fit", *arguments, "--source", "wordllama", "--dry-run", "--json")
    sentence: str = ran.document["sentences"][0]
    return sentence.rpartition("seed ")[2].rstrip(".")


def test_flags_beat_environment_beats_toml_beats_defaults(
    texts: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[fit]\nseed = 3\n")
    assert seed_planned(run, texts) == "0"
    assert seed_planned(run, texts, "--config", settings) == "3"
    monkeypatch.setenv("HEADSTART_SEED", "4")
    assert seed_planned(run, texts, "--config", settings) == "4"
    assert seed_planned(run, texts, "--config", settings, "--seed", 5) == "5"
    monkeypatch.setenv("HEADSTART_SEED", "four")
    assert "HEADSTART_SEED is 'four', which is not a number" in run("fit", texts).err


def test_offline_is_passed_on(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart import runtime

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    run("sources")
    assert not runtime.offline()
    run("sources", "--offline")
    assert runtime.offline()
