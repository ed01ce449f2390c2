"""Writing a bundle: the whole folder at once, checked as a reader would, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.errors import BundleRefused, DataError, Diverged, UsageError
from headstart.exporters.bundle import rules, schema
from headstart.exporters.bundle.reading import read_opened
from headstart.safety import DTYPES, non_finite, opened, shown
from headstart.store import full_disk_named, plain

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor | NDArray[Any]

__all__ = ["label_maps", "place", "write"]

NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}


def label_maps(labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``id2label`` and ``label2id`` as Hugging Face writes them.

    >>> label_maps(("ant", "bee"))
    {'id2label': {'0': 'ant', '1': 'bee'}, 'label2id': {'ant': 0, 'bee': 1}}
    """
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def write(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    golden: Mapping[str, NDArray[Any]],
    card: str,
    assets: Mapping[str, bytes] | None = None,
    documents: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a bundle as one atomic step; an existing bundle of that name is replaced.

    A process killed at any point leaves the old bundle or the new one, as `read` sees it.

    Args:
        folder: Where; must not exist, be empty, or hold a bundle.
        config: What `schema.check_config` accepts; ``headstart`` (schema and version) is added.
        tensors: Weights by name, torch or NumPy.
        golden: A few inputs and their predictions: ``logits`` (n, outputs) float32 before the temperature, and
            ``pixels`` (n, size, size, 3) uint8, or texts as ``text.0`` .. ``text.{n-1}``, UTF-8 bytes as uint8.
        card: Text of ``README.md``, see `headstart.exporters.card.model_card`.
        assets: Name -> bytes of further files (``tokenizer.json``).
        documents: Name -> JSON object of further files (``ledger.json``, ``receipt.json``); NumPy scalars become
            numbers, and numbers that are not finite, which JSON lacks, become null.

    Returns:
        The folder.

    Raises:
        Diverged: If a weight or a golden value is not finite.
        BundleRefused: If what was asked for would be no valid bundle.
        UsageError: If the folder holds something else or cannot be written.
        DataError: If a label is not valid Unicode.
        ResourceError: If the disk is full; what stood there stays.
    """
    full = {**config, "headstart": {"schema": schema.SCHEMA, "version": __version__}}
    schema.check_config(json.loads(_json(full, rules.CONFIG)))
    by_number = {int(index): label for index, label in full["id2label"].items()}
    files = {
        rules.CONFIG: _json({**full, "id2label": by_number}, rules.CONFIG),
        rules.WEIGHTS: _pack(tensors, rules.WEIGHTS),
        rules.GOLDEN: _pack(golden, rules.GOLDEN),
        rules.CARD: card.encode("utf-8", "backslashreplace"),
        **{name: _json(plain(value), name) for name, value in (documents or {}).items()},
        **(assets or {}),
    }
    return place(folder, files)


# --- contents ----------------------------------------------------------------------------------


def _json(value: Any, name: str) -> bytes:
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        part = shown(error.object[max(0, error.start - 20) : error.end + 20])
        raise DataError(
            f"{name}: the name in {part} is not valid Unicode; rename the class folder or column it comes from"
        ) from None
    except ValueError as error:
        raise BundleRefused(f"{name} would hold a number that is not finite ({error}); no bundle was written") from None


def _pack(tensors: Mapping[str, Tensor], file: str) -> bytes:
    """A safetensors file: largest element types first, so that all are aligned, then by name."""
    parts = [(name, *_bits(name, tensor)) for name, tensor in tensors.items()]
    parts.sort(key=lambda part: (-part[2].itemsize, part[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, array in parts:
        if non_finite(array, dtype):
            raise Diverged(f"tensor {shown(name)} for {file} holds NaN or infinity; no bundle was written")
        span = [end, end + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        end = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.tobytes() for _, _, array in parts)])


def _bits(name: str, tensor: Tensor) -> tuple[str, NDArray[Any]]:
    """Element type in the file, and the values (BF16: their bits) in little-endian order."""
    dtype = None
    if not isinstance(tensor, np.ndarray):
        import torch

        tensor = tensor.detach().cpu()
        if tensor.dtype == torch.bfloat16:
            dtype, tensor = "BF16", tensor.contiguous().view(torch.int16)
        tensor = tensor.numpy()
    dtype = dtype or NAMES.get(tensor.dtype.newbyteorder("<"))
    if dtype is None:
        valid = ", ".join(DTYPES)
        raise UsageError(f"tensor {shown(name)} is of type {tensor.dtype}, which no bundle holds. Valid: {valid}")
    return dtype, tensor.astype(DTYPES[dtype], order="C", copy=False)


# --- the folder --------------------------------------------------------------------------------


def place(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes the files of a bundle and their manifest as one atomic step, once they pass as a bundle.

    Args:
        folder: Where; must not exist, be empty, or hold a bundle.
        files: Name -> bytes of every file but the manifest.

    Returns:
        The folder.

    Raises:
        BundleRefused: If the files are no valid bundle.
        UsageError: If the folder holds something else or cannot be written.
        ResourceError: If the disk is full; what stood there stays.
    """
    target = rules.resolved(folder)
    if target is None:
        raise UsageError(f"{folder} leads nowhere, or to the root of the file system. Choose another folder.")
    if foreign := sorted(set(files) - set(rules.FILES)):
        raise BundleRefused(f"a bundle cannot hold {shown(foreign[0])}. Allowed: {', '.join(rules.FILES)}")
    try:
        with full_disk_named(target, sum(map(len, files.values()))):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _alone(target.parent):
                _clear(target)
                _swap(target, files)
    except OSError as error:
        raise UsageError(f"cannot write the bundle {folder}: {error.strerror}. Choose another folder.") from error
    return folder


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """One writer at a time among the bundles of a folder; a network drive without locks goes without."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(target: Path) -> None:
    """Removes what killed writers left; refuses to replace anything but a bundle.

    Raises:
        UsageError: Naming what is in the way.
    """
    held = set(os.listdir(target)) if target.exists() else set()
    alien = sorted(held - set(rules.FILES))
    if alien or (held and rules.MANIFEST not in held):
        what = ", ".join(map(shown, alien[:3])) or f"files, but no {rules.MANIFEST}"
        raise UsageError(f"{target} is not a bundle (it holds {what}) and is not replaced. Choose another folder.")
    _remove(rules.sibling(target, "new"))
    if target.exists():
        _remove(rules.sibling(target, "old"))


def _remove(folder: Path) -> None:
    """Removes a bundle folder, file by known file, so that nothing else can ever go with it."""
    if not folder.is_dir():
        return
    for name in rules.FILES:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _swap(target: Path, files: Mapping[str, bytes]) -> None:
    new, old = rules.sibling(target, "new"), rules.sibling(target, "old")
    manifest = _json(rules.manifest_of(files), rules.MANIFEST)
    try:
        new.mkdir()
        for name, data in {**files, rules.MANIFEST: manifest}.items():
            with (new / name).open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        _sync(new)
        _check_written(new, target)
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            if old.exists() and not target.exists():
                old.rename(target)
            _remove(new)
        raise
    _sync(target.parent)
    with contextlib.suppress(OSError):
        _remove(old)


def _check_written(new: Path, target: Path) -> None:
    try:
        with opened(new) as descriptor:
            read_opened(new, descriptor)
    except BundleRefused as error:
        raise BundleRefused(f"no bundle was written to {target}, because it would be refused: {error}") from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
