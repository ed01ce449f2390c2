from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from headstart.data import table as tables
from headstart.data.table import Columns, from_arrow, join, read_table
from headstart.errors import DataError

Csv = Callable[..., Path]


def columns_of(path: Path) -> dict[str, list[Any]]:
    return dict(read_table(path).columns)


def test_csv_cells_stay_text(write_csv: Csv) -> None:
    path = write_csv([("text", "label"), ("NA", "1"), ("null", "1.0"), ("", "nan"), (' a,"b"\nc ', "x")])
    assert columns_of(path) == {"text": ["NA", "null", "", ' a,"b"\nc '], "label": ["1", "1.0", "nan", "x"]}
    table = read_table(path)
    assert table.ids == ["row 1", "row 2", "row 3", "row 4"]
    assert table.base == path.parent
    assert table.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nnaïve – 東京,é\n".encode(encoding))
    assert columns_of(path) == {"text": ["naïve – 東京"], "label": ["é"]}
    assert read_table(path).notes == ()


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nnaïve café – “so”,é\n".encode("cp1252"))
    assert columns_of(path)["text"] == ["naïve café – “so”"]
    assert "not UTF-8" in read_table(path).notes[0]
    path.write_bytes(b"text,label\n\x81\xe9,1\n")
    assert columns_of(path)["text"] == ["\x81é"]


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"PK\x03\x04\0\0\xff\xfe\0\0")
    with pytest.raises(DataError, match=r"a\.csv is not a text file"):
        read_table(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_recognised(write_csv: Csv, delimiter: str) -> None:
    path = write_csv([("text", "label"), ("a, b; c", "1")], delimiter=delimiter)
    assert columns_of(path) == {"text": ["a, b; c"], "label": ["1"]}


def test_tsv_with_plain_quote_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"well\t1\nfive" screen\t2\nthe "end\t3\n')
    assert columns_of(path)["text"] == ['"well', 'five" screen', 'the "end']


def test_tsv_where_quoting_would_join_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"well\t1\nthe end"\t2\nand more\t3\n')
    assert columns_of(path)["label"] == ["1", "2", "3"]
    path.write_text('text\tlabel\n"well, ""then"""\t1\n')
    assert columns_of(path)["text"] == ['well, "then"']


def test_tsv_with_quoted_fields(write_csv: Csv) -> None:
    rows = [("text", "label"), ("two\nlines", "1"), ('say "hi"', "2"), ("a\tb", "3")]
    assert columns_of(write_csv(rows, "a.tsv", "\t"))["text"] == [row[0] for row in rows[1:]]


def test_ragged_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n\nonly text\na,1,,\nb,2\n")
    assert columns_of(path) == {"text": ["only text", "a", "b"], "label": ["", "1", "2"]}
    path.write_text('text,label\na,1\n"two\nlines",2\nhello, world,2\n')
    with pytest.raises(DataError, match=r"a\.csv, line 5: 3 fields, but the header has 2"):
        read_table(path)


@pytest.mark.parametrize("body", ['a,"never closed\nb,2\n', 'a,1\nb,"x"y\n'])
def test_malformed_csv_names_the_line(tmp_path: Path, body: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + body)
    with pytest.raises(DataError, match=r"a\.csv, line [34]: .*Check the quotes"):
        read_table(path)


def test_long_cells_and_the_limit_of_csv(write_csv: Csv) -> None:
    before = csv.field_size_limit()
    path = write_csv([("text", "label"), ("x" * 300_000, "1")])
    assert len(columns_of(path)["text"][0]) == 300_000
    assert csv.field_size_limit() == before


def test_repeated_column_names(write_csv: Csv) -> None:
    assert list(columns_of(write_csv([("a", "a", " b "), ("1", "2", "3")]))) == ["a", "a (2)", "b"]


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\u2028b", "label": 1}\n\n{"text": "c", "label": "1", "extra": [1]}\n')
    assert columns_of(path) == {"text": ["a\u2028b", "c"], "label": [1, "1"], "extra": [None, [1]]}
    listed = tmp_path / "a.json"
    listed.write_text(json.dumps([{"text": "a"}, {"text": "b"}], indent=1))
    assert columns_of(listed) == {"text": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": \n', "line 2, column"),
        ('{"a": 1}\n[1, 2]\n', "record 2: expected an object"),
        ("[" * 100_000, "not usable as JSON|not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not usable as JSON"),
        ("", "has no rows"),
    ],
    ids=["broken", "list", "deep", "number", "empty"],
)
def test_malformed_jsonl_names_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert "a.jsonl" in str(caught.value)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "kind=a" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(pa.table({"text": ["a", None], "tags": [["x"], []]}), path)
    assert columns_of(path) == {"text": ["a", None], "tags": [["x"], []]}
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file"):
        read_table(path)


def test_class_names_of_hugging_face_metadata() -> None:
    features = {
        "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "tags": {"feature": {"names": ["x"], "_type": "ClassLabel"}, "_type": "List"},
        "more": [{"names": ["y"], "_type": "ClassLabel"}],
        "text": {"dtype": "string", "_type": "Value"},
    }
    plain = pa.table({"label": [0], "tags": [[0]], "more": [[0]], "text": ["a"]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for table in (
        from_arrow(plain.replace_schema_metadata(metadata), "t", Path()),
        from_arrow(plain, "t", Path(), features),
    ):
        assert table.classes == {"label": ("no", "yes"), "tags": ("x",), "more": ("y",)}
    for broken in ("{", "[]", '{"info": 1}', '{"info": {"features": []}}'):
        assert from_arrow(plain.replace_schema_metadata({"huggingface": broken}), "t", Path()).classes == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "text,label\n", "has no rows"),
        ("a.xlsx", "x", "neither a folder nor a table; tables end in .csv"),
    ],
)
def test_files_without_rows(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,1\n")
    with pytest.raises(DataError, match=r"no such file or folder: .*trian\.csv; did you mean .*train\.csv\?"):
        read_table(tmp_path / "trian.csv")
    with pytest.raises(DataError, match="does not exist or cannot be read"):
        read_table(tmp_path / "nowhere" / "train.csv")


def test_unreadable_file(write_csv: Csv, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write_csv([("text", "label"), ("a", "1")])
    monkeypatch.setattr(tables.Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"cannot read .*data\.csv: Permission denied"):
        read_table(path)


def test_join_fills_what_a_part_lacks(write_csv: Csv) -> None:
    one = read_table(write_csv([("text", "label"), ("a", "1")], "train.csv"))
    two = read_table(write_csv([("text", "extra"), ("b", "2")], "test.csv"))
    table = join({"train.csv": one, "test.csv": two}, ["train", "test"], "both", Path())
    assert dict(table.columns) == {"text": ["a", "b"], "label": ["1", None], "extra": [None, "2"]}
    assert table.ids == ["train.csv row 1", "test.csv row 1"]
    assert table.splits == ["train", "test"]


def test_columns_are_loaded_once_and_only_when_asked() -> None:
    asked: list[str] = []

    def load(name: str) -> list[Any]:
        asked.append(name)
        return [name]

    columns = Columns(["a", "b"], load)
    assert (list(columns), len(columns), asked) == (["a", "b"], 2, [])
    assert columns["a"] is columns["a"]
    assert asked == ["a"]
    with pytest.raises(KeyError):
        columns["c"]
