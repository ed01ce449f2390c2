"""Reading files that may be hostile: folders, JSON and tensor headers, refused before they are believed.

Everything here takes bytes or an open folder, imports nothing, runs nothing and raises
`headstart.errors.BundleRefused`. What is checked is what is used: a file is opened once,
without following links, and later steps work on the very bytes that were checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.errors import BundleRefused, ResourceError

__all__ = [
    "DTYPES",
    "JSON_LIMIT",
    "JSON_VALUES",
    "TOKENIZER_LIMIT",
    "TOKENIZER_VALUES",
    "TensorInfo",
    "listing",
    "non_finite",
    "opened",
    "read_file",
    "read_head",
    "sha256_of",
    "shown",
    "strict_json",
    "tensor_array",
    "tensor_table",
]

JSON_LIMIT = 8_000_000
"""Most bytes of a JSON file."""
JSON_DEPTH = 100
"""Deepest nesting of a JSON file."""
JSON_VALUES = 300_000
"""Most commas and opening brackets of a JSON file: what keeps parsing it far below a second."""
TOKENIZER_LIMIT = 32_000_000
TOKENIZER_VALUES = 2_000_000
"""Most bytes of a ``tokenizer.json``, one of 250,000 tokens has 17 million; and most commas and opening brackets."""
HEADER_LIMIT = 1_000_000
"""Most bytes of a safetensors header."""
TENSOR_LIMIT = 10_000
"""Most tensors in one file."""
RANK_LIMIT = 16
"""Most dimensions of a tensor."""
ENTRY_LIMIT = 256
"""Most entries of a folder; more are not even looked at."""
CHUNK = 1 << 20
"""Elements looked at in one go for non-finite numbers, which bounds the memory that takes."""

DTYPES: Mapping[str, str] = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<i2",
    "F32": "<f4",
    "F64": "<f8",
}
"""Element types of the safetensors format that are read -> NumPy type (BF16, which NumPy lacks: its bits)."""
EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000), "F64": ("<u8", 0x7FF << 52)}
"""Where IEEE 754 keeps the exponent; all of its bits set means NaN or infinity."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TENSOR_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]{0,255}")
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # NONBLOCK: a fifo must not hold us up


