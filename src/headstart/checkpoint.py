"""The state of an unfinished training on disk: safetensors, with JSON in its header."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.store import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint"]

SECONDS = 20.0
"""Between two writes: what a killed process may lose."""


class Checkpoint:
    """One file, replaced as a whole; what belongs to another training is not read.

    Args:
        path: The file.
        key: Hash of everything that decides the training.
        every: Seconds between two writes; None: `SECONDS`.
    """

    def __init__(self, path: Path, key: str, every: float | None = None) -> None:
        self.path, self.key, self.every = path, key, SECONDS if every is None else every
        self._written = time.monotonic()

    def save(self, state: Callable[[], tuple[Mapping[str, Tensor], Mapping[str, Any]]], force: bool = False) -> None:
        """Writes the state where it is due.

        Raises:
            ResourceError: If the disk is full; the last good state stays.
        """
        if not force and time.monotonic() - self._written < self.every:
            return
        from safetensors.torch import save_file

        tensors, facts = state()
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with write_atomic(self.path) as temporary:
            save_file(whole, temporary, {"key": self.key, "facts": json.dumps(facts)})
        self._written = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The state of the same training, or None where there is none that can be used."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as stream:
                header = stream.metadata() or {}
                if header.get("key") != self.key:
                    return None
                return {name: stream.get_tensor(name) for name in stream.keys()}, json.loads(header["facts"])  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError):
            return None

    def remove(self) -> None:
        """Takes the file away once its training is done."""
        self.path.unlink(missing_ok=True)
