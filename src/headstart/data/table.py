"""Tables from files: CSV, TSV, JSONL and Parquet, as named columns of raw cells."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from headstart.data.rows import named, unique
from headstart.errors import DataError

__all__ = ["SUFFIXES", "Columns", "Table", "from_arrow", "is_table_name", "join", "read_table"]


class Columns(Mapping[str, list[Any]]):
    """Columns by name, each turned into Python objects when it is first asked for, and kept."""

    def __init__(self, names: Sequence[str], load: Callable[[str], list[Any]]) -> None:
        """Takes the names in order and what makes a column of one of them."""
        self._names = tuple(names)
        self._load = load
        self._kept: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        """The cells of a column."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._kept:
            self._kept[name] = self._load(name)
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self._names)

    def __len__(self) -> int:
        """Number of columns."""
        return len(self._names)


@dataclass(frozen=True)
class Table:
    """Named columns of N raw cells each."""

    name: str
    """What messages call it."""
    columns: Mapping[str, list[Any]]
    ids: Sequence[str]
    base: Path = Path()
    """Folder that relative paths in cells start from."""
    splits: Sequence[str] | None = None
    """N names of splits, where they come from files or folders and not from a column."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> class names, where its cells are numbers of classes."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)


def is_table_name(path: Path) -> bool:
    """Whether a path is called like a table file."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path) -> Table:
    """The table in a file; CSV and TSV cells stay text, so that ``NA`` and ``null`` are texts too.

    Raises:
        DataError: If the file is missing, unreadable, malformed (names the line), or has no rows.
    """
    if not os.path.isfile(path):
        raise DataError(_missing(path))
    read = SUFFIXES.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path} is neither a folder nor a table; tables end in {', '.join(sorted(SUFFIXES))}")
    try:
        table = read(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not len(table):
        raise DataError(f"{path} has no rows")
    return table


def join(parts: Mapping[str, Table], splits: Sequence[str], name: str, base: Path) -> Table:
    """Tables under one another; a column that a part lacks is empty there; ids are led by the part's key."""
    tables = list(parts.values())

    def load(column: str) -> list[Any]:
        return [cell for t in tables for cell in (t.columns[column] if column in t.columns else [None] * len(t))]

    return Table(
        name,
        Columns(tuple(dict.fromkeys(c for t in tables for c in t.columns)), load),
        ids=[f"{key} {row}" for key, table in parts.items() for row in table.ids],
        base=base,
        splits=[split for split, table in zip(splits, tables, strict=True) for _ in table.ids],
        classes={column: names for t in tables for column, names in t.classes.items()},
        notes=tuple(note for t in tables for note in t.notes),
    )


def from_arrow(arrow: Any, name: str, base: Path, features: Mapping[str, Any] | None = None) -> Table:
    """A ``pyarrow.Table``; class names come from Hugging Face's features, given or in its metadata."""
    features = features or _features_in(arrow.schema.metadata or {})
    classes = {column: found for column, feature in features.items() if (found := _class_names(feature))}
    columns = Columns(arrow.column_names, lambda column: list(arrow.column(column).to_pylist()))
    return Table(name, columns, ids=row_names(arrow.num_rows), base=base, classes=classes)


def row_names(count: int) -> list[str]:
    """``row 1`` and so on; a header is not counted."""
    return [f"row {number}" for number in range(1, count + 1)]


def _missing(path: Path) -> str:
    if os.path.exists(path):
        return f"{path} is neither a file nor a folder"
    try:
        near = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    except OSError:
        return f"no such file or folder: {path}; {path.parent} does not exist or cannot be read"
    return f"no such file or folder: {path}" + (f"; did you mean {path.parent / near[0]}?" if near else "")


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The decoded file and what had to be guessed."""
    data = path.read_bytes()
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((known for mark, known in marks.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:  # plain Latin text in UTF-16 without its mark
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    notes: tuple[str, ...] = ()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1" if set(data) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252")
        notes = (f"{path} is not UTF-8; reading it as Latin-1 (Windows-1252). Save it as UTF-8 if letters look wrong.",)
    if "\0" in text:
        raise DataError(f"{path} is not a text file: it holds zero bytes")
    return text, notes


def _read_csv(path: Path, delimiter: str | None = None) -> Table:
    text, notes = _text(path)
    first = text.lstrip().partition("\n")[0]
    tab = delimiter == "\t"
    delimiter = delimiter or max(",;\t|", key=first.count)
    limit = csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))  # only ever raised; put back below
    try:
        lines = _split_lines(path, text, delimiter, tab)
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise DataError(f"{path} is empty")
    header = unique(cell.strip() for cell in lines[0][1])
    body = [_fitted(path, line, cells, header) for line, cells in lines[1:]]
    columns = dict(zip(header, map(list, zip(*body, strict=True)), strict=True)) if body else {}
    return Table(str(path), columns, ids=row_names(len(body)), base=path.parent, notes=notes)


def _split_lines(path: Path, text: str, delimiter: str, tab: bool) -> list[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""

    def parse(quoting: int) -> list[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        try:
            return [(reader.line_num, cells) for cells in reader if cells]
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}. Check the quotes.") from error

    if tab and '"' in text:
        # Many TSV files use quote marks as plain characters. Where every line has the same number of tabs
        # and quoting would join lines, they are such.
        plain = parse(csv.QUOTE_NONE)
        if len({len(cells) for _, cells in plain}) == 1:
            try:
                quoted = parse(csv.QUOTE_MINIMAL)
            except DataError:
                return plain
            return quoted if len(quoted) == len(plain) else plain
    return parse(csv.QUOTE_MINIMAL)


def _fitted(path: Path, line: int, cells: list[str], header: list[str]) -> list[str]:
    extra = cells[len(header) :]
    if any(extra):
        raise DataError(
            f"{path}, line {line}: {len(cells)} fields, but the header has {len(header)} ({named(header)}). "
            "Put quote marks around fields that contain the delimiter."
        )
    return cells[: len(header)] + [""] * (len(header) - len(cells))


def _read_json(path: Path) -> Table:
    text, notes = _text(path)
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        records = _parsed(path, text, 1)
    else:
        lines = enumerate(text.split("\n"), 1)
        records = [_parsed(path, line, number) for number, line in lines if line.strip()]
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise DataError(f'{path}, record {number}: expected an object like {{"text": ..., "label": ...}}')
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return Table(str(path), columns, ids=row_names(len(records)), base=path.parent, notes=notes)


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise DataError(f"{path}, {where}: not JSON ({error.msg}). JSONL has one object a line.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {line}: not usable as JSON ({error})") from error


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Not read_table(): that would turn folder names such as "a=1" above the file into columns.
        with parquet.ParquetFile(path) as file:
            return from_arrow(file.read(), str(path), path.parent)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _features_in(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(feature: Any) -> tuple[str, ...]:
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


SUFFIXES: Mapping[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, delimiter="\t"),
    ".tab": partial(_read_csv, delimiter="\t"),
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}
"""Suffix of a table file -> its reader."""
