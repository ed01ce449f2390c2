"""Rows on disk by content: append-only shards, read through memory maps."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import safety
from headstart.errors import BundleRefused
from headstart.store import room, write_atomic

__all__ = ["Embeddings", "RowStore"]

Embeddings = dict[str, NDArray[np.float32]]
"""Layer -> (N, D) float32."""
LARGE = 1 << 26
"""Bytes of a layer from which its rows are gathered in a temporary file that is mapped, not in memory."""
DIGEST = 16
"""Bytes of a content's digest."""


class RowStore:
    """Embeddings of one source and preprocessing by content digest.

    Each shard is a safetensors file written atomically: digests ``(n, 16)`` uint8 and one
    ``(n, D)`` float32 array a layer. In memory there is only where each digest is: rows are read
    from their file when they are asked for.

    Args:
        folder: Holds the shards; None: they are kept in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._shards: list[Path | Embeddings] = []
        self._rows: dict[bytes, tuple[int, int]] = {}
        for path in sorted(folder.glob("*.safetensors")) if folder and folder.is_dir() else ():
            try:
                self._index(_mapped(path)["digests"], path)
            except (BundleRefused, OSError, ValueError, KeyError):
                path.unlink(missing_ok=True)

    def _index(self, keys: NDArray[np.uint8], shard: Path | Embeddings) -> None:
        number = len(self._shards)
        self._shards.append(shard)
        for row, digest in enumerate(map(bytes, np.asarray(keys))):
            self._rows.setdefault(digest, (number, row))

    def __contains__(self, digest: str) -> bool:
        return bytes.fromhex(digest) in self._rows

    def append(self, digests: Sequence[str], layers: Embeddings) -> None:
        """Adds rows; they are on disk when this returns.

        Raises:
            ResourceError: If the disk is full.
        """
        keys = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, DIGEST)
        if not self._folder:
            return self._index(keys, layers)
        from safetensors.numpy import save_file

        path = self._folder / f"{len(self._shards):06d}-{uuid.uuid4().hex[:8]}.safetensors"
        with write_atomic(path) as temporary:
            save_file({"digests": keys, **layers}, temporary)
        return self._index(keys, path)

    def read(self, digests: Sequence[str]) -> Embeddings:
        """Every layer's rows for these digests, in their order.

        Raises:
            ResourceError: If there are many, and the disk is full.
        """
        places = np.array([self._rows[bytes.fromhex(digest)] for digest in digests], np.int64).reshape(-1, 2)
        result: Embeddings = {}
        for number in np.unique(places[:, 0]) if len(places) else range(len(self._shards[:1])):
            here, shard = places[:, 0] == number, self._shards[number]
            for layer, values in (_mapped(shard) if isinstance(shard, Path) else shard).items():
                if layer == "digests":
                    continue
                if layer not in result:
                    result[layer] = _gathering((len(digests), values.shape[1]))
                result[layer][here] = values[places[here, 1]]
        return result


def _gathering(shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(room(shape, np.float32)) if shape[0] * shape[1] * 4 >= LARGE else np.empty(shape, np.float32)


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a shard as views of the mapped file; nothing is read before it is used.

    Raises:
        BundleRefused: If the file is not what it should be.
        ValueError: If it is empty.
    """
    data = np.memmap(path, np.uint8, "r")
    head = bytes(data[: 8 + int.from_bytes(bytes(data[:8]), "little")])
    table = safety.tensor_table(head, len(data), path.name)
    return {name: safety.tensor_array(data, info) for name, info in table.items()}  # type: ignore[arg-type]
