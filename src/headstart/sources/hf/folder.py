"""A model folder in Hugging Face layout, opened so that no link in it leads anywhere else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import BundleRefused
from headstart.safety import JSON_LIMIT, opened, read_file, read_head, sha256_of, shown

__all__ = ["FILES", "ModelFolder"]

PLAIN = re.compile(r"(?:[0-9]{1,2}_[A-Za-z0-9]{1,40}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FILES = re.compile(
    r"config\.json|preprocessor_config\.json|processor_config\.json|tokenizer\.json|tokenizer_config\.json"
    r"|modules\.json|config_sentence_transformers\.json|sentence_bert_config\.json|[0-9]{1,2}_[A-Za-z]{1,40}/config\.json"
    r"|model\.safetensors|model\.safetensors\.index\.json|model-[0-9]{5}-of-[0-9]{5}\.safetensors|README\.md"
)
"""Every file of a source that is ever read, or fetched."""
BLOB = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files are.

    Links are followed within ``root`` only. A cache of Hugging Face consists of links from
    ``snapshots/`` into ``blobs/``, so there the root is the folder of the whole repository.
    """

    path: Path
    root: Path
    revision: str = ""
    """Commit of the repository; empty for a folder of one's own."""

    def has(self, name: str) -> bool:
        """Whether there is such a file (or a link of that name, wherever it leads)."""
        return os.path.lexists(self.path / name)

    def names(self) -> list[str]:
        """Names of all entries, sorted."""
        try:
            return sorted(os.listdir(self.path))
        except OSError as error:
            raise BundleRefused(f"its files cannot be listed ({error.strerror})") from None

    def read(self, name: str, limit: int = JSON_LIMIT) -> bytes:
        """The bytes of a file.

        Raises:
            BundleRefused: If it is missing, larger than ``limit``, no regular file, or outside of the root.
        """
        place = self._place(name)
        with opened(place.parent) as folder:
            return read_file(folder, place.name, limit)

    def head(self, name: str) -> tuple[bytes, int]:
        """The first bytes of a file, as many as a safetensors header may have, and its size in bytes.

        Raises:
            BundleRefused: As `read` does.
        """
        place = self._place(name)
        with opened(place.parent) as folder:
            return read_head(folder, place.name)

    def sha256(self, name: str) -> str:
        """SHA-256 of a file; of a large file in a cache, which is named by it, its name: compare when it is read.

        Raises:
            BundleRefused: As `read` does.
        """
        place = self._place(name)
        if self.revision and BLOB.fullmatch(place.name):
            return place.name
        with opened(place.parent) as folder:
            return sha256_of(folder, place.name)

    def _place(self, name: str) -> Path:
        if not PLAIN.fullmatch(name):
            raise BundleRefused(f"it names the file {shown(name)}, which is no plain file name")
        if not self.has(name):
            raise BundleRefused(f"{name} is missing")
        place = Path(os.path.realpath(self.path / name))
        if not place.is_relative_to(self.root):
            raise BundleRefused(f"{name} is a link that leads out of {self.root}")
        return place
