"""Checks the machine and the installation: what works, what is missing, what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

from headstart import runtime
from headstart.modalities import PIPELINES
from headstart.sources import offers
from headstart.store import cache_folder

__all__ = ["examine"]

ROOMY = 2_000_000_000
"""Bytes of free disk below which a warning is due."""


def examine() -> dict[str, Any]:
    """Facts, and checks as ``{"check", "ok", "says"}``; needs no network and loads no weights."""
    checks = [_cache(), _disk(), *_packages(), *_sources(), _precision()]
    return {"ok": all(check["ok"] for check in checks), "machine": {**runtime.machine(), "device": runtime.device()}, "versions": runtime.versions(), "checks": checks}


def _check(name: str, ok: bool, says: str) -> dict[str, Any]:
    return {"check": name, "ok": ok, "says": says}


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return _check("cache folder", writable, f"{folder}" + ("" if writable else ": cannot be written; set HEADSTART_CACHE to a folder that can"))


def _disk() -> dict[str, Any]:
    place = cache_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return _check("free disk", free > ROOMY, f"{free / 1e9:.1f} GB")


def _packages() -> list[dict[str, Any]]:
    found = []
    for name in ("torch", "timm", "transformers", "tokenizers", "safetensors", "PIL", "sklearn", "skimage", "pandas", "pyarrow"):
        there = importlib.util.find_spec(name) is not None
        found.append(_check(f"package {name}", there, "installed" if there else "missing: reinstall headstart"))
    return found


def _sources() -> list[dict[str, Any]]:
    known = [offer for offer, _ in offers()]
    checks = []
    for modality in PIPELINES:
        names = [offer.card.name for offer in known if offer.card.modality == modality and not offer.missing]
        says = ", ".join(names) or "none: pip install 'headstart[sources]'"
        checks.append(_check(f"{modality} sources", bool(names), says))
    return checks


def _precision() -> dict[str, Any]:
    fast = runtime.fast_bfloat16()
    return _check("bfloat16", True, "in hardware: used where it is faster" if fast else "not in hardware: float32 is used")
