from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from headstart.data import read, read_inputs, read_labelled, split, table_of
from headstart.errors import DataError, UsageError
from headstart.types import Task

Csv = Callable[..., Path]
Photo = Callable[..., Path]
TOPICS = Task("classification", "text", ("weather", "football", "cooking"), "accuracy")


def test_the_shared_folder(photo_folder: Path) -> None:
    dataset = read(photo_folder)
    assert dataset.task == Task("classification", "image", ("disc", "square", "stripes"), "accuracy")
    assert len(dataset.examples) == 36
    assert dataset.examples.ids[0] == "disc/disc00.png"
    assert dataset.excluded == ()


def test_the_shared_table(topics_csv: Path) -> None:
    dataset = read(str(topics_csv))
    assert dataset.task == Task("classification", "text", ("cooking", "football", "weather"), "accuracy")
    assert dataset.examples.ids[16] == "row 17"
    assert dataset.notes == (
        "Reading column 'text' as the text and 'label' as the label; set them with --input and --label.",
        "Problem: classification with 3 labels; set it with --problem.",
        "Metric: accuracy, because the classes are balanced; set it with --metric.",
    )


def test_what_is_asked_for_is_taken(topics_csv: Path) -> None:
    dataset = read(topics_csv, input="label", label="text", problem="classification", metric="macro_f1")
    assert dataset.task.metric == "macro_f1"
    assert len(dataset.task.labels) == 60
    assert not any("set it with" in note for note in dataset.notes)


def test_labels_go_with_what_is_left_out(write_csv: Csv) -> None:
    rows = [("a", "x", "train"), ("", "y", "train"), ("c", "", "train"), ("d", "y", ""), ("e", "", "test")]
    rows += [("f", "z", "test"), ("g", "x", "test"), ("h", "x", "val")]
    dataset = read(write_csv([("text", "label", "split"), *rows]))
    assert dict(zip(dataset.examples.inputs, dataset.examples.targets.tolist(), strict=True)) == {
        "a": 0,
        "c": -1,
        "d": 1,
        "g": 0,
        "h": 0,
    }
    assert dataset.given == ("train", "train", "", "test", "validation")
    assert {item.id: item.reason for item in dataset.excluded} == {
        "row 2": "empty text",
        "row 3": "no label",
        "row 5": "no label",
        "row 6": "class 'z' is not in the training rows",
    }
    assert "Rows without a label, kept aside as unlabelled: 1." in dataset.notes
    assert "Examples left out together with their labels, each listed with its reason: 3." in dataset.notes
    assert any("no training row has (1 of 'z')" in note for note in dataset.notes)


def test_the_metric_does_not_look_at_test_rows(write_csv: Csv) -> None:
    rows = [(f"t{n}", "xy"[n % 2], "train") for n in range(10)] + [(f"u{n}", "x", "test") for n in range(90)]
    assert read(write_csv([("text", "label", "split"), *rows])).task.metric == "accuracy"
    rows = [(f"t{n}", "x" if n else "y", "train") for n in range(30)] + [(f"u{n}", "y", "test") for n in range(30)]
    assert read(write_csv([("text", "label", "split"), *rows])).task.metric == "balanced_accuracy"


def test_all_rows_of_a_split_may_be_lost(write_csv: Csv) -> None:
    rows = [("a", "x", "train"), ("b", "y", "train"), ("", "x", "test")]
    dataset = read(write_csv([("text", "label", "split"), *rows]))
    assert "LEFT OUT: all test rows; none can be used." in dataset.notes


def test_regression_table(write_csv: Csv) -> None:
    rows = [(f"t{n}", n / 7) for n in range(30)] + [("no", ""), ("inf", "inf")]
    dataset = read(write_csv([("text", "score"), *rows]))
    assert (dataset.task.problem, dataset.task.labels, dataset.task.metric) == ("regression", (), "r2")
    assert len(dataset.examples) == 31
    assert np.isnan(dataset.examples.targets).sum() == 1
    assert {item.id: item.reason for item in dataset.excluded} == {
        "row 31": "no label",
        "row 32": "label 'inf' is not a finite number",
    }


def test_multilabel_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "tags": ["x", "y"]}\n{"text": "b", "tags": []}\n{"text": "c"}\n')
    dataset = read(path)
    assert (dataset.task.problem, dataset.task.labels, dataset.task.metric) == ("multilabel", ("x", "y"), "macro_f1")
    assert dataset.examples.targets.tolist() == [[True, True], [False, False]]
    assert [(item.id, item.reason) for item in dataset.excluded] == [("row 3", "no label")]


def test_numbers_and_texts_as_labels_of_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n{"text": "c", "label": 2.0}\n')
    dataset = read(path)
    assert dataset.task.labels == ("1", "2")
    assert any("read as one class: '1'" in note for note in dataset.notes)


