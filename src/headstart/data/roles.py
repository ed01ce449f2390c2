"""Which column is the input, the label, the group and the split: asked for, or guessed and said aloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from headstart.data.folder import is_image_name
from headstart.data.images import UnreadableImage, from_bytes, open_image
from headstart.data.rows import Rows, clean, is_missing, named, split_name, unique
from headstart.data.table import Table
from headstart.errors import DataError
from headstart.types import Modality

__all__ = ["Asked", "as_image", "choose", "choose_input"]

# Usual names of columns, best first, separated by spaces.
TEXTS = (
    "text sentence content message review utterance question query comment tweet post document article body "
    "headline title description prompt"
)
IMAGES = "image image_path img img_path image_file path filepath file_path file filename file_name photo picture"
LABELS = (
    "label labels class classes target targets category categories intent y sentiment topic tag tags emotion "
    "class_name label_text label_name score rating"
)
INDICES = {"", "id", "idx", "index", "uuid", "guid", "unnamed: 0", "__index_level_0__"}
SAMPLE = 200
"""Cells that are looked at to tell what a column holds."""


@dataclass(frozen=True)
class Asked:
    """The columns a user named; None: guess."""

    input: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None

    def any(self) -> bool:
        """Whether any column was named."""
        return any(name is not None for name in (self.input, self.label, self.group, self.split))


def choose(table: Table, asked: Asked, modality: Modality | None = None) -> Rows:
    """The rows of a table, by the columns asked for or guessed.

    Raises:
        DataError: If a column does not exist, or none fits; lists the columns.
    """
    for name in (asked.input, asked.label, asked.group, asked.split):
        _require(table, name)
    splits, split_column, notes = _splits(table, asked)
    taken: set[str | None] = {asked.group, split_column} - {None}
    label = asked.label
    if label is None:
        label = _by_name(table, LABELS, taken | {asked.input}, lambda _: True)
    source, kind = choose_input(table, asked.input, modality, taken | {label})
    if label is None:
        label = _label_by_content(table, taken | {source})
    if source == label:
        raise DataError(f"'{source}' cannot be both the input and the label in {table.name}. {_columns(table)}")
    what = "the image" if kind == "image" else "the text"
    said = f"Reading column '{source}' as {what} and '{label}' as the label; set them with --input and --label."
    return Rows(
        modality=kind,
        inputs=_inputs(table, source, kind),
        ids=table.ids,
        labels=_labels(table, label),
        groups=_groups(table, asked.group),
        splits=splits,
        notes=(*table.notes, said, *notes),
    )


def choose_input(
    table: Table, asked: str | None, modality: Modality | None, taken: set[str | None]
) -> tuple[str, Modality]:
    """The input column and what it holds; without ``asked``, by its name, else the longest texts.

    Raises:
        DataError: If the column does not exist, or none fits; lists the columns.
    """
    if asked is not None:
        _require(table, asked)
        return asked, modality or _kind(table, asked) or "text"

    def fits(name: str) -> bool:
        kind = _kind(table, name)
        return kind is not None and kind == (modality or kind)

    found = _by_name(table, f"{TEXTS} {IMAGES}", taken, fits)
    if found is None:
        others = [name for name in table.columns if name not in taken and name.lower() not in INDICES and fits(name)]
        found = max(others, key=lambda name: _length(table.columns[name]), default=None)
    if found is None:
        wanted = {"image": "paths of images", "text": "texts", None: "texts or paths of images"}[modality]
        raise DataError(f"no column of {table.name} holds {wanted}. {_columns(table)} Name one with --input.")
    return found, _kind(table, found) or "text"


def as_image(cell: Any, base: Path) -> Any:
    """A path, a PIL image, None where missing, or the error that says why there is none.

    A relative path starts from ``base``; encoded bytes (also as Hugging Face's ``{"bytes", "path"}``)
    and pixel arrays become PIL images.
    """
    try:
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if isinstance(cell, (bytes, bytearray)):
            return from_bytes(bytes(cell))
        if isinstance(cell, np.ndarray):
            return open_image(cell)
    except UnreadableImage as error:
        return error
    if isinstance(cell, Image):
        return cell
    return None if is_missing(cell) else base / str(cell).strip()


def _inputs(table: Table, column: str, kind: Modality) -> list[Any]:
    cells = table.columns[column]
    if kind == "image":
        return [as_image(cell, table.base) for cell in cells]
    if any(isinstance(cell, (dict, list, tuple, bytes, np.ndarray)) for cell in cells[:SAMPLE]):
        raise DataError(f"column '{column}' of {table.name} does not hold texts. {_columns(table)}")
    return [None if is_missing(cell) else str(cell) for cell in cells]


def _labels(table: Table, column: str) -> list[Any]:
    names = table.classes.get(column)
    if not names:
        return list(table.columns[column])

    def name(cell: Any) -> Any:
        if isinstance(cell, (list, tuple)):
            return [name(one) for one in cell]
        return names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None  # -1: not labelled

    return [name(cell) for cell in table.columns[column]]


def _groups(table: Table, column: str | None) -> list[str] | None:
    if column is None:
        return None
    cells = zip(table.columns[column], unique(table.ids), strict=True)
    return [f"(no group) {row}" if is_missing(cell) else clean(str(cell)) for cell, row in cells]


def _splits(table: Table, asked: Asked) -> tuple[Sequence[str] | None, str | None, list[str]]:
    """Our names of the splits, the column they come from, and what to say about it."""
    if table.splits is not None and asked.split is None:
        return table.splits, None, []
    column = asked.split
    if column is None:
        column = next((name for name in table.columns if name.strip().lower() == "split"), None)
    if column is None or column in (asked.input, asked.label, asked.group):
        return None, None, []
    cells = table.columns[column]
    names = [split_name(cell) for cell in cells]
    strange = sorted({str(cell) for cell, name in zip(cells, names, strict=True) if name is None})
    if strange and asked.split is not None:
        raise DataError(
            f"column '{column}' of {table.name} holds {named(strange)}, which name no split. "
            "Valid: train, validation (or val, valid, dev), test, or empty."
        )
    if strange:
        return None, column, [f"Column '{column}' is not used for splitting: it holds {named(strange)}."]
    return [name or "" for name in names], column, [f"Reading column '{column}' as the split; set it with --split."]


def _by_name(table: Table, names: str, taken: set[str | None], fits: Callable[[str], bool]) -> str | None:
    """The first column, in the order of ``names``, that is free and fits."""
    plain = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in table.columns}
    free = (plain[name] for name in names.split() if name in plain and plain[name] not in taken)
    return next((name for name in free if fits(name)), None)


def _label_by_content(table: Table, taken: set[str | None]) -> str:
    others = [name for name in table.columns if name not in taken and name.lower() not in INDICES]
    if len(others) > 1:  # a label repeats itself
        others = [name for name in others if 2 <= _distinct(table.columns[name]) <= len(table) / 2]
    if len(others) != 1:
        which = f"could be {named(others)}" if others else "is not among them"
        raise DataError(
            f"cannot tell which column of {table.name} is the label: it {which}. {_columns(table)} "
            "Name it with --label."
        )
    return others[0]


def _kind(table: Table, column: str) -> Modality | None:
    """What a column holds, from its first cells; None: neither texts nor images."""
    sample = [cell for cell in table.columns[column][:SAMPLE] if not is_missing(cell)]
    if not sample:
        return None
    if all(isinstance(cell, str) for cell in sample):
        pictures = sum(is_image_name(Path(cell)) for cell in sample) >= 0.9 * len(sample)
        if not pictures and column.strip().lower() in IMAGES.split():
            pictures = any(os.path.isfile(table.base / cell) for cell in sample[:5])
        return "image" if pictures else "text"
    is_image = [
        isinstance(cell, (bytes, Path, Image)) or (isinstance(cell, dict) and {"bytes", "path"} & cell.keys())
        for cell in sample
    ]
    return "image" if all(is_image) else None


def _length(cells: Sequence[Any]) -> float:
    sample = [len(str(cell)) for cell in cells[:SAMPLE]]
    return sum(sample) / len(sample)


def _distinct(cells: Sequence[Any]) -> int:
    return len({repr(cell) for cell in cells if not is_missing(cell)})


def _require(table: Table, name: str | None) -> None:
    if name is None or name in table.columns:
        return
    near = get_close_matches(name, list(table.columns), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise DataError(f"{table.name} has no column '{name}'{hint} {_columns(table)}")


def _columns(table: Table) -> str:
    return f"Columns: {', '.join(table.columns)}."
