"""Raw labels -> targets: which problem it is, which classes there are, and which labels cannot be used."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.rows import clean, is_missing, named
from headstart.errors import DataError
from headstart.types import Problem, Task

__all__ = ["Encoded", "default_metric", "encode", "encode_known", "guess_problem", "is_unlabeled"]

WHOLE = re.compile(r"([+-]?(?:0|[1-9]\d*))\.0+")


@dataclass(frozen=True)
class Encoded:
    """Targets of N rows, and why some of the rows cannot be used."""

    problem: Problem
    labels: tuple[str, ...]
    targets: NDArray[Any]
    """As `headstart.types.Examples.targets`; of no meaning in rows that have a reason."""
    reasons: tuple[str | None, ...]
    """N reasons to leave a row out, or None."""
    notes: tuple[str, ...]


def encode(values: Sequence[Any], splits: Sequence[str] | None, problem: Problem | None = None) -> Encoded:
    """Targets from raw labels; problem and classes are decided without looking at validation or test rows.

    Args:
        values: N raw labels; missing ones leave a row unlabelled, or out where nothing can be unlabelled.
        splits: N out of train, validation, test and '', or None.
        problem: None: see `guess_problem`.

    Raises:
        DataError: If no training row has a usable label, or all have the same.
    """
    cells = _cells(values)
    names = splits or [""] * len(cells)
    teaching = [name in {"", "train"} for name in names]
    if not any(teaching):
        raise DataError("no row is a training row: every row is named validation or test. Add rows named train.")
    seen = [cell for cell, teaches in zip(cells, teaching, strict=True) if teaches and cell is not None]
    if not seen:
        raise DataError("every label of the training rows is empty; there is nothing to learn from")
    chosen = problem or guess_problem(seen)
    if chosen == "regression":
        encoded = _numbers(cells, teaching)
    elif chosen == "multilabel":
        encoded = _sets(cells, teaching)
    else:
        encoded = _classes(cells, teaching)
    lost = [
        "no label" if cell is None and (name == "test" or chosen == "multilabel") else reason
        for cell, name, reason in zip(cells, names, encoded.reasons, strict=True)
    ]
    return Encoded(chosen, encoded.labels, encoded.targets, tuple(lost), (_said(encoded, problem), *encoded.notes))


def encode_known(values: Sequence[Any], task: Task) -> Encoded:
    """Targets of a task whose labels are settled; rows without a label have a reason.

    Raises:
        DataError: For labels that the task does not have; lists both.
    """
    cells = _cells(values)
    reasons: list[str | None] = [None] * len(cells)
    targets: NDArray[Any]
    if task.problem == "regression":
        targets, reasons = _to_numbers(cells)
    else:
        many = task.problem == "multilabel"
        sets = _to_sets(cells) if many else [None if cell is None else {_class_name(cell)} for cell in cells]
        number = {label: i for i, label in enumerate(task.labels)}
        if strange := _ordered({name for one in sets for name in one or ()} - number.keys()):
            known = named(number, limit=20)
            raise DataError(f"the data hold labels that the model does not know: {named(strange)}. It knows {known}.")
        ones = _indicators(sets, number)
        targets = ones if many else np.where(ones.any(axis=1), ones.argmax(axis=1), -1)
    lost = ["no label" if cell is None else reason for cell, reason in zip(cells, reasons, strict=True)]
    return Encoded(task.problem, task.labels, targets, tuple(lost), ())


def guess_problem(values: Sequence[Any]) -> Problem:
    """The problem from labels that are not missing.

    Lists mean multilabel. Numbers mean regression if some are not whole and more than 20 (or half
    of all, where that is fewer) are different, or if all are whole and more than 20 and more than
    half are different. Everything else is classification.

    >>> guess_problem(["1", "2", "1"]), guess_problem([0.5, 1.25, 3.0]), guess_problem([["a"], []])
    ('classification', 'regression', 'multilabel')
    """
    if any(_is_list(value) for value in values):
        return "multilabel"
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers):
        return "classification"
    finite = [number for number in numbers if number is not None and math.isfinite(number)]
    distinct, half = len(set(finite)), len(finite) / 2
    whole = all(number.is_integer() for number in finite)
    continuous = distinct > max(20, half) if whole else distinct > min(20, half)
    return "regression" if continuous else "classification"


def default_metric(problem: Problem, targets: NDArray[Any]) -> tuple[str, str]:
    """The metric that decides, and a sentence that says why; from rows that are not test rows.

    Skewed: the effective number of classes, exp(entropy), is below 0.8 of their number
    (Hill, Ecology 54, 1973: diversity of order 1).
    """
    if problem == "regression":
        return "r2", "Metric: r2; set it with --metric."
    if problem == "multilabel":
        return "macro_f1", "Metric: macro_f1; set it with --metric."
    counts = np.unique(targets[targets >= 0], return_counts=True)[1]
    shares = counts / counts.sum()
    effective = float(np.exp(-(shares * np.log(shares)).sum()))
    if effective < 0.8 * len(counts):
        why = f"the classes are skewed: {len(counts)} with the spread of {effective:.1f}"
        return "balanced_accuracy", f"Metric: balanced_accuracy, because {why}; set it with --metric."
    return "accuracy", "Metric: accuracy, because the classes are balanced; set it with --metric."


def is_unlabeled(targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have no label, ``(N,)``, from targets as in `headstart.types.Examples`."""
    if targets.ndim == 2:
        return np.zeros(len(targets), np.bool_)
    return np.asarray(np.isnan(targets) if targets.dtype.kind == "f" else targets < 0, np.bool_)


