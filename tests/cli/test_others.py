"""``rank``, ``sources``, ``doctor``, ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_rank_prints_the_promised_keys(texts: Path, run: Any) -> None:
    found = run("rank", texts, "--source", "wordllama", "--json").document
    (row,) = found["ranking"]
    assert {"source", "score", "standard_error", "scores", "seconds", "error"} <= set(row)
    assert row["source"] == found["chosen"] == "wordllama"
    assert row["score"] < 0 < row["standard_error"]
    assert row["error"] is None
    ran = run("rank", texts, "--source", "wordllama", "--quiet")
    assert ran.err == ""
    assert "chosen" in ran.out.splitlines()[-2]
    assert ran.out.splitlines()[-1] == f"plot  runs/{texts.stem}.ranking.svg"


def test_rank_draws_where_it_is_told_and_shows_what_is_asked(texts: Path, run: Any, tmp_path: Path) -> None:
    plot = tmp_path / "drawn" / "here.svg"
    asked = ("--source", "wordllama", "--score", "hscore", "--experimental", "--plot", plot, "--json")
    found = run("rank", texts, *asked).document
    assert found["plot"] == str(plot)
    assert plot.read_text("utf-8").startswith("<svg")
    assert found["order"] == "hscore"
    assert {"ridge_loo", "logme", "knn", "hscore", "sfda", "parc", "transrate"} <= set(found["ranking"][0]["scores"])


def test_sources_are_listed(run: Any) -> None:
    rows = run("sources", "--json").document
    assert {"wordllama", "all-minilm-l6-v2", "efficientnet-lite0"} <= {row["name"] for row in rows}
    assert all(row["licence"] and (row["missing"] or row["weights_sha256"]) for row in rows)
    assert {row["modality"] for row in run("sources", "--modality", "text", "--json").document} == {"text"}
    assert "Apache-2.0" in run("sources").out


def test_doctor_looks_around(run: Any) -> None:
    ran = run("doctor", "--json")
    assert (ran.code, ran.document["ok"]) == (0, True)
    assert "torch works" in run("doctor").out


def test_doctor_fails_where_something_does(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", "/dev/null/cache")
    ran = run("doctor", "--json")
    assert (ran.code, ran.document["ok"]) == (5, False)
    assert "FAILED  cache folder" in run("doctor").out


def test_the_report_is_written_again(text_run: Path, tmp_path: Path, run: Any) -> None:
    (text_run / "report.html").unlink()
    assert run("report", text_run).out == f"{text_run / 'report.html'}\n"
    assert (text_run / "report.html").is_file()
    assert run("report", text_run, "--json").document == {"report": str(text_run / "report.html")}
    assert run("report", tmp_path).code == 2


def test_several_runs_are_compared_on_one_page(run, text_run, tmp_path):
    page = tmp_path / "both.html"
    ran = run("report", text_run, text_run, "--out", page, "--json")
    assert (ran.code, ran.document) == (0, {"report": str(page)})
    assert "2 runs compared" in page.read_text("utf-8")
    assert run("report", text_run, "--out", page).out.strip() == str(page)
    assert "2 runs compared" not in page.read_text("utf-8")


def test_an_audit_names_what_is_wrong(run, topics, write_csv, tmp_path):
    rows = [("text", "label"), *topics, (topics[0][0], "football")]
    ran = run("audit", write_csv(tmp_path / "torn.csv", rows), "--source", "wordllama", "--json")
    assert ran.code == 0
    kinds = {finding["kind"]: finding for finding in ran.document["findings"]}
    assert kinds["copies with different labels"]["severity"] == "serious"
    assert ["row 1", "row 41"] in kinds["copies with different labels"]["examples"]
    shown = run("audit", tmp_path / "torn.csv", "--source", "wordllama", "--quiet")
    assert "SERIOUS: copies with different labels" in shown.out
    assert "row 1 = row 41" in shown.out
