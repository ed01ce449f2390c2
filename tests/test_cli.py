"""The command line as a demanding user meets it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart import cli, sources

SOURCES = Path(cli.__file__).parents[1]
OPENINGS = ("I think", "Yesterday", "Do you know whether", "Everyone says that", "They told me that")
ENDINGS = {
    "cooking": ("the soup needs salt", "dough rises overnight", "butter burns fast", "rice wants more water"),
    "football": ("the striker scored", "our keeper saved it", "the referee saw a foul", "they won on penalties"),
}
TEXTS = [(f"{first} {last}", label) for first in OPENINGS for label in ENDINGS for last in ENDINGS[label]]
COMMANDS = ("fit", "rank", "predict", "evaluate", "inspect", "verify", "sources", "report", "doctor", "demo")
METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "n"}


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; never a traceback, and the exit code of an error is never 1."""

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(code, captured.out, captured.err)

    return command


def quick(*arguments: object) -> list[str]:
    """A ``fit`` by the fastest source, with JSON."""
    return ["fit", *map(str, arguments), "--source", "wordllama", "--json"]


def write_csv(path: Path, rows: Sequence[Sequence[object]], mark: str = ",") -> Path:
    path.write_text("\n".join(mark.join(map(str, row)) for row in rows) + "\n", "utf-8")
    return path


