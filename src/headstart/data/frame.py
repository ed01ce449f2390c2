"""Data that are not plain files: frames, ``(X, y)``, and Hugging Face datasets saved to disk."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from headstart.data.folder import is_image_name
from headstart.data.roles import as_image
from headstart.data.rows import Rows, clean, named, split_name, unique
from headstart.data.table import Columns, Table, from_arrow, join, row_names
from headstart.errors import DataError
from headstart.types import Modality

__all__ = ["as_list", "from_arrays", "from_frame", "is_frame", "is_saved_dataset", "read_saved_dataset"]


def is_frame(data: object) -> bool:
    """Whether this is a pandas or polars frame or an Arrow table, judged without importing any of them."""
    return type(data).__name__ in {"DataFrame", "Table"} and hasattr(data, "columns")


def from_frame(frame: Any) -> Table:
    """The columns of a pandas or polars frame or an Arrow table; the index is not used.

    Raises:
        DataError: If two columns have one name, or there are no rows.
    """
    if hasattr(frame, "column_names"):
        table = from_arrow(frame, "the table", Path())
    else:
        keys = {str(key): key for key in frame.columns}
        if len(keys) < len(list(frame.columns)):
            raise DataError(f"the frame has several columns of one name; its columns: {named(frame.columns, limit=50)}")
        columns = Columns(list(keys), lambda name: list(frame[keys[name]].to_list()))
        table = Table("the frame", columns, ids=row_names(len(frame)))
    if not len(table):
        raise DataError(f"{table.name} has no rows")
    return table


def from_arrays(inputs: Any, labels: Any, modality: Modality | None = None) -> Rows:
    """Rows from ``X`` (texts, paths, PIL images or pixel arrays) and ``y`` of the same length.

    A two-dimensional ``y`` of zeros and ones is multilabel, with column numbers as the labels.

    Raises:
        DataError: If lengths differ, nothing is there, or ``X`` holds something else.
    """
    cells, targets = as_list(inputs, "X"), _label_list(labels)
    if len(cells) != len(targets):
        raise DataError(f"X has {len(cells)} examples but y has {len(targets)} labels; they must correspond one to one")
    if not cells:
        raise DataError("X is empty")
    kind = modality or _modality(cells)
    ready = [as_image(cell, Path()) for cell in cells] if kind == "image" else cells
    names = [clean(cell.as_posix()) if isinstance(cell, Path) else f"row {n}" for n, cell in enumerate(ready, 1)]
    note = f"Reading X as {'images' if kind == 'image' else 'texts'}."
    return Rows(modality=kind, inputs=ready, ids=unique(names), labels=targets, notes=(note,))


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by ``save_to_disk`` of Hugging Face's ``datasets``."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def read_saved_dataset(folder: Path) -> Table:
    """A saved ``Dataset``, or a saved ``DatasetDict`` with its splits, read without importing ``datasets``.

    Raises:
        DataError: If a file is missing or malformed, no split is known, or there are no rows.
    """
    if not (folder / "dataset_dict.json").is_file():
        table = _read_saved(folder)
    else:
        keys = [str(key) for key in _json(folder / "dataset_dict.json").get("splits", [])]
        known = [key for key in keys if split_name(key)]
        if not known:
            raise DataError(f"{folder} names the splits {named(keys) or '(none)'}; expected train, validation or test")
        parts = {key: _read_saved(folder / Path(key).name) for key in known}
        table = join(parts, [split_name(key) or "" for key in known], str(folder), folder)
        if strangers := [key for key in keys if key not in known]:
            note = f"Not read: the splits {named(strangers)} of {folder}."
            table = dataclasses.replace(table, notes=(*table.notes, note))
    if not len(table):
        raise DataError(f"{folder} has no rows")
    return table


def _read_saved(folder: Path) -> Table:
    import pyarrow as pa

    features = _json(folder / "dataset_info.json", {}).get("features") or {}
    # Only the last part of a name: nothing outside the folder is opened.
    files = [folder / Path(str(f.get("filename"))).name for f in _json(folder / "state.json").get("_data_files", [])]
    if not files:
        raise DataError(f"{folder / 'state.json'} names no data files; save the dataset again with save_to_disk")
    parts = []
    for file in files:
        try:
            with pa.memory_map(str(file)) as stream, pa.ipc.open_stream(stream) as reader:
                parts.append(reader.read_all())
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"cannot read {file}: {str(error).splitlines()[0]}") from error
    return from_arrow(pa.concat_tables(parts), str(folder), folder, features)


def _json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.is_file():
        return default
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; is the dataset complete?") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} does not hold an object")
    return found


def as_list(values: Any, what: str) -> list[Any]:
    """The entries of a list, array, series or frame of one column; ``what`` is what messages call it.

    Raises:
        DataError: If it is none of these.
    """
    if getattr(values, "ndim", 1) == 2 and hasattr(values, "columns"):  # a frame of one column
        if len(values.columns) != 1:
            raise DataError(f"{what} is a frame of {len(values.columns)} columns; pass the frame itself, or one column")
        values = values[values.columns[0]]
    if isinstance(values, (str, bytes, Path, Image)) or not isinstance(values, Iterable):
        raise DataError(f"{what} is a {type(values).__name__}; expected a list or array with one entry per example")
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUS" and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    # tolist() turns NumPy's scalars into Python's; pixel arrays stay arrays.
    small = isinstance(values, np.ndarray) and values.ndim < 2
    return list(values.tolist() if small else values)


def _label_list(labels: Any) -> list[Any]:
    if not isinstance(labels, np.ndarray) or labels.ndim < 2:
        return as_list(labels, "y")
    if labels.ndim == 2 and labels.shape[1] == 1:
        return list(labels[:, 0].tolist())
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all():
        return [[str(column) for column in np.flatnonzero(row)] for row in labels]
    raise DataError(f"y has shape {labels.shape}; expected (N,), or (N, C) of zeros and ones for multilabel")


def _modality(cells: list[Any]) -> Modality:
    sample = [cell for cell in cells[:200] if cell is not None]
    if all(isinstance(cell, str) for cell in sample):
        paths = all(is_image_name(Path(cell)) for cell in sample) and any(map(os.path.isfile, sample))
        return "image" if paths else "text"
    if all(isinstance(cell, (str, Path, Image, np.ndarray)) for cell in sample):
        return "image"
    kinds = named(sorted({type(cell).__name__ for cell in sample}))
    raise DataError(f"X holds {kinds}; expected texts, paths of images, PIL images or arrays of pixels")
