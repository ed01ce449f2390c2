"""A folder of class folders, with or without train/ val/ test/ above them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.data.images import FORMATS, SUFFIXES
from headstart.data.rows import SPLIT_NAMES, Rows, clean, named, unique
from headstart.errors import DataError
from headstart.types import Exclusion

__all__ = ["images_under", "is_image_name", "listing", "read_folder"]

HOW = "Give a folder that holds one folder of images for each class, with or without train/ val/ test/ above them."


@dataclass(frozen=True)
class _Found:
    path: Path
    label: str | None
    split: str


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Subfolders and other entries of a folder, each sorted by name, without hidden ones.

    Raises:
        OSError: If the folder cannot be read.
    """
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_hidden(entry.name):
                (folders if _is_folder(entry) else files).append(Path(entry.path))
    return sorted(folders), sorted(files)


def images_under(folder: Path, root: Path) -> Iterator[Path | Exclusion]:
    """Every visible file below a folder, sorted within each folder; what cannot be listed is an `Exclusion`.

    Links are followed, but no folder is entered twice, so that a loop of links ends.
    """
    seen, waiting = set(), [folder]
    while waiting:
        here = waiting.pop()
        try:
            facts = here.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            folders, files = listing(here)
        except OSError as error:
            yield Exclusion(_id(here, root), f"folder cannot be read: {error.strerror or error}")
            continue
        if is_image_name(here) and not folders and not files:
            yield Exclusion(_id(here, root), "is a folder, not an image")
        yield from files
        waiting.extend(reversed(folders))


def read_folder(root: Path) -> Rows:
    """One row for each file in a class folder, however deep; the class folder's name is the label.

    Images beside the class folders of a split have no label. Images outside any class folder are left out.

    Raises:
        DataError: If the folder cannot be read, or holds no class folders or no files.
    """
    folders, files = _listing_or_error(root)
    divided = [f for f in folders if f.name.lower() in SPLIT_NAMES and _listing_or_error(f)[0]]
    _refuse_shapeless(root, folders, files, divided)
    notes: list[str] = []
    found: list[_Found | Exclusion] = [
        Exclusion(_id(file, root), "not in a class folder") for file in files if is_image_name(file)
    ]
    if divided:
        for branch, label, split in _divided(root, folders, divided, notes):
            found += _leaf(branch, root, label, split, notes)
    else:
        for branch in folders:
            found += _leaf(branch, root, clean(branch.name), "", notes)
    rows = [item for item in found if isinstance(item, _Found)]
    excluded = tuple(item for item in found if isinstance(item, Exclusion))
    if not rows:
        why = f" {excluded[0].id}: {excluded[0].reason}." if excluded else ""
        raise DataError(f"the folders in {root} hold no images.{why} {HOW}")
    return Rows(
        modality="image",
        inputs=[row.path for row in rows],
        ids=unique(_id(row.path, root) for row in rows),
        labels=[row.label for row in rows],
        splits=[row.split for row in rows] if divided else None,
        excluded=excluded,
        notes=(f"Reading the names of the class folders in {root} as the labels.", *notes),
        problem="classification",
    )


def _divided(
    root: Path, folders: list[Path], divided: list[Path], notes: list[str]
) -> Iterator[tuple[Path, str | None, str]]:
    """Class folders with label and split, where split folders stand above some of them."""
    classes = {inner.name for folder in divided for inner in _listing_or_error(folder)[0]}
    strangers = []
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is not None:
            inner, _ = _listing_or_error(folder)
            yield folder, None, split
            for branch in inner:
                yield branch, clean(branch.name), split
        elif folder.name in classes:
            yield folder, clean(folder.name), ""
        else:
            strangers.append(clean(folder.name))
    if strangers:
        notes.append(
            f"Not read: {named(strangers)} in {root}, beside {named(f.name for f in divided)} "
            "and not named like one of their classes."
        )


def _leaf(branch: Path, root: Path, label: str | None, split: str, notes: list[str]) -> list[_Found | Exclusion]:
    if label is None:  # a split folder itself: only the images directly in it
        return [_Found(file, None, split) for file in _listing_or_error(branch)[1] if is_image_name(file)]
    inside = list(images_under(branch, root))
    if not inside:
        notes.append(f"The class folder '{_id(branch, root)}' is empty.")
    notes += [f"{item.id}: {item.reason}." for item in inside if isinstance(item, Exclusion)]
    return [item if isinstance(item, Exclusion) else _Found(item, label, split) for item in inside]


def _refuse_shapeless(root: Path, folders: list[Path], files: list[Path], divided: list[Path]) -> None:
    if not folders:
        what = "images but no class folders" if any(map(is_image_name, files)) else "no class folders and no table"
        raise DataError(f"{root} holds {what if files else 'nothing'}. {HOW}")
    if not divided and all(folder.name.lower() in SPLIT_NAMES for folder in folders):
        raise DataError(f"{named(f.name for f in folders)} in {root} hold no class folders. {HOW}")
    if not divided and len(folders) == 1 and len(_listing_or_error(folders[0])[0]) > 1:
        raise DataError(f"{root} holds a single folder, which holds folders itself; did you mean {folders[0]}? {HOW}")


def _listing_or_error(folder: Path) -> tuple[list[Path], list[Path]]:
    try:
        return listing(folder)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror or error}. Check its permissions. "
            f"Images in it must be {FORMATS}."
        ) from error


def is_image_name(path: Path) -> bool:
    """Whether a path is called like an image file; its content may be something else."""
    return path.suffix.lower() in SUFFIXES


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in {"thumbs.db", "desktop.ini", "__macosx"}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself: reading it as a file will say so


def _id(path: Path, root: Path) -> str:
    return clean(path.relative_to(root).as_posix())
