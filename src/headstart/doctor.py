"""Checks the machine and the installation: what works, what is missing, what to do."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from headstart import runtime
from headstart.modalities import PIPELINES
from headstart.sources import offers
from headstart.store import cache_folder

__all__ = ["examine"]

PACKAGES = {
    "torch": "torch",
    "timm": "timm",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
}
"""Module -> the package that holds it."""
ROOMY = 2_000_000_000
"""Bytes of free disk below which a warning is due."""


def examine() -> dict[str, Any]:
    """Facts, and checks as ``{"check", "ok", "says"}``; needs no network and loads no weights."""
    checks = [_cache(), _disk(), *_packages(), _torch(), *_sources(), _precision()]
    return {
        "ok": all(check["ok"] for check in checks),
        "machine": {**runtime.machine(), "device": runtime.device()},
        "versions": runtime.versions(),
        "checks": checks,
    }


def _check(name: str, ok: bool, says: str) -> dict[str, Any]:
    return {"check": name, "ok": ok, "says": says}


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return _check("cache folder", True, str(folder))
    except OSError as error:
        says = f"{folder}: {error.strerror}; set HEADSTART_CACHE to a folder that can be written"
        return _check("cache folder", False, says)


def _disk() -> dict[str, Any]:
    place = cache_folder().absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    wanted = "" if free > ROOMY else f"; {ROOMY / 1e9:.0f} GB are wanted"
    return _check("free disk", not wanted, f"{free / 1e9:.1f} GB{wanted}")


def _packages() -> list[dict[str, Any]]:
    found = []
    for module, package in PACKAGES.items():
        there = importlib.util.find_spec(module) is not None
        says = _version(package) if there else "missing: reinstall headstart"
        found.append(_check(f"package {package}", there, says))
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of an unknown version"


def _torch() -> dict[str, Any]:
    """Whether torch does what it is for: broken libraries of accelerators show only when it is loaded."""
    try:
        import torch

        ones = torch.ones(2, 2, device=runtime.device())
        worked = bool((ones @ ones == 2).all())
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
        return _check("torch works", False, f"{type(error).__name__}: {error}")
    return _check("torch works", worked, f"on {runtime.device()}")


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
    says = "in hardware: used where it is as good" if fast else "not in hardware: float32 is used"
    return _check("bfloat16", True, "; ".join([says, *_decided()]))


def _decided() -> list[str]:
    """What the embedding engine decided for the sources that were used here."""
    found = set()
    for path in (cache_folder() / "ways").glob("*.json"):
        try:
            way = json.loads(path.read_text("utf-8"))
            found.add(f"{way['source']}: {way['precision']}")
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found)
