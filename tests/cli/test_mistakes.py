"""What a user gets wrong, and what is said then."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

WRONG = {
    "unknown column": (["--label", "nope"], 3, "has no column 'nope'. Columns: text, label"),
    "unknown source": (["--source", "wordlama"], 2, "unknown source 'wordlama'; did you mean 'wordllama'?"),
    "no source": (["--source", ","], 2, "unknown source ''"),
    "other modality": (["--source", "efficientnet-lite0"], 2, "is for images, the data are texts. Valid: "),
    "unknown method": (["--method", "prob"], 2, "unknown method 'prob'; did you mean 'probe'?"),
    "unknown metric": (["--metric", "acuracy"], 2, "did you mean 'accuracy'?"),
    "other metric": (["--metric", "r2"], 2, "unknown metric for classification 'r2'. Valid: accuracy"),
    "unknown problem": (["--problem", "ranking"], 2, "Valid: classification, multilabel, regression"),
    "other problem": (["--problem", "regression"], 3, "regression needs numbers as labels"),
    "bad budget": (["--budget", "soon"], 2, "'soon' is not a duration. Examples: 30s"),
    "no budget": (["--budget", "0"], 2, "it must be above 0"),
    "bad seed": (["--seed", "-1"], 2, "seed is -1"),
    "no seed": (["--seed", "one"], 2, "invalid int value: 'one'. See: headstart fit --help"),
    "bad share": (["--test-share", "1.5"], 2, "must be above 0 and at most 0.9"),
    "unknown flag": (["--sources", "wordllama"], 2, "unrecognized arguments"),
    "missing settings": (["--config", "nope.toml"], 2, "cannot read the settings file nope.toml"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_says_what_would_be_right(
    case: str, texts: Path, tmp_path: Path, run: Any, topics: Any
) -> None:
    arguments, code, said = WRONG[case]
    ran = run("fit", texts, "--out", tmp_path / "run", "--source", "wordllama", *arguments, "--quiet")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.startswith("headstart: ")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "run" / "steps" / "rank.json").exists()


DATA = {
    "one class": (lambda topics: [(text, "same") for text, _ in topics], "every labelled training row has the class"),
    "no labels": (lambda topics: [(text, "") for text, _ in topics], "every label of the training rows is empty"),
    "no rows": (lambda topics: [], "has no rows"),
    "one row": (lambda topics: topics[:1], "needs at least two classes"),
    "one row a class": (lambda topics: topics[3:5], "no test can be held out"),
    "empty texts": (lambda topics: [(" ", label) for _, label in topics], "holds texts or paths of images"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_learned_from_are_refused(
    case: str, tmp_path: Path, run: Any, topics: Any, write_csv: Any, quick: Any
) -> None:
    rows, said = DATA[case]
    data = write_csv(tmp_path / "data.csv", [("text", "label"), *rows(topics)])
    ran = run(*quick(data, "--out", tmp_path / "run"), "--quiet")
    assert ran.code == 3
    assert said in ran.document["error"]["message"]
    assert ran.document["error"] == {"kind": "DataError", "message": ran.err[11:-1], "exit_code": 3}


def test_missing_data_are_missed(tmp_path: Path, texts: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("fit", texts.with_name("topic.csv"))
    assert ran.code == 3
    assert f"did you mean {texts}?" in ran.err
    assert "/dev/null is neither a file nor a folder" in run("fit", "/dev/null").err
    assert run("fit", "").code == 3
    assert not list(tmp_path.iterdir())
    assert run("fit").code == 2


def test_an_unreadable_folder_is_named(
    broken_photos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def locked(path: Any) -> Any:
        if str(path) == str(broken_photos):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", locked)  # the superuser may read everything
    ran = run("fit", broken_photos, "--out", tmp_path / "run")
    assert ran.code == 3
    assert f"cannot read the folder {broken_photos}: Permission denied" in ran.err


def test_only_runs_are_written_to(texts: Path, tmp_path: Path, run: Any, quick: Any) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for out in (tmp_path / "thesis", texts, texts / "inside"):
        ran = run(*quick(texts, "--out", out))
        assert (ran.code, ran.document["error"]["kind"]) == (2, "UsageError")
        assert str(out) in ran.err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_a_damaged_run_is_not_written_to(texts: Path, tmp_path: Path, run: Any, quick: Any) -> None:
    for content in ("", "{", "[]", "{}"):
        (tmp_path / "run.json").write_text(content)
        ran = run(*quick(texts, "--out", tmp_path))
        assert (ran.code, (tmp_path / "run.json").read_text()) == (2, content)
        assert "run.json is damaged. Choose another --out" in ran.err


def test_a_run_of_other_data_is_replaced_aloud(
    texts: Path, text_run: Path, tmp_path: Path, run: Any, write_csv: Any, quick: Any, topics: Any
) -> None:
    shutil.copytree(text_run, tmp_path / "run")
    other = write_csv(tmp_path / "other.csv", [("text", "label"), *topics[2:]])
    said = f"{tmp_path / 'run'} held a run of {texts}; its bundle and report will be replaced."
    assert said in run(*quick(other, "--out", tmp_path / "run")).err
    assert "held a run of" not in run(*quick(other, "--out", tmp_path / "run")).err


def test_resume_needs_a_run(tmp_path: Path, run: Any) -> None:
    assert "--resume needs --out RUN" in run("fit", "--resume").err
    ran = run("fit", "--resume", "--out", tmp_path / "none")
    assert ran.code == 2
    assert f"start one with: headstart fit DATA --out {tmp_path / 'none'}" in ran.err


def test_resume_knows_data_and_settings(text_run: Path, run: Any) -> None:
    ran = run("fit", "--resume", "--out", text_run, "--json")
    assert ran.code == 0
    assert ran.document["source"] == "wordllama"


def test_wrong_commands_are_told_in_json_too(run: Any) -> None:
    ran = run("fits", "--json")
    assert ran.code == 2
    assert "choose from 'fit', 'rank'" in ran.document["error"]["message"]
    assert run("predict").code == 2
    assert run("sources", "--modality", "smell").code == 2
    assert run("demo", "--only", "chess").code == 2
