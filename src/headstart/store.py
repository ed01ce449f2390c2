"""The run folder: atomic writes, a step cache, one writer at a time.

A step's result is stored under a hash of everything that decides it, so resume, cache and
report are one mechanism. Results are JSON plus safetensors, never pickle.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from headstart import types
from headstart.errors import ResourceError, UsageError

__all__ = [
    "Remember",
    "Run",
    "afresh",
    "cache_folder",
    "decode",
    "encode",
    "fingerprint",
    "plain",
    "read_step",
    "recall",
    "remember",
    "room",
    "sha256_array",
    "sha256_file",
    "write_atomic",
    "write_json",
]

Result = TypeVar("Result")
FORMAT = 1
"""Version of the run folder's layout; a change that old runs cannot be read with raises it."""

UNFINISHED = ".tmp"


def cache_folder() -> Path:
    """Where embeddings and converted weights are kept: ``HEADSTART_CACHE``, else the XDG cache folder."""
    named = os.environ.get("HEADSTART_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else base / "headstart"


@contextlib.contextmanager
def full_disk_named(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns "no space left" into a `ResourceError` that names bytes needed and free."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free
        wanted = f"{needed:,} bytes needed" if needed else "more space needed"
        raise ResourceError(
            f"disk full while writing {path}: {wanted}, {free:,} free. "
            "Free some space and run the same command again; finished steps are kept."
        ) from error


@contextlib.contextmanager
def write_atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is flushed to disk and renamed to ``path``.

    A reader, or a process killed at any point, sees the old file or the new one, never a part.

    Raises:
        ResourceError: If the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{UNFINISHED}")
    try:
        with full_disk_named(path):
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def room(shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    """An array in an unnamed temporary file, whose bytes are set aside beforehand: a full disk is no crash later.

    Raises:
        ResourceError: If the disk is full.
    """
    needed, folder = math.prod(shape) * np.dtype(kind).itemsize, Path(tempfile.gettempdir())
    with full_disk_named(folder / "training data", needed), tempfile.TemporaryFile(dir=folder) as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, needed))
        return np.memmap(stream, kind, "r+", shape=shape)


def write_json(path: Path, value: Any) -> None:
    """Writes plain JSON atomically, keys sorted."""
    with write_atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", "ascii")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_array(array: np.ndarray) -> str:
    """First 16 hex digits of the SHA-256 of an array's kind, shape and values: enough to see that they changed."""
    sha = hashlib.sha256(str((array.dtype.str, array.shape)).encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]


def plain(value: Any) -> Any:
    """Strict JSON of records and arrays, for readers other than `decode`: what is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A record as plain JSON; its arrays are put into ``arrays`` under the names the JSON refers to."""
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        return {"__array__": name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"__record__": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): encode(item, arrays) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item, arrays) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"__float__": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored in a run")