def _said(encoded: Encoded, asked: Problem | None) -> str:
    what = encoded.problem + (f" with {len(encoded.labels)} labels" if encoded.labels else "")
    return f"Problem: {what}." if asked else f"Problem: {what}; set it with --problem."


def _cells(values: Sequence[Any]) -> list[Any]:
    """The labels with None for missing ones; among numbers the text ``nan`` is missing too."""
    cells = [None if not _is_list(value) and is_missing(value) else value for value in values]
    numbers = [None if cell is None else _number(cell) for cell in cells]
    if any(number is None and cell is not None for number, cell in zip(numbers, cells, strict=True)):
        return cells
    return [None if number is None or math.isnan(number) else cell for number, cell in zip(numbers, cells, strict=True)]


def _to_numbers(cells: Sequence[Any]) -> tuple[NDArray[np.float64], list[str | None]]:
    targets = np.array([math.nan if (number := _number(cell)) is None else number for cell in cells], np.float64)
    reasons = [
        None if cell is None or finite else f"label '{cell}' is not a finite number"
        for cell, finite in zip(cells, np.isfinite(targets), strict=True)
    ]
    return targets, reasons


def _numbers(cells: Sequence[Any], teaching: Sequence[bool]) -> Encoded:
    targets, reasons = _to_numbers(cells)
    usable = targets[np.array(teaching) & np.isfinite(targets)]
    if not len(usable):
        bad = named(dict.fromkeys(str(cell) for cell in cells if cell is not None))
        raise DataError(f"regression needs numbers as labels; found {bad}. Set --label or --problem classification.")
    if np.ptp(usable) == 0:
        raise DataError(f"every training row has the label {usable[0]:g}; there is nothing to learn")
    return Encoded("regression", (), targets, tuple(reasons), ())