def test_table_of_image_paths(tmp_path: Path, photo: Photo, write_csv: Csv) -> None:
    photo(tmp_path / "pictures/1.png", 1)
    photo(tmp_path / "pictures/2.jpg", 2)
    rows = [("pictures/1.png", "x"), ("pictures/2.jpg", "y"), ("pictures/3.png", "x"), ("", "y")]
    expected = {"row 3": "file does not exist", "row 4": "no image"}
    # with its images beside it, the folder stands for its only table
    for data in (write_csv([("file", "label"), *rows], "metadata.csv"), tmp_path):
        dataset = read(data)
        assert dataset.examples.inputs == (tmp_path / "pictures/1.png", tmp_path / "pictures/2.jpg")
        assert dataset.examples.ids == ("row 1", "row 2")
        assert {item.id: item.reason for item in dataset.excluded} == expected


def test_folder_of_tables_named_like_splits(tmp_path: Path, write_csv: Csv) -> None:
    write_csv([("text", "label"), ("a", "x"), ("b", "y")], "train.csv")
    write_csv([("text", "label"), ("c", "x")], "Test.csv")
    parquet.write_table(pa.table({"text": ["d"], "label": ["y"]}), tmp_path / "dev.parquet")
    dataset = read(tmp_path)
    given = dict(zip(dataset.examples.ids, dataset.given or (), strict=True))
    assert given == {
        "Test.csv row 1": "test",
        "dev.parquet row 1": "validation",
        "train.csv row 1": "train",
        "train.csv row 2": "train",
    }


def test_folder_of_several_other_tables(write_csv: Csv) -> None:
    for name in ("a.csv", "b.csv"):
        path = write_csv([("text", "label"), ("a", "x")], name)
    with pytest.raises(DataError, match=r"holds several tables \(a\.csv, b\.csv\)"):
        read(path.parent)


def test_groups(write_csv: Csv) -> None:
    path = write_csv([("text", "label", "user"), ("a", "x", "u"), ("", "x", "v"), ("c", "y", "")])
    assert read(path, group="user").examples.groups == ("u", "(no group) row 3")
    assert read(path).examples.groups is None


def test_reading_twice_gives_one_fingerprint(topics_csv: Path, photo_folder: Path) -> None:
    for data in (topics_csv, photo_folder):
        assert read(data).examples.fingerprint == read(data).examples.fingerprint


