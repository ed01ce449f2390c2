"""From data as people have them to one table of examples, and to inputs for predictions."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks import usable
from headstart.data.folder import images_under, is_image_name, listing, read_folder
from headstart.data.frame import as_list, from_arrays, from_frame, is_frame, is_saved_dataset, read_saved_dataset
from headstart.data.labels import Encoded, default_metric, encode, encode_known, is_unlabeled
from headstart.data.roles import Asked, as_image, choose, choose_input
from headstart.data.rows import SPLIT_NAMES, Rows, clean, unique
from headstart.data.table import SUFFIXES, Table, is_table_name, join, read_table
from headstart.errors import DataError, UsageError, unknown_name
from headstart.types import Dataset, Examples, Exclusion, Modality, Problem, Task

__all__ = ["read", "read_inputs", "read_labelled", "table_of"]


def read(
    data: Any,
    *,
    input: str | None = None,  # noqa: A002 - the name of the setting and of the flag
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    problem: Problem | None = None,
    metric: str | None = None,
    modality: Modality | None = None,
) -> Dataset:
    """One checked table of examples with its task, from data in any form people have them in.

    Args:
        data: Path of a folder of class folders (with or without train/ val/ test/ above them), of a
            CSV, TSV, JSONL or Parquet file, of a folder with train.csv and test.csv (or the like), or of
            a Hugging Face dataset saved to disk; a pandas or polars frame; or a pair ``(X, y)``.
        input: Column of the texts or image paths; None: guessed and noted. Likewise ``label``.
        label: Column of the labels. Lists make the problem multilabel.
        group: Column whose equal values no split may tear apart; None: no groups.
        split: Column that says train, validation or test; None: one named ``split``, if there is one.
        problem: None: guessed from the labels and noted.
        metric: None: by problem and class balance (never looking at test rows), and noted.
        modality: None: guessed from the inputs.

    Raises:
        UsageError: For an unknown problem or modality, or columns named for data without columns.
        DataError: If the data cannot be used as they are.
        ResourceError: If memory runs out.
    """
    for kind, value, valid in (("problem", problem, Problem), ("modality", modality, Modality)):
        if value is not None and value not in get_args(valid):
            raise unknown_name(kind, value, get_args(valid))
    rows = _rows(data, Asked(input, label, group, split), modality)
    kept, digests = usable(rows)
    dataset = _dataset(kept, digests, problem or rows.problem, metric)
    return dataclasses.replace(dataset, notes=(*dataset.notes, *_losses(rows, dataset)))


def read_labelled(
    data: Any,
    task: Task,
    *,
    input: str | None = None,  # noqa: A002 - the name of the setting and of the flag
    label: str | None = None,
    split: str | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Examples, list[Exclusion]]:
    """Labelled rows to measure a finished model on: those named test where the data name any, else all.

    Args:
        data: As for `read`.
        task: The model's; its labels are kept in their order.
        input: Column of the texts or image paths; None: guessed. Likewise ``label``.
        label: Column of the labels.
        split: Column that says train, validation or test; None: one named ``split``, if there is one.
        say: Is given what was guessed, as sentences.

    Returns:
        The table, and what had to be left out: unusable inputs, rows without a label.

    Raises:
        DataError: If the data cannot be used, or hold labels the task does not have.
        ResourceError: If memory runs out.
    """
    rows = _rows(data, Asked(input, label, None, split), task.modality)
    said = list(rows.notes)
    if rows.splits and "test" in rows.splits:
        rows = rows.keep([i for i, name in enumerate(rows.splits) if name == "test"])
        said.append("Measuring on the rows that the data name test.")
    _tell(say, said)
    kept, digests = usable(rows)
    encoded = encode_known(kept.labels, task)
    good, bad = _judged(kept, encoded)
    if not good:
        raise DataError(f"none of the {len(rows.inputs)} rows has a usable label; there is nothing to measure on")
    kept = kept.keep(good, bad)
    return _examples(kept, [digests[i] for i in good], encoded.targets[good]), list(kept.excluded)


def table_of(inputs: Sequence[Any], modality: Modality) -> Examples:
    """An unlabelled table of texts, or of image paths, PIL images or pixel arrays.

    Raises:
        DataError: If an input cannot be used; names the first few.
        ResourceError: If memory runs out.
    """
    cells = as_list(inputs, "the examples")
    rows = from_arrays(cells, [None] * len(cells), modality) if cells else Rows(modality, [], [], [])
    kept, digests = usable(rows) if cells else (rows, ())
    if kept.excluded:
        first = "; ".join(f"{item.id}: {item.reason}" for item in kept.excluded[:5])
        raise DataError(f"{len(kept.excluded)} of {len(cells)} examples cannot be used. {first}")
    return _examples(kept, digests, np.full(len(cells), -1, np.int64))


def read_inputs(
    inputs: Sequence[str],
    modality: Modality,
    input: str | None = None,  # noqa: A002 - the name of the setting and of the flag
    say: Callable[[str], None] | None = None,
) -> tuple[list[Any], list[str], list[Exclusion]]:
    """Unlabelled inputs to predict for: the inputs, their names, and what had to be left out.

    Args:
        inputs: Each the path of a table (its input column is used), or ``-`` for one text (or image
            path) per line of the standard input; for images also an image file, or a folder whose images
            are all used; for texts also a ``.txt`` file with one text per line, or else the text itself.
        modality: What the bundle takes.
        input: Column of the tables; None: guessed.
        say: Is given what was guessed, as sentences.

    Raises:
        DataError: If nothing usable is left, or a table cannot be read.
        ResourceError: If memory runs out.
    """
    found = [_one_input(given, modality, input, len(inputs) > 1) for given in inputs]
    _tell(say, dict.fromkeys(note for rows in found for note in rows.notes))
    cells = [cell for rows in found for cell in rows.inputs]
    rows = Rows(
        modality=modality,
        inputs=cells,
        ids=unique(name for rows in found for name in rows.ids),
        labels=[None] * len(cells),
        excluded=tuple(item for rows in found for item in rows.excluded),
    )
    if not cells:
        raise DataError("there is nothing to predict for: no input was given, or the folders are empty")
    kept, _ = usable(rows)
    return list(kept.inputs), list(kept.ids), list(kept.excluded)


def _rows(data: Any, asked: Asked, modality: Modality | None) -> Rows:
    if isinstance(data, (str, Path)):
        if not str(data).strip():
            raise DataError("the path of the data is empty; give a folder, or a CSV, TSV, JSONL or Parquet file")
        path = Path(os.path.expanduser(data))
        if not os.path.isdir(path):
            return choose(read_table(path), asked, modality)
        table = _table_in(path)
        if table is not None:
            return choose(table, asked, modality)
        _refuse_columns(asked, f"{path} is a folder of class folders")
        if modality == "text":
            raise DataError(f"{path} is a folder of class folders, which hold images. Give texts as CSV, TSV or JSONL.")
        return read_folder(path)
    if is_frame(data):
        return choose(from_frame(data), asked, modality)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        _refuse_columns(asked, "(X, y) has no columns")
        return from_arrays(data[0], data[1], modality)
    raise UsageError(
        f"cannot read data of type {type(data).__name__}; give a path (folder, CSV, TSV, JSONL, Parquet), "
        "a pandas or polars frame, or a pair (X, y)"
    )


def _refuse_columns(asked: Asked, because: str) -> None:
    if asked.any():
        raise UsageError(f"{because}, so --input, --label, --group and --split do not apply; leave them out")


def _table_in(folder: Path) -> Table | None:
    """The table that a folder stands for; None where its subfolders are the data."""
    if is_saved_dataset(folder):
        return read_saved_dataset(folder)
    try:
        folders, files = listing(folder)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror or error}. Check its permissions."
        ) from error
    if len(folders) > 1 or any(inner.name.lower() in SPLIT_NAMES for inner in folders):
        return None
    tables = [file for file in files if is_table_name(file)]
    parts = {file.name: file for file in tables if file.stem.lower() in SPLIT_NAMES}
    if parts:
        splits = [SPLIT_NAMES[file.stem.lower()] for file in parts.values()]
        return join({name: read_table(file) for name, file in parts.items()}, splits, str(folder), folder)
    if len(tables) > 1:
        names = ", ".join(file.name for file in tables)
        raise DataError(f"{folder} holds several tables ({names}); give one of them, or name them train and test")
    return read_table(tables[0]) if tables else None


def _tell(say: Callable[[str], None] | None, sentences: Iterable[str]) -> None:
    if say is not None:
        for sentence in sentences:
            say(sentence)


def _judged(rows: Rows, encoded: Encoded) -> tuple[list[int], list[Exclusion]]:
    """Rows whose label can be used, and the others with the reason."""
    good = [i for i, reason in enumerate(encoded.reasons) if reason is None]
    return good, [Exclusion(rows.ids[i], reason) for i, reason in enumerate(encoded.reasons) if reason is not None]


def _examples(rows: Rows, digests: Sequence[str], targets: NDArray[Any]) -> Examples:
    groups = None if rows.groups is None else tuple(rows.groups)
    return Examples(rows.modality, tuple(rows.inputs), tuple(rows.ids), tuple(digests), targets, groups)


def _dataset(rows: Rows, digests: tuple[str, ...], problem: Problem | None, metric: str | None) -> Dataset:
    encoded = encode(rows.labels, rows.splits, problem)
    good, bad = _judged(rows, encoded)
    kept, targets = rows.keep(good, bad), encoded.targets[good]
    splits = np.array(kept.splits or [""] * len(good))
    if metric is None:
        metric, why = default_metric(encoded.problem, targets[splits != "test"])
    else:
        why = f"Metric: {metric}."
    bare = np.flatnonzero(is_unlabeled(targets)).tolist()
    excluded = (*kept.excluded, *(Exclusion(kept.ids[i], "no label") for i in bare))
    return Dataset(
        task=Task(encoded.problem, rows.modality, encoded.labels, metric),
        examples=_examples(kept, [digests[i] for i in good], targets),
        given=tuple(splits.tolist()) if splits.any() else None,
        excluded=excluded,
        notes=(*rows.notes, *encoded.notes, why),
    )


def _losses(found: Rows, dataset: Dataset) -> list[str]:
    """What is not there for training or testing, as sentences."""
    said = []
    bare = int(is_unlabeled(dataset.examples.targets).sum())
    if bare:
        said.append(f"Rows without a label, kept aside as unlabelled: {bare}.")
    if left_out := len(dataset.excluded) - bare:
        said.append(f"Examples left out together with their labels, each listed with its reason: {left_out}.")
    gone = sorted(set(found.splits or ()) - set(dataset.given or ()) - {""})
    return [*said, *(f"LEFT OUT: all {name} rows; none can be used." for name in gone)]


def _one_input(given: str, modality: Modality, column: str | None, several: bool) -> Rows:
    path = Path(os.path.expanduser(given))
    if given == "-":
        lines = [line.rstrip("\r\n") for line in sys.stdin]
        cells = [as_image(line, Path()) for line in lines] if modality == "image" else lines
        return _named(modality, cells, [f"line {number}" for number in range(1, len(lines) + 1)])
    if modality == "image" and given and os.path.isdir(path):
        inside = list(images_under(path, path))
        files = [item for item in inside if isinstance(item, Path) and is_image_name(item)]
        lost = tuple(item for item in inside if isinstance(item, Exclusion))
        return dataclasses.replace(_named(modality, files, [clean(file.as_posix()) for file in files]), excluded=lost)
    if is_table_name(path) and (os.path.isfile(path) or " " not in given):
        return _column(path, modality, column, several)
    if modality == "image":
        return _named(modality, [as_image(os.path.expanduser(given), Path())], [clean(given)])
    if path.suffix.lower() == ".txt" and (os.path.isfile(path) or " " not in given):
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {path} as UTF-8 text: {why}") from error
        return _named(modality, lines, [f"{path.name} line {number}" for number in range(1, len(lines) + 1)])
    if os.path.isfile(path):
        kinds = ", ".join((".txt", *sorted(SUFFIXES)))
        raise DataError(f"{path} is a file, but of none of the kinds that hold texts: {kinds}")
    return _named(modality, [given], [clean(given)])


def _column(path: Path, modality: Modality, column: str | None, several: bool) -> Rows:
    table = read_table(path)
    name, _ = choose_input(table, column, modality, set())
    cells = table.columns[name]
    ready = [as_image(cell, table.base) for cell in cells] if modality == "image" else cells
    rows = _named(modality, ready, [f"{path.name} {row}" if several else row for row in table.ids])
    said = f"Reading column '{name}' of {path} as the {modality}; set it with --input."
    return dataclasses.replace(rows, notes=(*table.notes, said))


def _named(modality: Modality, cells: Sequence[Any], names: Sequence[str]) -> Rows:
    return Rows(modality=modality, inputs=cells, ids=names, labels=[None] * len(cells))