class TensorInfo(NamedTuple):
    """Where one tensor lies in its file."""

    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the beginning of the file."""
    end: int
    """One past the last byte."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def shown(name: object) -> str:
    """A foreign name as it may be printed: quoted, control characters escaped, at most 80 characters."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"


# --- folders -----------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, so that every file read through it is of the same folder.

    Raises:
        BundleRefused: If it is no folder or cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except (OSError, ValueError) as error:
        raise BundleRefused(f"it is not a folder that can be read ({_reason(error)})") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def listing(folder: int) -> dict[str, int]:
    """Name -> size in bytes of every entry of an open folder.

    Raises:
        BundleRefused: For anything but regular files with plain names: links, folders, fifos, sockets,
            devices, names with control characters, backslashes or other specials, names that differ
            by case only, or more than 256 entries.
    """
    sizes: dict[str, int] = {}
    folded: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(sizes) == ENTRY_LIMIT:
                    raise BundleRefused(f"it has more than {ENTRY_LIMIT} entries")
                sizes[entry.name] = _plain_size(entry)
                if entry.name.casefold() in folded:
                    raise BundleRefused(f"{shown(entry.name)} and another file differ by upper and lower case only")
                folded.add(entry.name.casefold())
    except OSError as error:
        raise BundleRefused(f"its files cannot be listed ({_reason(error)})") from None
    return sizes


def _plain_size(entry: os.DirEntry[str]) -> int:
    if not FILE_NAME.fullmatch(entry.name):
        raise BundleRefused(
            f"the file name {shown(entry.name)} is not plain: a letter or digit, then letters, digits, '.', '_' and '-'"
        )
    facts = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(facts.st_mode):
        raise BundleRefused(f"{shown(entry.name)} is {_kind(facts.st_mode)}; only regular files are read")
    return facts.st_size


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    return "a folder" if stat.S_ISDIR(mode) else "a special file (fifo, socket or device)"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def read_file(folder: int, name: str, limit: int) -> bytes:
    """The bytes of a regular file in an open folder, links not followed.

    Args:
        folder: Descriptor from `opened`.
        name: A name from `listing`.
        limit: Most bytes; larger files are refused unread.

    Raises:
        BundleRefused: If it is a link or special, too large, unreadable, or changes meanwhile.
        ResourceError: If memory does not hold it.
    """
    with _regular(folder, name) as (descriptor, size):
        if size > limit:
            raise BundleRefused(f"{shown(name)} has {size:,} bytes; at most {limit:,} are read")
        return _whole(descriptor, name, size)


def read_head(folder: int, name: str, count: int = 8 + HEADER_LIMIT) -> tuple[bytes, int]:
    """The first ``count`` bytes of a regular file in an open folder, and its size; links not followed.

    Raises:
        BundleRefused: If it is a link or special, or unreadable.
    """
    with _regular(folder, name) as (descriptor, size):
        return _whole(descriptor, name, min(size, count), ends=size <= count), size


def sha256_of(folder: int, name: str) -> str:
    """SHA-256 of a regular file in an open folder, hex; links not followed.

    Raises:
        BundleRefused: If it is a link or special, or unreadable.
    """
    with _regular(folder, name) as (descriptor, _), os.fdopen(descriptor, "rb", closefd=False) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _regular(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """Descriptor and size of a regular file."""
    try:
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise BundleRefused(f"{shown(name)} cannot be opened ({_reason(error)}); it must be a regular file") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise BundleRefused(f"{shown(name)} is {_kind(facts.st_mode)}; only regular files are read")
        yield descriptor, facts.st_size
    finally:
        os.close(descriptor)


def _whole(descriptor: int, name: str, size: int, ends: bool = True) -> bytes:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(size + ends)
    except MemoryError:
        raise ResourceError(f"{shown(name)} needs {size:,} bytes of memory, which are not free") from None
    except OSError as error:
        raise BundleRefused(f"{shown(name)} cannot be read ({_reason(error)})") from None
    if len(data) != size:
        raise BundleRefused(f"{shown(name)} changed while it was read")
    return data


# --- JSON --------------------------------------------------------------------------------------


def strict_json(data: bytes, name: str, limit: int = JSON_LIMIT, values: int = JSON_VALUES) -> dict[str, Any]:
    """The object that a JSON text holds, in finite time, memory and numbers.

    Args:
        data: UTF-8 text.
        name: What to call it in messages.
        limit: Most bytes.
        values: Most commas and opening brackets.

    Raises:
        BundleRefused: If it is too large or deep, no JSON object, has a key twice, NaN, Infinity,
            a number beyond float64 or int64, or is no valid Unicode.
    """
    if len(data) > limit:
        raise BundleRefused(f"{name} has {len(data):,} bytes of JSON; at most {limit:,} are read")
    if sum(map(data.count, (b",", b"[", b"{"))) > values or data.count(b'"') > 2 * values:
        raise BundleRefused(f"{name} holds more than {values:,} JSON values")
    if _depth(data) > JSON_DEPTH:
        raise BundleRefused(f"{name} is nested deeper than {JSON_DEPTH} levels")
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_number
        )
        if SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise BundleRefused(f"{name} is not valid Unicode in UTF-8") from None
    except json.JSONDecodeError as error:
        raise BundleRefused(f"{name} is not JSON (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise BundleRefused(f"{name} {error}") from None
    if not isinstance(value, dict):
        raise BundleRefused(f"{name} holds {type(value).__name__}, not a JSON object")
    return value


def _depth(data: bytes) -> int:
    # Counted beforehand: the parser recurses, and how deep it may is the caller's setting, not ours.
    step = np.zeros(256, np.int8)
    step[list(b"[{")], step[list(b"]}")] = 1, -1
    return int(np.cumsum(step[np.frombuffer(STRING.sub(b"", data), np.uint8)], dtype=np.int32).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"has the key {shown(key)} more than once")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError("holds an integer of more than 64 bits")
    return int(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("holds a number that is not finite")
    return value


# --- tensors -----------------------------------------------------------------------------------


def tensor_table(head: bytes, size: int, name: str) -> dict[str, TensorInfo]:
    """What a safetensors file says it holds, believed only where it adds up.

    Args:
        head: The file's first bytes, its header at least (8 + 1,000,000 bytes are always enough), or all of it.
        size: The file's size in bytes.
        name: What to call it in messages.

    Raises:
        BundleRefused: If the header is cut short, larger than 1 MB, no strict JSON, names more than 10,000
            tensors or a name or type that is not known, or if the tensors do not fill the file exactly:
            out of range, overlapping, with gaps, or of another size than their shape says.
    """
    length = int.from_bytes(head[:8], "little")
    if length > HEADER_LIMIT:
        raise BundleRefused(f"{name} says that its header has {length:,} bytes; at most {HEADER_LIMIT:,} are read")
    if len(head) < 8 + length:
        raise BundleRefused(f"{name} ends within its header")
    header = strict_json(head[8 : 8 + length], f"the header of {name}", HEADER_LIMIT)
    _check_metadata(header.pop("__metadata__", {}), name)
    if len(header) > TENSOR_LIMIT:
        raise BundleRefused(f"{name} holds {len(header):,} tensors; at most {TENSOR_LIMIT:,} are read")
    table = {key: _tensor_info(key, entry, 8 + length, name) for key, entry in header.items()}
    _check_filled(table, 8 + length, size, name)
    return table


def _check_metadata(metadata: Any, name: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BundleRefused(f"{name} has a __metadata__ that is not text by name")


def _tensor_info(key: str, entry: Any, base: int, name: str) -> TensorInfo:
    if not TENSOR_NAME.fullmatch(key):
        raise BundleRefused(f"{name} names a tensor {shown(key)}; letters, digits and _ . / : - are allowed")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BundleRefused(f"{name} describes tensor {shown(key)} by other than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise BundleRefused(f"tensor {shown(key)} of {name} has the type {shown(dtype)}. Known: {', '.join(DTYPES)}")
    if not _sizes(shape) or len(shape) > RANK_LIMIT:
        raise BundleRefused(f"tensor {shown(key)} of {name} has the shape {shown(shape)}, not up to {RANK_LIMIT} sizes")
    if not _sizes(offsets) or len(offsets) != 2:
        raise BundleRefused(f"tensor {shown(key)} of {name} has the offsets {shown(offsets)}, not two places")
    info = TensorInfo(dtype, tuple(shape), base + offsets[0], base + offsets[1])
    if (needed := info.elements * np.dtype(DTYPES[dtype]).itemsize) != info.end - info.start:
        sizes = f"needs {shown(needed)} bytes for its shape, its offsets give {info.end - info.start}"
        raise BundleRefused(f"tensor {shown(key)} of {name} {sizes}")
    return info


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_filled(table: Mapping[str, TensorInfo], begin: int, size: int, name: str) -> None:
    for key, info in sorted(table.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != begin:
            what = "overlaps the tensor before it" if info.start < begin else "leaves a gap before it"
            raise BundleRefused(f"tensor {shown(key)} of {name} {what}")
        begin = info.end
    if begin != size:
        few, many = f"lacks {begin - size:,} bytes of its tensors", f"has {size - begin:,} bytes that are of no tensor"
        raise BundleRefused(f"{name} {few if begin > size else many}")


def tensor_array(data: bytes, info: TensorInfo) -> NDArray[Any]:
    """One tensor of a file's bytes, as a read-only view of shape ``info.shape``; BF16 as its bits in int16."""
    if not info.elements:
        return np.zeros(info.shape, DTYPES[info.dtype])
    return np.frombuffer(data, DTYPES[info.dtype], info.elements, info.start).reshape(info.shape)


def non_finite(array: NDArray[Any], dtype: str) -> bool:
    """Whether an array of a type of `DTYPES` (BF16: its bits) holds NaN, infinity, or a bool other than 0 and 1."""
    flat = array.reshape(-1)
    pieces = (flat[begin : begin + CHUNK] for begin in range(0, flat.size, CHUNK))
    if dtype == "BOOL":
        return any(bool((piece.view(np.uint8) > 1).any()) for piece in pieces)
    if dtype not in EXPONENTS:
        return False
    bits, mask = EXPONENTS[dtype]
    return any(bool(((piece.view(bits) & mask) == mask).any()) for piece in pieces)
