"""What a bundle can be written as: one exporter a file, found by name in one table.

An exporter is a class without constructor arguments and with two methods:

``export(bundle: Bundle, out: Path) -> Path``
    Writes a bundle that was read and checked (`headstart.exporters.bundle.read`) to ``out`` in the
    exporter's format, atomically: a process killed at any point leaves what was there before, or the
    whole result. Equal bundles give equal bytes. Returns the path written.
``verify(out: Path) -> None``
    Raises `headstart.errors.BundleRefused` unless ``out`` is whole and safe to load.

A new exporter is one file in this folder and one line in the table.
"""

from __future__ import annotations

from headstart.registry import Registry

__all__ = ["EXPORTERS"]

EXPORTERS = Registry("exporter", {"bundle": "headstart.exporters.bundle:BundleExporter"})
