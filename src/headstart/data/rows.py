"""What a reader found, before anything was checked, and the small words all readers share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.types import Exclusion, Modality, Problem

__all__ = ["SPLIT_NAMES", "Rows", "clean", "is_missing", "named", "split_name", "unique"]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call the splits -> our names."""


@dataclass(frozen=True)
class Rows:
    """N examples as found: parallel sequences, labels still raw, inputs still unopened."""

    modality: Modality
    inputs: Sequence[Any]
    """Texts, paths, PIL images, None where missing, or the `UnreadableImage` that says why there is none."""
    ids: Sequence[str]
    labels: Sequence[Any]
    groups: Sequence[str] | None = None
    splits: Sequence[str] | None = None
    """N out of train, validation, test and ''."""
    excluded: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    problem: Problem | None = None
    """Known from the kind of data: folders name classes, never numbers."""

    def keep(self, chosen: Sequence[int], dropped: Iterable[Exclusion] = ()) -> Rows:
        """The chosen rows only, with more rows named as left out."""
        return dataclasses.replace(
            self,
            inputs=[self.inputs[i] for i in chosen],
            ids=[self.ids[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            groups=self.groups and [self.groups[i] for i in chosen],
            splits=self.splits and [self.splits[i] for i in chosen],
            excluded=(*self.excluded, *dropped),
        )


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, ``pandas.NA``, ``NaT`` or blank text."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def split_name(value: Any) -> str | None:
    """Our name of a split as people write it; '' for a missing value, None for an unknown one.

    >>> split_name("Dev")
    'validation'
    """
    return "" if is_missing(value) else SPLIT_NAMES.get(str(value).strip().lower())


def clean(text: str) -> str:
    """The text with whatever UTF-8 cannot hold (lone surrogates, undecodable file names) as U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if not text.isascii() else text


def unique(names: Iterable[str]) -> list[str]:
    """The names, with `` (2)`` and so on after those that came before.

    >>> unique(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    names = list(names)
    taken, made, counts = set(names), set[str](), dict[str, int]()
    result = []
    for name in names:
        fresh = name
        while fresh in made or (fresh != name and fresh in taken):
            counts[name] = counts.get(name, 1) + 1
            fresh = f"{name} ({counts[name]})"
        made.add(fresh)
        result.append(fresh)
    return result


def named(items: Iterable[object], limit: int = 5) -> str:
    """The first few items in quotes, and how many more there are.

    >>> named("abc", limit=2)
    "'a', 'b' and 1 more"
    """
    every = [f"'{item}'" for item in items]
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")