def decode(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `encode`; lists come back as tuples, records only as classes of `headstart.types`."""
    if isinstance(tree, list):
        return tuple(decode(item, arrays) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "__array__" in tree:
        return arrays[tree["__array__"]]
    if "__float__" in tree:
        return float(tree["__float__"])
    items = {key: decode(item, arrays) for key, item in tree.items() if key != "__record__"}
    name = tree.get("__record__")
    if name is None:
        return items
    if name not in types.__all__:
        raise ValueError(f"unknown record '{name}'")
    return getattr(types, name)(**items)


def fingerprint(*values: Any) -> str:
    """SHA-256 over values: anything `encode` takes, or objects with a ``fingerprint`` of their own."""
    sha = hashlib.sha256()
    for value in values:
        own = getattr(value, "fingerprint", None)
        if isinstance(own, str):
            sha.update(own.encode() + b"\0")
        elif isinstance(value, (tuple, list)):
            sha.update(f"{len(value)} of {fingerprint(*value)}\0".encode())
        else:
            arrays: dict[str, np.ndarray] = {}
            sha.update(json.dumps(encode(value, arrays), sort_keys=True).encode() + b"\0")
            for array in arrays.values():
                sha.update(str((array.dtype.str, array.shape)).encode() + array.tobytes())
    return sha.hexdigest()


def _stored(path: Path, key: str | None) -> tuple[Any, float] | None:
    """Result and seconds of a step, or None where it is missing, damaged or of another key."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        stored = json.loads(path.read_text("utf-8"))
        if key is not None and stored["key"] != key:
            return None
        arrays = load_file(_arrays(path, stored["key"])) if stored["arrays"] else {}
        return decode(stored["result"], arrays), float(stored["seconds"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _store(path: Path, key: str, result: Any, seconds: float) -> None:
    """Puts a result where `_stored` finds it: its arrays first, then the record that names them."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    tree = encode(result, arrays)
    if arrays:
        with write_atomic(_arrays(path, key)) as temporary:
            save_file(arrays, temporary)
    write_json(path, {"key": key, "arrays": bool(arrays), "seconds": seconds, "result": tree})
    for stale in path.parent.glob(f"{path.stem}.*.safetensors"):
        if stale != _arrays(path, key):
            stale.unlink(missing_ok=True)


def _arrays(path: Path, key: str) -> Path:
    return path.with_suffix(f".{key[:12]}.safetensors")


def _key(name: str, function: Callable[..., Any], inputs: tuple[Any, ...]) -> str:
    from headstart import __version__

    return fingerprint(name, __version__, f"{function.__module__}.{function.__qualname__}", *inputs)


class Remember(Protocol):
    """May give back an earlier result of the function for these inputs; what is ``given`` does not decide it."""

    def __call__(self, name: str, function: Callable[..., Any], /, *inputs: Any, given: tuple[Any, ...] = ()) -> Any:
        """``function(*inputs, *given)``."""


def afresh(name: str, function: Callable[..., Any], /, *inputs: Any, given: tuple[Any, ...] = ()) -> Any:  # noqa: ARG001
    """Remembers nothing."""
    return function(*inputs, *given)


def remember(name: str, function: Callable[..., Result], *inputs: Any, given: tuple[Any, ...] = ()) -> Result:
    """The result of ``function(*inputs, *given)``, kept in the cache folder for every run that asks the same.

    What is ``given`` does not decide the result, and is not asked about.
    """
    key = _key(name, function, inputs)
    path = cache_folder() / "results" / f"{name}-{key[:32]}.json"
    found = _stored(path, key)
    if found is not None:
        return found[0]  # type: ignore[no-any-return]
    begin = time.perf_counter()
    result = function(*inputs, *given)
    _store(path, key, result, time.perf_counter() - begin)
    return result


def recall(name: str, function: Callable[..., Result], *inputs: Any) -> Result | None:
    """What `remember` keeps of ``function(*inputs)``; None where it was never asked."""
    key = _key(name, function, inputs)
    found = _stored(cache_folder() / "results" / f"{name}-{key[:32]}.json", key)
    return found[0] if found else None


def read_step(folder: Path, name: str) -> Any | None:
    """The stored result of a finished step, for readers of a run; None where it is missing or damaged."""
    found = _stored(folder / "steps" / f"{name}.json", None)
    return found[0] if found else None


class Run:
    """The folder of one ``fit``. One process writes at a time; the lock goes with the process.

    Layout: ``run.json`` (format, command, versions), ``steps/NAME.json`` and
    ``steps/NAME.safetensors`` (results), ``bundle/``, ``report.html``.

    Raises:
        UsageError: If the folder holds something else, or another process is writing to it.
    """

    def __init__(self, folder: Path, on_step: Callable[[str, float | None], None] | None = None) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        """Step -> seconds in this process; a reused step costs what reading it cost."""
        self.spent: dict[str, float] = {}
        """Step -> seconds of the work itself, in whichever process it was done."""
        self._on_step = on_step or (lambda *_: None)
        self._claim()
        self._lock = self._take_lock()
        for left in (path for place in (".", "steps", "training") for path in (folder / place).glob(f".*{UNFINISHED}")):
            left.unlink(missing_ok=True)

    def _claim(self) -> None:
        marker = self.folder / "run.json"
        if marker.is_file():
            try:
                found = json.loads(marker.read_text("utf-8"))["format"]
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{marker} is damaged. Choose another --out, or remove {self.folder}.") from error
            if found != FORMAT:
                raise UsageError(
                    f"{self.folder} is a run of format {found}, this version reads {FORMAT}. Choose another --out."
                )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UsageError(f"{self.folder} exists and is not a run folder. Choose another --out, or remove it.")
        write_json(marker, {"format": FORMAT})

    def _take_lock(self) -> Any:
        import fcntl

        stream = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise UsageError(
                f"another process is writing to {self.folder}. Wait for it, or choose another --out."
            ) from None
        return stream

    def close(self) -> None:
        """Gives the folder free for another process."""
        self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, **facts: Any) -> dict[str, Any]:
        """Adds facts (command, configuration, versions) to ``run.json``; returns what it said before."""
        marker = self.folder / "run.json"
        before: dict[str, Any] = json.loads(marker.read_text("utf-8"))
        write_json(marker, {**before, **facts})
        return before

    def record(self, name: str, result: Any, seconds: float) -> None:
        """Stores what was found outside the run, for its readers; it is never reused."""
        _store(self._path(name), "", result, seconds)
        self.seconds[name] = self.spent[name] = seconds

    def step(
        self,
        name: str,
        function: Callable[..., Result],
        *inputs: Any,
        given: tuple[Any, ...] = (),
        made: tuple[Path, ...] = (),
    ) -> Result:
        """The result of ``function(*inputs)``, stored; read back when every input is unchanged.

        Args:
            name: The step's name and file name.
            function: Its work; must depend on nothing but its inputs.
            inputs: What decides the result; hashed.
            given: Further arguments that do not decide the result (caches, progress); not hashed.
            made: Files that the step leaves in the run; where one is gone, the step runs again.
        """
        begin = time.perf_counter()
        self._on_step(name, None)
        key = _key(name, function, inputs)
        found = _stored(self._path(name), key)
        if found is not None and all(path.exists() for path in made):
            result, self.spent[name] = found
        else:
            result = function(*inputs, *given)
            self.spent[name] = time.perf_counter() - begin
            _store(self._path(name), key, result, self.spent[name])
        self.seconds[name] = time.perf_counter() - begin
        self._on_step(name, self.seconds[name])
        return result  # type: ignore[no-any-return]

    def _path(self, name: str) -> Path:
        return self.folder / "steps" / f"{name}.json"
