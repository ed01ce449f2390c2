"""Data as people have them, with their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_corrupt_pictures_are_listed_and_left_out(broken_photos: Path, photo_run: Path, run: Any) -> None:
    arguments = ("fit", broken_photos, "--out", photo_run, "--source", "efficientnet-lite0")
    found = run(*arguments, "--json").document
    assert len(found["excluded"]) == 10
    assert all(item["reason"] for item in found["excluded"])
    assert {"red/empty.png", "blue/gone.png", "blue/huge.png"} <= {item["id"] for item in found["excluded"]}
    assert sum(found["counts"].values()) == 24
    assert "left out: 10 examples" in run(*arguments).out


def test_rows_without_a_label_are_kept_aside(tmp_path: Path, run: Any, write_csv: Any, quick: Any, topics: Any) -> None:
    rows = [("text", "label"), *topics, *((f"unsorted {number}", "") for number in range(5))]
    ran = run(*quick(write_csv(tmp_path / "gaps.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Rows without a label, kept aside as unlabelled: 5." in ran.err
    assert len(ran.document["excluded"]) == 5
    assert sum(ran.document["counts"].values()) == len(topics)


def test_a_class_with_one_example_is_trained_on(
    tmp_path: Path, run: Any, write_csv: Any, quick: Any, topics: Any
) -> None:
    rows = [("text", "label"), *topics, ("the senate voted on the law", "politics")]
    ran = run(*quick(write_csv(tmp_path / "lonely.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Classes with a single training example: 'politics'." in ran.err
    assert any("not tested: politics" in note for note in ran.document["notes"])


def test_a_class_only_in_the_test_split_is_left_out_aloud(
    tmp_path: Path, run: Any, write_csv: Any, quick: Any, topics: Any
) -> None:
    split = [("text", "label", "split"), *((*row, "train" if i % 3 else "test") for i, row in enumerate(topics))]
    rows = [*split, ("the senate voted", "politics", "test"), ("a new law", "politics", "test")]
    ran = run(*quick(write_csv(tmp_path / "surprise.csv", rows), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "LEFT OUT: validation or test rows of classes that no training row has (2 of 'politics')" in ran.err
    assert [item["reason"] for item in ran.document["excluded"]] == ["class 'politics' is not in the training rows"] * 2


def test_a_number_and_its_text_are_one_class(
    tmp_path: Path, run: Any, write_jsonl: Any, quick: Any, topics: Any
) -> None:
    numbers = {"cooking": (1, "1"), "football": (2, 2)}
    records = [{"text": text, "label": numbers[label][i % 2]} for i, (text, label) in enumerate(topics)]
    ran = run(*quick(write_jsonl(tmp_path / "mixed.jsonl", records), "--out", tmp_path / "run"))
    assert ran.code == 0
    assert "Labels that occur as a number and as a text are read as one class: '1'." in ran.err
    assert run("inspect", tmp_path / "run" / "bundle", "--json").document["labels"] == ["1", "2"]


def test_numbers_are_learned_as_numbers(tmp_path: Path, run: Any, write_csv: Any, quick: Any, topics: Any) -> None:
    rows = [("text", "price"), *((text, round(len(text) + i / 100, 2)) for i, (text, _) in enumerate(topics))]
    out = tmp_path / "run"
    ran = run(*quick(write_csv(tmp_path / "prices.csv", rows), "--label", "price", "--out", out))
    assert ran.code == 0
    assert {"mae", "rmse", "r2", "n"} <= set(ran.document["test"])
    (row,) = run("predict", out / "bundle", "I think the soup needs salt", "--json").document
    assert set(row) == {"input", "value", "interval"}
    low, high = row["interval"]
    assert low < row["value"] < high
    table = run("predict", out / "bundle", "I think the soup needs salt").out
    assert table.splitlines()[0].split() == ["value", "input"]


def test_lists_of_labels_are_learned_as_sets(
    tmp_path: Path, run: Any, write_jsonl: Any, quick: Any, topics: Any
) -> None:
    records = [{"text": text, "label": [label, *["short"] * (len(text) < 30)]} for text, label in topics]
    out = tmp_path / "run"
    ran = run(*quick(write_jsonl(tmp_path / "sets.jsonl", records), "--out", out))
    assert ran.code == 0
    assert ran.document["metric"] == "macro_f1"
    (row,) = run("predict", out / "bundle", "I think the soup needs salt", "--json").document
    assert set(row["probabilities"]) == {"cooking", "football", "short"}
    assert set(row["label"]) <= set(row["probabilities"])
    assert run("predict", out / "bundle", "I think the soup needs salt").code == 0


def test_other_tables_are_read_alike(
    tmp_path: Path, texts: Path, run: Any, write_csv: Any, write_jsonl: Any, quick: Any, topics: Any
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    write_csv(tmp_path / "topics.tsv", [("text", "label"), *topics], "\t")
    write_jsonl(tmp_path / "topics.jsonl", [{"text": text, "label": label} for text, label in topics])
    parquet.write_table(
        pa.table({"text": [text for text, _ in topics], "label": [label for _, label in topics]}),
        tmp_path / "topics.parquet",
    )
    expected = run(*quick(texts, "--dry-run")).document["counts"]
    for path in sorted(tmp_path.iterdir()):
        assert run(*quick(path, "--dry-run")).document["counts"] == expected, path.name


def test_folders_of_splits_are_read(tmp_path: Path, run: Any, write_photos: Any) -> None:
    for number, (split, count) in enumerate({"train": 4, "val": 2, "test": 3}.items()):
        write_photos(tmp_path / "photos" / split, count, seed=number)
    found = run("fit", tmp_path / "photos", "--source", "efficientnet-lite0", "--dry-run", "--json").document
    assert found["counts"] == {"train": 8, "validation": 4, "test": 6, "unlabeled": 0}
    assert "The test rows are those that the data name." in found["sentences"][0]


def test_tables_of_paths_are_read(photo_run: Path, tmp_path: Path, run: Any, write_csv: Any, write_photos: Any) -> None:
    paths = sorted(write_photos(tmp_path / "photos", 3, seed=5).glob("*/*.png"))
    rows = [("file", "colour"), *((path.relative_to(tmp_path), path.parent.name) for path in paths)]
    table = write_csv(tmp_path / "paths.csv", [*rows, ("photos/red/9.png", "red")])
    ran = run("evaluate", photo_run / "bundle", table, "--json")
    assert ran.document["test"]["n"] == 6
    assert ran.document["excluded"] == [{"id": "row 7", "reason": "file does not exist"}]
    assert "Reading column 'file' as the image and 'colour' as the label" in ran.err