def test_home_folder(topics_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(topics_csv.parent))
    assert len(read("~/topics.csv").examples) == 60


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot read the folder .*: Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"problem": "clasification"}, UsageError, "unknown problem 'clasification'; did you mean 'classification'"),
        ({"modality": "video"}, UsageError, "unknown modality 'video'"),
        ({"label": "topic"}, UsageError, "is a folder of class folders, so --input"),
        ({"modality": "text"}, DataError, "is a folder of class folders, which hold images"),
    ],
)
def test_options_that_do_not_fit(photo_folder: Path, options: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        read(photo_folder, **options)


def test_columns_of_pairs() -> None:
    with pytest.raises(UsageError, match=r"\(X, y\) has no columns"):
        read((["a"], ["x"]), label="y")


def test_exit_codes(tmp_path: Path, write_csv: Csv) -> None:
    bad = [
        tmp_path / "missing.csv",
        write_csv([("text", "label"), ("a", ""), ("b", " ")], "empty-labels.csv"),
        write_csv([("text", "label"), ("a", "x"), ("b", "x")], "one-class.csv"),
        write_csv([("text", "label"), ("", "x"), (" ", "y")], "empty-texts.csv"),
    ]
    for path in bad:
        with pytest.raises(DataError) as caught:
            read(path)
        assert caught.value.exit_code == 3
        assert "Traceback" not in str(caught.value)


def test_labelled_rows_of_a_finished_model(topics_csv: Path, write_csv: Csv) -> None:
    examples, excluded = read_labelled(topics_csv, TOPICS)
    assert len(examples) == 60
    assert {TOPICS.labels[target] for target in examples.targets} == set(TOPICS.labels)
    assert excluded == []
    rows = [("a", "weather", "train"), ("b", "football", "test"), ("", "cooking", "test"), ("d", "", "test")]
    path = write_csv([("text", "label", "split"), *rows])
    examples, excluded = read_labelled(path, TOPICS)
    assert examples.inputs == ("b",)
    assert examples.targets.tolist() == [1]
    assert {item.id: item.reason for item in excluded} == {"row 3": "empty text", "row 4": "no label"}


def test_labelled_rows_that_do_not_fit_the_model(write_csv: Csv) -> None:
    with pytest.raises(DataError, match=r"does not know: 'snow'\. It knows 'weather'"):
        read_labelled(write_csv([("text", "label"), ("a", "snow")]), TOPICS)
    with pytest.raises(DataError, match="none of the 1 rows has a usable label"):
        read_labelled(write_csv([("text", "label"), ("a", "")]), TOPICS)


def test_tables_without_labels(tmp_path: Path, photo: Photo) -> None:
    table = table_of(["a", "b", "a"], "text")
    assert table.inputs == ("a", "b", "a")
    assert table.targets.tolist() == [-1, -1, -1]
    assert table.digests[0] == table.digests[2]
    assert len(set(table.ids)) == 3
    assert len(table_of([], "image")) == 0
    picture = photo(tmp_path / "1.png")
    assert table_of([picture, Image.open(picture)], "image").inputs[0] == picture
    with pytest.raises(DataError, match=r"1 of 2 examples cannot be used\. .*2\.png: file does not exist"):
        table_of([picture, tmp_path / "2.png"], "image")
    with pytest.raises(DataError, match="the examples is a str"):
        table_of("text", "text")


def test_texts_to_predict_for(write_csv: Csv, tmp_path: Path) -> None:
    path = write_csv([("id", "message"), ("1", "from the table"), ("2", "")])
    (tmp_path / "lines.txt").write_text("first\n\nthird\n")
    inputs, names, excluded = read_inputs(
        ["hello, world", str(path), str(tmp_path / "lines.txt"), "hello, world"], "text"
    )
    assert inputs == ["hello, world", "from the table", "first", "third", "hello, world"]
    assert names == ["hello, world", "data.csv row 1", "lines.txt line 1", "lines.txt line 3", "hello, world (2)"]
    assert [(item.id, item.reason) for item in excluded] == [
        ("data.csv row 2", "empty text"),
        ("lines.txt line 2", "empty text"),
    ]
    assert read_inputs([str(path)], "text", "id")[:2] == (["1", "2"], ["row 1", "row 2"])
    for text in ("~nobody", "x" * 5000, "a\0b", "what about data.csv"):
        assert read_inputs([text], "text")[0] == [text]


def test_texts_from_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\r\n\ntwo"))
    inputs, names, excluded = read_inputs(["-"], "text")
    assert (inputs, names) == (["one", "two"], ["line 1", "line 3"])
    assert [item.id for item in excluded] == ["line 2"]


def test_images_to_predict_for(tmp_path: Path, photo: Photo, write_csv: Csv, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(["a/1.png", "a/deep/2.jpg", "3.png"]):
        photo(tmp_path / name, number)
    (tmp_path / "a/notes.txt").write_text("not for prediction")
    table = write_csv([("path",), ("3.png",), ("4.png",)])
    inputs, names, excluded = read_inputs(
        [str(tmp_path / "a"), str(tmp_path / "3.png"), str(table), "", "5.png"], "image"
    )
    assert inputs == [tmp_path / "a/1.png", tmp_path / "a/deep/2.jpg", tmp_path / "3.png", tmp_path / "3.png"]
    assert names[0] == (tmp_path / "a/1.png").as_posix()
    assert names[-1] == "data.csv row 1"
    assert [(item.id, item.reason) for item in excluded] == [
        ("data.csv row 2", "file does not exist"),
        ("", "no image"),
        ("5.png", "file does not exist"),
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path / '3.png'}\n"))
    assert read_inputs(["-"], "image")[0] == [tmp_path / "3.png"]


def test_nothing_to_predict_for(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for inputs, modality, message in (
        ([], "text", "no input was given"),
        ([str(tmp_path)], "image", "the folders are empty"),
        ([" "], "text", "none of the 1 examples can be used.  : empty text"),
        (["missing.png"], "image", r"missing\.png: file does not exist"),
        (["missing.csv"], "text", r"no such file or folder: missing\.csv"),
        ([str(tmp_path / "latin.txt")], "text", "as UTF-8 text"),
        (["missing.txt"], "text", "cannot read missing.txt as UTF-8 text: No such file"),
        ([__file__], "text", "is a file, but of none of the kinds that hold texts: .txt, .csv"),
    ):
        with pytest.raises(DataError, match=message):
            read_inputs(inputs, modality)  # type: ignore[arg-type]


def test_guesses_are_said(tmp_path: Path, write_csv: Csv) -> None:
    said: list[str] = []
    table = write_csv([("text", "label", "split"), ("hail", "weather", "train"), ("hail", "weather", "test")])
    read_inputs([str(table)], "text", say=said.append)
    assert said == [f"Reading column 'text' of {table} as the text; set it with --input."]
    said.clear()
    read_labelled(table, TOPICS, say=said.append)
    assert said[0].startswith("Reading column 'text' as the text and 'label' as the label")
    assert said[-1] == "Measuring on the rows that the data name test."


def test_no_path_is_no_data() -> None:
    with pytest.raises(DataError, match="the path of the data is empty"):
        read(" ")
    with pytest.raises(DataError, match="/dev/null is neither a file nor a folder"):
        read("/dev/null")


def test_read_then_split(photo_folder: Path) -> None:
    found = split(read(photo_folder))
    assert len(found.train) == 29
    assert len(found.test) == 7
