"""The bundle: a model as a folder of data, written whole or not at all, read only if it is what it says.

``config.json`` (what `schema.check_config` accepts), ``model.safetensors``, ``golden.safetensors``
(a few inputs with their predictions), ``README.md``, optionally ``tokenizer.json``, ``ledger.json``
and ``receipt.json``, and ``manifest.json`` with the SHA-256 and size of each of them. No code, no
pickle; equal input gives equal bytes.
"""

from __future__ import annotations

from pathlib import Path

from headstart.exporters.bundle.reading import Bundle, check, golden, read, summary, tensors
from headstart.exporters.bundle.writing import label_maps, place, write

__all__ = ["Bundle", "BundleExporter", "check", "golden", "label_maps", "read", "summary", "tensors", "write"]


class BundleExporter:
    """The bundle as it is: a checked copy."""

    def export(self, bundle: Bundle, out: Path) -> Path:
        """Writes the same bytes to another folder, as `write` does.

        Raises:
            UsageError: If the folder holds something else or cannot be written.
            ResourceError: If the disk is full.
        """
        return place(out, bundle.files)

    def verify(self, out: Path) -> None:
        """Refuses a folder that is not a whole and safe bundle.

        Raises:
            BundleRefused: As `read` does.
        """
        check(out)
