"""What files a bundle may hold, and the manifest that accounts for each of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import BundleRefused
from headstart.safety import JSON_LIMIT, TOKENIZER_LIMIT, shown

__all__ = [
    "CARD",
    "CONFIG",
    "CORE",
    "FILES",
    "FORMAT",
    "GOLDEN",
    "MANIFEST",
    "WEIGHTS",
    "check_manifest",
    "check_names",
    "check_sha256",
    "manifest_of",
    "resolved",
    "sibling",
]

FORMAT = 1
"""Version of ``manifest.json``."""
MANIFEST, CONFIG, CARD = "manifest.json", "config.json", "README.md"
WEIGHTS, GOLDEN = "model.safetensors", "golden.safetensors"
CORE = (MANIFEST, CONFIG, WEIGHTS, GOLDEN, CARD)
"""The files without which a folder is no bundle."""
FILES: Mapping[str, int] = {
    MANIFEST: 100_000,
    CONFIG: JSON_LIMIT,
    WEIGHTS: 16 << 30,
    GOLDEN: 64 << 20,
    CARD: JSON_LIMIT,
    "tokenizer.json": TOKENIZER_LIMIT,
    "ledger.json": JSON_LIMIT,
    "receipt.json": JSON_LIMIT,
}
"""Every file a bundle may hold -> most bytes of it."""
PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pt2", ".pth")


def check_names(sizes: Mapping[str, int]) -> None:
    """Refuses a folder by its names and sizes alone.

    Raises:
        BundleRefused: For a file that no bundle holds, a core file that is missing, or one that is too large.
    """
    for name in sorted(set(sizes) - set(FILES)):
        pickled = name.lower().endswith(PICKLES)
        why = "is of a kind that can run code when it is loaded" if pickled else "does not belong in a bundle"
        raise BundleRefused(f"the file {shown(name)} {why}. Allowed: {', '.join(FILES)}")
    if missing := [name for name in CORE if name not in sizes]:
        raise BundleRefused(f"{', '.join(missing)} missing")
    for name, size in sizes.items():
        if size > FILES[name]:
            raise BundleRefused(f"{name} has {size:,} bytes; at most {FILES[name]:,} are read")


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of a bundle's other files: format version, and SHA-256 and size of each."""
    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in sorted(files.items())
    }
    return {"format": FORMAT, "files": entries}


def check_manifest(manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Refuses a manifest that does not describe exactly the files of its folder.

    Args:
        manifest: What ``manifest.json`` holds.
        sizes: Name -> bytes of every file in the folder, itself included.

    Raises:
        BundleRefused: For another format, an entry of another form, a file that is listed but missing
            or there but unlisted, or one of another size.
    """
    if (found := manifest.get("format")) != FORMAT or type(found) is not int:
        raise BundleRefused(f"{MANIFEST} is of format {shown(found)}; this version reads {FORMAT}")
    files = manifest.get("files")
    if set(manifest) != {"format", "files"} or not isinstance(files, dict):
        raise BundleRefused(f"{MANIFEST} must hold 'format' and 'files' and nothing else")
    for name, entry in files.items():
        _check_entry(name, entry)
    if unlisted := sorted(set(sizes) - set(files) - {MANIFEST}):
        raise BundleRefused(f"{', '.join(unlisted)} not listed in {MANIFEST}")
    for name, entry in files.items():
        if name not in sizes:
            raise BundleRefused(f"{name} is listed in {MANIFEST} and missing")
        if sizes[name] != entry["size"]:
            raise BundleRefused(f"{name} has {sizes[name]:,} bytes, {MANIFEST} says {entry['size']:,}")


def _check_entry(name: str, entry: Any) -> None:
    if name not in FILES or name == MANIFEST:
        raise BundleRefused(f"{MANIFEST} lists {shown(name)}, which does not belong there. Allowed: {', '.join(FILES)}")
    if not isinstance(entry, dict) or set(entry) != {"sha256", "size"}:
        raise BundleRefused(f"{MANIFEST} must say sha256 and size of {name} and nothing else")
    sha, size = entry["sha256"], entry["size"]
    if not isinstance(sha, str) or not re.fullmatch("[0-9a-f]{64}", sha) or type(size) is not int or size < 0:
        raise BundleRefused(f"{MANIFEST} has no valid sha256 and size of {name}")


def check_sha256(name: str, data: bytes, expected: str) -> None:
    """Refuses bytes that are not the ones the manifest was written for.

    Raises:
        BundleRefused: Naming both sums.
    """
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        sums = f"its SHA-256 is {found[:16]}..., {MANIFEST} says {expected[:16]}..."
        raise BundleRefused(f"{name} was changed or damaged: {sums}")


def resolved(folder: Path) -> Path | None:
    """Where a path leads, links followed; None for a loop of links, a null byte or the file system's root."""
    try:
        root = folder.resolve()
    except (OSError, RuntimeError, ValueError):
        return None
    return root if root.name else None


def sibling(folder: Path, role: str) -> Path:
    """The hidden folder beside a bundle that holds the ``new`` or ``old`` one while it is being replaced."""
    return folder.with_name(f".{folder.name}.headstart-{role}")