def write_jsonl(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def write_photos(folder: Path, count: int, seed: int = 0) -> Path:
    """Noisy pictures, reddish and bluish, in a folder each."""
    rng = np.random.default_rng(seed)
    for label, colour in (("blue", (60, 80, 200)), ("red", (200, 70, 50))):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(colour) + rng.normal(0, 25, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "topics.csv", [("text", "label"), *TEXTS])


@pytest.fixture(scope="module")
def text_run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished fit of texts."""
    out = tmp_path_factory.mktemp("text") / "run"
    assert cli.main([*quick(texts, "--out", out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def broken_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve good pictures each, and beside them ten files that are none."""
    folder = write_photos(tmp_path_factory.mktemp("images") / "photos", 12)
    whole = (folder / "red" / "0.png").read_bytes()
    Image.new("RGB", (64, 64), "red").save(folder / "whole.jpg", quality=95)
    jpeg = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    huge = bytearray(whole)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    contents = {
        "red/empty.png": b"",
        "red/half.png": whole[: len(whole) // 2],
        "red/half.jpg": jpeg[: len(jpeg) // 2],
        "red/text.jpg": b"not a picture at all",
        "red/page.png": b"<html><body>404</body></html>",
        "blue/vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "blue/paper.jpg": b"%PDF-1.7\n1 0 obj",
        "blue/pickle.png": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        "blue/huge.png": bytes(huge),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "blue" / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


@pytest.fixture(scope="module")
def photo_run(broken_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished fit of images."""
    out = tmp_path_factory.mktemp("image") / "run"
    arguments = ["fit", str(broken_photos), "--out", str(out), "--source", "efficientnet-lite0", "--quiet"]
    assert cli.main(arguments) == 0
    return out


# --- help --------------------------------------------------------------------------------------


def command_line(*arguments: object, **settings: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), **settings.pop("environment", {})}
    given = [sys.executable, "-m", "headstart", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    # A shell that starts its jobs in the background makes them deaf to SIGINT, and children inherit it.
    deaf = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(given, env=environment, text=True, preexec_fn=deaf, **pipes)


def test_help_answers_at_once() -> None:
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        with command_line("--help") as process:
            out, _ = process.communicate()
        took.append(time.perf_counter() - begin)
        assert process.returncode == 0
        assert all(f"\n    {name} " in out for name in COMMANDS)
    assert statistics.median(took) < 0.5


def test_help_imports_nothing_heavy() -> None:
    look = "import sys; from headstart.cli import main; main(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "timm", "transformers", "pandas", "sklearn", "skimage", "PIL", "rich", "scipy"}
    assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, run: Run) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: headstart {name}")
    assert "--json" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 120


def test_version(run: Run) -> None:
    assert run("--version") == Ran(0, "headstart 0.1.0\n", "")


def test_nothing_asked_shows_the_help(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "examples:" in ran.err


# --- fit ---------------------------------------------------------------------------------------


def test_fit_prints_one_json_object_with_the_promised_keys(texts: Path, text_run: Path, run: Run) -> None:
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


def test_fit_says_the_verdict_to_people(texts: Path, text_run: Path, run: Run) -> None:
    ran = run("fit", texts, "--out", text_run, "--source", "wordllama", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert "transfer" in ran.out.splitlines()[1]
    assert f"bundle  {text_run / 'bundle'}\n" in ran.out
    assert f"report  {text_run / 'report.html'}\n" in ran.out
    assert "\x1b" not in ran.out


def test_fit_says_the_detectable_gain_before_the_work(texts: Path, text_run: Path, run: Run) -> None:
    said = run(*quick(texts, "--out", text_run)).err
    assert said.index("they can show a gain") < said.index("ranking sources")


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    texts: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
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


def seed_planned(run: Run, *arguments: object) -> str:
    sentence: str = run(*quick(*arguments, "--dry-run")).document["sentences"][0]
    return sentence.rpartition("seed ")[2].rstrip(".")


def test_flags_beat_environment_beats_toml_beats_defaults(
    texts: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[fit]\nseed = 3\n")
    assert seed_planned(run, texts) == "0"
    assert seed_planned(run, texts, "--config", settings) == "3"
    monkeypatch.setenv("HEADSTART_SEED", "4")
    assert seed_planned(run, texts, "--config", settings) == "4"
    assert seed_planned(run, texts, "--config", settings, "--seed", 5) == "5"


def test_offline_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart import runtime

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    run("sources")
    assert not runtime.offline()
    run("sources", "--offline")
    assert runtime.offline()


# --- data as people have them ------------------------------------------------------------------


def test_corrupt_pictures_are_listed_and_left_out(broken_photos: Path, photo_run: Path, run: Run) -> None:
    arguments = ("fit", broken_photos, "--out", photo_run, "--source", "efficientnet-lite0")
    found = run(*arguments, "--json").document
    assert len(found["excluded"]) == 10
    assert all(item["reason"] for item in found["excluded"])
    assert {"red/empty.png", "blue/gone.png", "blue/huge.png"} <= {item["id"] for item in found["excluded"]}
    assert sum(found["counts"].values()) == 24
    assert "left out: 10 examples" in run(*arguments).out


def test_rows_without_a_label_are_kept_aside(tmp_path: Path, run: Run) -> None:
    rows = [("text", "label"), *TEXTS, *((f"unsorted {number}", "") for number in range(5))]
    ran = run(*quick(write_csv(tmp_path / "gaps.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Rows without a label, kept aside as unlabelled: 5." in ran.err
    assert len(ran.document["excluded"]) == 5
    assert sum(ran.document["counts"].values()) == len(TEXTS)


def test_a_class_with_one_example_is_trained_on(tmp_path: Path, run: Run) -> None:
    rows = [("text", "label"), *TEXTS, ("the senate voted on the law", "politics")]
    ran = run(*quick(write_csv(tmp_path / "lonely.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Classes with a single training example: 'politics'." in ran.err
    assert any("not tested: politics" in note for note in ran.document["notes"])


def test_a_class_only_in_the_test_split_is_left_out_aloud(tmp_path: Path, run: Run) -> None:
    split = [("text", "label", "split"), *((*row, "train" if i % 3 else "test") for i, row in enumerate(TEXTS))]
    rows = [*split, ("the senate voted", "politics", "test"), ("a new law", "politics", "test")]
    ran = run(*quick(write_csv(tmp_path / "surprise.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "LEFT OUT: validation or test rows of classes that no training row has (2 of 'politics')" in ran.err
    assert [item["reason"] for item in ran.document["excluded"]] == ["class 'politics' is not in the training rows"] * 2


def test_a_number_and_its_text_are_one_class(tmp_path: Path, run: Run) -> None:
    numbers = {"cooking": (1, "1"), "football": (2, 2)}
    records = [{"text": text, "label": numbers[label][i % 2]} for i, (text, label) in enumerate(TEXTS)]
    ran = run(*quick(write_jsonl(tmp_path / "mixed.jsonl", records), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Labels that occur as a number and as a text are read as one class: '1'." in ran.err
    assert run("inspect", tmp_path / "run" / "bundle", "--json").document["labels"] == ["1", "2"]


def test_numbers_are_learned_as_numbers(tmp_path: Path, run: Run) -> None:
    rows = [("text", "price"), *((text, round(len(text) + i / 100, 2)) for i, (text, _) in enumerate(TEXTS))]
    out = tmp_path / "run"
    ran = run(*quick(write_csv(tmp_path / "prices.csv", rows), "--label", "price", "--out", out))
    assert ran.code == 0
    assert {"mae", "rmse", "r2", "n"} <= set(ran.document["test"])
    (row,) = run("predict", out / "bundle", "I think the soup needs salt", "--json").document
    assert set(row) == {"input", "value"}
    assert isinstance(row["value"], float)
    table = run("predict", out / "bundle", "I think the soup needs salt").out
    assert table.splitlines()[0].split() == ["value", "input"]


def test_lists_of_labels_are_learned_as_sets(tmp_path: Path, run: Run) -> None:
    records = [{"text": text, "label": [label, *["short"] * (len(text) < 30)]} for text, label in TEXTS]
    out = tmp_path / "run"
    ran = run(*quick(write_jsonl(tmp_path / "sets.jsonl", records), "--out", out))
    assert ran.code == 0
    assert ran.document["metric"] == "macro_f1"
    (row,) = run("predict", out / "bundle", "I think the soup needs salt", "--json").document
    assert set(row["probabilities"]) == {"cooking", "football", "short"}
    assert set(row["label"]) <= set(row["probabilities"])
    assert run("predict", out / "bundle", "I think the soup needs salt").code == 0


def test_other_tables_are_read_alike(tmp_path: Path, texts: Path, run: Run) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    write_csv(tmp_path / "topics.tsv", [("text", "label"), *TEXTS], "\t")
    write_jsonl(tmp_path / "topics.jsonl", [{"text": text, "label": label} for text, label in TEXTS])
    parquet.write_table(
        pa.table({"text": [text for text, _ in TEXTS], "label": [label for _, label in TEXTS]}),
        tmp_path / "topics.parquet",
    )
    expected = run(*quick(texts, "--dry-run")).document["counts"]
    for path in sorted(tmp_path.iterdir()):
        assert run(*quick(path, "--dry-run")).document["counts"] == expected, path.name


def test_folders_of_splits_and_tables_of_paths_are_read(tmp_path: Path, run: Run) -> None:
    for number, (split, count) in enumerate({"train": 4, "val": 2, "test": 3}.items()):
        write_photos(tmp_path / "photos" / split, count, seed=number)
    lite0 = ("--source", "efficientnet-lite0", "--dry-run", "--json")
    found = run("fit", tmp_path / "photos", *lite0).document
    assert found["counts"] == {"train": 8, "validation": 4, "test": 6, "unlabeled": 0}
    paths = sorted((tmp_path / "photos" / "train").glob("*/*.png"))
    rows = [("path", "label"), *((path.relative_to(tmp_path), path.parent.name) for path in paths)]
    ran = run("fit", write_csv(tmp_path / "paths.csv", rows), *lite0)
    assert ran.document["counts"] == {"train": 6, "validation": 0, "test": 2, "unlabeled": 0}
    assert "Reading column 'path' as the image" in ran.err


# --- what a user gets wrong --------------------------------------------------------------------

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
def test_a_wrong_setting_says_what_would_be_right(case: str, texts: Path, tmp_path: Path, run: Run) -> None:
    arguments, code, said = WRONG[case]
    ran = run("fit", texts, "--out", tmp_path / "run", "--source", "wordllama", *arguments, "--quiet")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.startswith("headstart: ")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "run" / "steps" / "rank.json").exists()


DATA = {
    "one class": ([("text", "label"), *((text, "same") for text, _ in TEXTS)], "every labelled training row has the"),
    "no labels": ([("text", "label"), *((text, "") for text, _ in TEXTS)], "every label of the training rows is empty"),
    "no rows": ([("text", "label")], "has no rows"),
    "no header": ([], "is empty"),
    "one row": ([("text", "label"), ("a", "b")], "needs at least two classes"),
    "singles": ([("text", "label"), ("a", "b"), ("c", "d")], "no test can be held out"),
    "only test": ([("text", "label", "split"), *((*row, "test") for row in TEXTS)], "no row is a training row"),
    "empty texts": ([("text", "label"), *((" ", label) for _, label in TEXTS)], "holds texts or paths of images"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_learned_from_are_refused(case: str, tmp_path: Path, run: Run) -> None:
    rows, said = DATA[case]
    ran = run(*quick(write_csv(tmp_path / "data.csv", rows), "--out", tmp_path / "run"), "--quiet")
    assert ran.code == 3
    assert said in ran.document["error"]["message"]
    assert ran.document["error"] == {"kind": "DataError", "message": ran.err[11:-1], "exit_code": 3}


def test_missing_data_are_missed(tmp_path: Path, texts: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("fit", texts.with_name("topic.csv"))
    assert ran.code == 3
    assert f"did you mean {texts}?" in ran.err
    assert not list(tmp_path.iterdir())
    assert run("fit").code == 2


def test_an_unreadable_folder_is_named(
    broken_photos: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
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


def test_only_runs_are_written_to(texts: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for out in (tmp_path / "thesis", texts, texts / "inside"):
        ran = run(*quick(texts, "--out", out))
        assert (ran.code, ran.document["error"]["kind"]) == (2, "UsageError")
        assert str(out) in ran.err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_resume_needs_a_run(tmp_path: Path, run: Run) -> None:
    assert "--resume needs --out RUN" in run("fit", "--resume").err
    ran = run("fit", "--resume", "--out", tmp_path / "none")
    assert ran.code == 2
    assert f"start one with: headstart fit DATA --out {tmp_path / 'none'}" in ran.err


def test_resume_knows_data_and_settings(text_run: Path, run: Run) -> None:
    ran = run("fit", "--resume", "--out", text_run, "--json")
    assert ran.code == 0
    assert ran.document["source"] == "wordllama"


def test_wrong_commands_are_told_in_json_too(run: Run) -> None:
    ran = run("fits", "--json")
    assert ran.code == 2
    assert "choose from 'fit', 'rank'" in ran.document["error"]["message"]
    assert run("predict").code == 2
    assert run("sources", "--modality", "smell").code == 2
    assert run("demo", "--only", "chess").code == 2


# --- rank, sources, doctor, report -------------------------------------------------------------


def test_rank_prints_the_promised_keys(texts: Path, run: Run) -> None:
    found = run("rank", texts, "--source", "wordllama", "--json").document
    (row,) = found["ranking"]
    assert {"source", "score", "standard_error", "scores", "seconds", "error"} <= set(row)
    assert row["source"] == found["chosen"] == "wordllama"
    assert row["score"] < 0 < row["standard_error"]
    assert row["error"] is None
    ran = run("rank", texts, "--source", "wordllama", "--quiet")
    assert ran.err == ""
    assert "chosen" in ran.out.splitlines()[-1]


def test_sources_are_listed(run: Run) -> None:
    rows = run("sources", "--json").document
    assert {"wordllama", "all-minilm-l6-v2", "efficientnet-lite0"} <= {row["name"] for row in rows}
    assert all(row["licence"] and row["weights_sha256"] for row in rows)
    assert {row["modality"] for row in run("sources", "--modality", "text", "--json").document} == {"text"}
    assert "Apache-2.0" in run("sources").out


def test_doctor_looks_around(run: Run) -> None:
    ran = run("doctor", "--json")
    assert (ran.code, ran.document["ok"]) == (0, True)
    assert "torch works" in run("doctor").out


def test_doctor_fails_where_something_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", "/dev/null/cache")
    ran = run("doctor", "--json")
    assert (ran.code, ran.document["ok"]) == (5, False)
    assert "FAILED  cache folder" in run("doctor").out


def test_the_report_is_written_again(text_run: Path, tmp_path: Path, run: Run) -> None:
    (text_run / "report.html").unlink()
    assert run("report", text_run).out == f"{text_run / 'report.html'}\n"
    assert (text_run / "report.html").is_file()
    assert run("report", text_run, "--json").document == {"report": str(text_run / "report.html")}
    assert run("report", tmp_path).code == 2


# --- bundles -----------------------------------------------------------------------------------


def test_texts_are_predicted(text_run: Path, run: Run) -> None:
    given = ("butter burns in the pan", "the keeper saw a foul")
    rows = run("predict", text_run / "bundle", *given, "--json").document
    assert [row["input"] for row in rows] == list(given)
    assert [row["label"] for row in rows] == ["cooking", "football"]
    for row in rows:
        assert set(row) == {"input", "label", "probabilities"}
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert max(row["probabilities"], key=row["probabilities"].get) == row["label"]
    lines = run("predict", text_run / "bundle", *given).out.splitlines()
    assert lines[0].split() == ["prediction", "most", "likely", "input"]
    assert lines[1].startswith("cooking ")
    assert lines[1].endswith(given[0])


def test_texts_come_from_tables_and_the_standard_input(
    text_run: Path, texts: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = run("predict", text_run / "bundle", texts, "--json").document
    assert [row["input"] for row in rows] == [f"row {number}" for number in range(1, 41)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("the striker scored\n\nrice wants water\n"))
    rows = run("predict", text_run / "bundle", "-", "--json").document
    assert [row["input"] for row in rows] == ["line 1", "line 3", "line 2"]
    assert rows[2] == {"input": "line 2", "error": "empty text"}


@pytest.mark.parametrize("name", ["picture.png", "notes.txt"])
def test_a_file_of_another_kind_is_not_taken_for_a_text(name: str, text_run: Path, tmp_path: Path, run: Run) -> None:
    if name == "picture.png":
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    ran = run("predict", text_run / "bundle", tmp_path / name)
    assert ran.code == 3
    assert str(tmp_path / name) in ran.err


def test_a_corrupt_picture_among_good_ones_is_listed(broken_photos: Path, photo_run: Path, run: Run) -> None:
    given = [broken_photos / "red" / name for name in ("0.png", "half.png", "1.png")]
    ran = run("predict", photo_run / "bundle", *given, "--json")
    assert ran.code == 0
    good, bad = ran.document[:2], ran.document[2]
    assert [row["input"] for row in good] == [str(given[0]), str(given[2])]
    assert [row["label"] for row in good] == ["red", "red"]
    assert set(bad) == {"input", "error"}
    assert bad["input"] == str(given[1])
    assert f"not predicted: {given[1]}: {bad['error']}" in run("predict", photo_run / "bundle", *given).out


def test_corrupt_pictures_alone_are_an_error(broken_photos: Path, photo_run: Path, run: Run) -> None:
    given = [broken_photos / "red" / name for name in ("empty.png", "half.png")]
    ran = run("predict", photo_run / "bundle", *given, "--json")
    assert ran.code == 3
    assert all(str(path) in ran.document["error"]["message"] for path in given)


def test_bundles_are_measured(text_run: Path, texts: Path, tmp_path: Path, run: Run) -> None:
    found = run("evaluate", text_run / "bundle", texts, "--json").document
    assert set(found["test"]) == METRICS
    assert found["test"]["n"] == 40
    assert found["excluded"] == []
    assert run("evaluate", text_run / "bundle", texts).out.splitlines()[-1].split() == ["n", "40"]
    strange = write_csv(tmp_path / "strange.csv", [("text", "label"), ("a law", "politics"), *TEXTS])
    ran = run("evaluate", text_run / "bundle", strange)
    assert ran.code == 3
    assert "labels that the model does not know: 'politics'" in ran.err


def test_bundles_are_verified_and_inspected(text_run: Path, run: Run) -> None:
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
    harm: Callable[[Path], None], text_run: Path, texts: Path, tmp_path: Path, run: Run
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(text_run / "bundle", bundle)
    harm(bundle)
    for command in (("predict", bundle, "hello"), ("evaluate", bundle, texts), ("inspect", bundle), ("verify", bundle)):
        ran = run(*command, "--json")
        assert (ran.code, ran.document["error"]["kind"]) == (4, "BundleRefused"), command[0]
        assert ran.err.count("\n") == 1


# --- surroundings ------------------------------------------------------------------------------


def test_a_bug_of_ours_is_one_sentence_and_a_log(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def listing(_: object) -> None:
        raise ZeroDivisionError("the ranking\nwas divided")

    monkeypatch.setattr(sources, "listing", listing)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ran = run("sources", "--json")
    (log,) = tmp_path.iterdir()
    said = f"this is a bug of ours: ZeroDivisionError: the ranking. Details: {log}"
    assert (ran.code, ran.err) == (1, f"headstart: {said}\n")
    assert ran.document["error"]["message"] == said
    text = log.read_text("utf-8")
    assert all(part in text for part in ("Traceback", "was divided", "headstart 0.1.0"))


MACHINE: dict[str, tuple[Exception, int, str]] = {
    "memory": (MemoryError(), 5, "memory ran out"),
    "torch's memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 EiB"), 5, "memory ran out"),
    "disk": (OSError(28, "No space left on device", "/full/file"), 5, "No space left on device: /full/file"),
    "permission": (PermissionError(13, "Permission denied", "/root/x"), 2, "cannot use /root/x: Permission denied"),
}


@pytest.mark.parametrize("case", MACHINE)
def test_the_machine_s_failures_are_no_bugs(case: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error, code, said = MACHINE[case]

    def listing(_: object) -> None:
        raise error

    monkeypatch.setattr(sources, "listing", listing)
    ran = run("sources")
    assert ran.code == code
    assert said in ran.err


def test_json_is_alone_on_stdout_whatever_libraries_print(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(_: object) -> list[object]:
        print("Downloading... done!")
        return []

    monkeypatch.setattr(sources, "listing", listing)
    ran = run("sources", "--json")
    assert ran.document == []
    assert ran.err == "Downloading... done!\n"


def test_letters_that_a_terminal_lacks_are_spelled_out(text_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, expected in (((), "h\\xe9llo \\u2603"), (("--json",), "h\\u00e9llo \\u2603")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(["predict", str(text_run / "bundle"), "héllo ☃", *arguments]) == 0
        assert expected in stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_data_cannot_steer_a_terminal(text_run: Path, run: Run) -> None:
    out = run("predict", text_run / "bundle", "red \x1b[31m alert\x07\nnext line").out
    assert not {"\x1b", "\x07"} & set(out)
    assert out.count("\n") == 2


def test_a_reader_may_leave_early(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with command_line("sources", stdout=write) as process:
        os.close(write)
        _, err = process.communicate()
    assert (process.returncode, err) == (141, "")


def test_a_full_disk_under_the_output_is_said() -> None:
    with open("/dev/full", "w") as full, command_line("sources", "--json", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (5, "headstart: No space left on device\n")


@pytest.fixture
def in_splitting(texts: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A fit in a process of its own, that has just split its data, and its run folder."""
    out = tmp_path / "run"
    with command_line(*quick(texts, "--out", out)) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("splitting"):
                break
        yield process, out
        process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_was_stopped_goes_on(
    number: signal.Signals, code: int, texts: Path, in_splitting: tuple[subprocess.Popen[str], Path], run: Run
) -> None:
    process, out = in_splitting
    process.send_signal(number)
    printed, err = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in err
    if number != signal.SIGKILL:
        assert json.loads(printed)["error"]["exit_code"] == code
        assert "stopped; a fit goes on where it was" in err
    assert not (out / "bundle").exists()
    again = ("fit", "--resume", "--out", out, "--json") if number == signal.SIGKILL else quick(texts, "--out", out)
    assert run(*again).code == 0
    assert run("verify", out / "bundle").code == 0