def _classes(cells: Sequence[Any], teaching: Sequence[bool]) -> Encoded:
    names = [None if cell is None else _class_name(cell) for cell in cells]
    counts = Counter(n for n, teaches in zip(names, teaching, strict=True) if teaches and n is not None)
    labels = _ordered(counts)
    if len(labels) < 2:
        raise DataError(
            f"every labelled training row has the class {named(labels)}; classification needs at least two classes. "
            "Check that the label column, or the level of the folder, is the right one."
        )
    number = {label: i for i, label in enumerate(labels)}
    reasons = [
        f"class '{name}' is not in the training rows" if name is not None and name not in number else None
        for name in names
    ]
    notes = _mixed_types(cells)
    if lost := Counter(name for name, reason in zip(names, reasons, strict=True) if reason):
        notes.append(
            f"LEFT OUT: validation or test rows of classes that no training row has ({lost.total()} of "
            f"{named(_ordered(lost))}). The results do not cover them."
        )
    if tiny := [label for label in labels if counts[label] == 1]:
        notes.append(f"Classes with a single training example: {named(tiny)}.")
    targets = np.array([-1 if name is None else number.get(name, -1) for name in names], np.int64)
    return Encoded("classification", labels, targets, tuple(reasons), tuple(notes))


def _sets(cells: Sequence[Any], teaching: Sequence[bool]) -> Encoded:
    sets = _to_sets(cells)
    taught = [one for one, teaches in zip(sets, teaching, strict=True) if teaches and one is not None]
    labels = _ordered({name for one in taught for name in one})
    if not labels or all(len(one) == len(labels) for one in taught):
        raise DataError(
            f"every training row has the same labels ({named(labels) or 'none'}); there is nothing to learn"
        )
    strange = [sorted((one or set()).difference(labels)) for one in sets]
    reasons = [f"class {named(names)} is not in the training rows" if names else None for names in strange]
    lost = len(reasons) - reasons.count(None)
    notes = [f"LEFT OUT: validation or test rows with labels that no training row has ({lost})."] if lost else []
    targets = _indicators(sets, {label: i for i, label in enumerate(labels)})
    return Encoded("multilabel", labels, targets, tuple(reasons), tuple(notes))


def _indicators(sets: Sequence[set[str] | None], number: Mapping[str, int]) -> NDArray[np.bool_]:
    targets = np.zeros((len(sets), len(number)), np.bool_)
    for row, one in enumerate(sets):
        targets[row, [number[name] for name in one or () if name in number]] = True
    return targets


def _to_sets(cells: Sequence[Any]) -> list[set[str] | None]:
    texts = [cell for cell in cells if isinstance(cell, str)]
    mark = next((mark for mark in "|;," if any(mark in text for text in texts)), ",")
    return [None if cell is None else _set(cell, mark) for cell in cells]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _set(cell: Any, mark: str) -> set[str]:
    if _is_list(cell):
        return {_class_name(one) for one in cell if not is_missing(one)}
    text = str(cell).strip()
    if text.startswith("["):
        try:
            return {_class_name(one) for one in json.loads(text) if not is_missing(one)}
        except (ValueError, TypeError):
            text = text.strip("[]")  # Python's notation: ['a', 'b']
            mark = ","
    return {_class_name(part.strip(" '\"")) for part in text.split(mark) if part.strip(" '\"")}


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _class_name(value: Any) -> str:
    """The class as text; ``1``, ``1.0``, ``"1"`` and ``"1.0"`` are one class."""
    text = clean(str(value).strip())
    whole = WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _ordered(names: Any) -> tuple[str, ...]:
    """By number if all are numbers, else by text."""
    numbers = {name: _number(name) for name in names}
    if all(number is not None and not math.isnan(number) for number in numbers.values()):
        return tuple(sorted(names, key=lambda name: (numbers[name], name)))
    return tuple(sorted(names))


def _mixed_types(cells: Sequence[Any]) -> list[str]:
    texts = {_class_name(cell) for cell in cells if isinstance(cell, str)}
    numbers = {_class_name(cell) for cell in cells if cell is not None and not isinstance(cell, str)}
    both = _ordered(texts & numbers)
    return [f"Labels that occur as a number and as a text are read as one class: {named(both)}."] if both else []
