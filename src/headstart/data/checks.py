"""Leaves out the inputs that cannot be used, with their labels and by name, and digests the others."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from headstart.data.images import UnreadableImage, inspect_image
from headstart.data.rows import Rows, clean, is_missing
from headstart.errors import DataError
from headstart.runtime import thread_count
from headstart.types import Exclusion

__all__ = ["usable"]


class _Checked(NamedTuple):
    value: Any
    digest: str
    reason: str | None = None


def usable(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The rows whose inputs can be used, and the content digest of each (32 hex digits).

    Every image is decoded to its end, so a file that is cut off is found here and not while training.

    Raises:
        DataError: If no input can be used; names the first few with their reasons.
        ResourceError: If memory runs out.
    """
    checked = _images(rows.inputs) if rows.modality == "image" else [_text(cell) for cell in rows.inputs]
    good = [i for i, item in enumerate(checked) if item.reason is None]
    bad = [Exclusion(rows.ids[i], item.reason) for i, item in enumerate(checked) if item.reason is not None]
    if not good:
        first = "; ".join(f"{item.id}: {item.reason}" for item in (*bad, *rows.excluded)[:5])
        raise DataError(f"none of the {len(checked)} examples can be used. {first}")
    kept = dataclasses.replace(rows.keep(good, bad), inputs=[checked[i].value for i in good])
    return kept, tuple(checked[i].digest for i in good)


def _images(inputs: Sequence[Any]) -> list[_Checked]:
    # PIL lets go of the interpreter lock while it decodes.
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(_image, inputs))


def _image(cell: Any) -> _Checked:
    if cell is None:
        return _Checked(cell, "", "no image")
    if isinstance(cell, UnreadableImage):
        return _Checked(cell, "", cell.reason)
    try:
        return _Checked(cell, inspect_image(cell))
    except UnreadableImage as error:
        return _Checked(cell, "", error.reason)


def _text(cell: Any) -> _Checked:
    if is_missing(cell):
        return _Checked(cell, "", "empty text")
    text = clean(str(cell))
    return _Checked(text, hashlib.sha256(text.encode()).hexdigest()[:32])
