"""Several runs on one page: who is best, where that can be said, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headstart import report
from headstart.errors import UsageError
from headstart.store import Run, read_step
from headstart.types import Receipt

MakeRun = Callable[..., Path]


def page_of(*runs: Path) -> str:
    return report.compare(list(runs)).read_text("utf-8")


def test_equal_runs_share_the_first_place(make_run: MakeRun) -> None:
    first, second = make_run(rows=50), make_run(rows=50)
    page = page_of(first, second)
    assert f"by {first.name} and {second.name}" in page
    assert "Settings, versions and machines are the same." in page
    assert ">1.000<" in page
    assert (first.parent / "comparison.html").is_file()


def test_runs_on_other_rows_have_no_best(make_run: MakeRun) -> None:
    page = page_of(make_run(rows=50), make_run(rows=60))
    assert "none of them can be called the best" in page


def test_the_better_run_is_named_and_the_pair_counted(make_run: MakeRun, tmp_path: Path) -> None:
    good, bad = make_run(rows=80), make_run(rows=80)
    stored = read_step(bad, "prove")
    assert isinstance(stored, Receipt)
    arm = stored.arms[-1]
    worse = replace(stored, arms=(replace(arm, name=stored.chosen), *stored.arms[1:]))
    with Run(bad) as run:
        run.record("prove", worse, 1.0)
        run.describe(config={"source": "wordllama", "seed": 0})
    page = report.compare([bad, good], tmp_path / "both.html").read_text("utf-8")
    assert f", by {good.name}." in page
    assert "&lt; 0.001" in page
    assert "wordllama" in page


def test_a_run_that_is_not_finished_is_listed(make_run: MakeRun, step_names: tuple[str, ...]) -> None:
    page = page_of(make_run(rows=40), make_run(steps=step_names[:3]))
    assert "not finished" in page


def test_what_is_no_run_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text(json.dumps([1])[:-1])
    with pytest.raises(UsageError, match="not a run folder"):
        report.compare([make_run(rows=20), tmp_path / "other"])
