"""A small valid bundle, and the means to break it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.exporters import bundle as bundles

Resign = Callable[[Path], None]


def parts() -> dict[str, Any]:
    """Arguments of `bundles.write` for a bundle of some kilobytes."""
    rng = np.random.default_rng(0)
    return {
        "config": {
            "problem": "classification",
            "modality": "text",
            "metric": "balanced_accuracy",
            **bundles.label_maps(("ant", "bee", "code", "import")),
            "architecture": {"family": "bert", "hidden_size": 8, "vocab_size": 30, "layers": [1, 2], "act": "gelu"},
            "preprocessing": {"size": 0, "mean": [], "std": [], "crop": 1.0, "max_tokens": 16, "special_tokens": True},
            "layer": "last",
            "dim": 8,
            "temperature": 0.25,
            "method": "probe",
            "head": {"kind": "ridge", "penalty": 10.0},
            "precision": "float32",
            "source": {"name": "mini", "licence": "MIT", "title": "Mini", "parameters": 272, "weights_sha256": "00"},
        },
        "tensors": {
            "backbone.embeddings": rng.standard_normal((30, 8), np.float32),
            "backbone.steps": np.array(3),
            "head.weight": rng.standard_normal((4, 8), np.float32),
            "head.bias": np.zeros(4, np.float32),
        },
        "golden": {
            "logits": np.ones((2, 4), np.float32),
            "text.0": np.frombuffer(b"a text", np.uint8),
            "text.1": np.frombuffer("äöü".encode(), np.uint8),
        },
        "card": "# A card\n",
        "assets": {"tokenizer.json": b'{"version": "1.0"}'},
        "documents": {"receipt.json": {"verdict": "helped", "p": np.float32(0.5), "none": np.nan, "n": np.int64(3)}},
    }


def resign_manifest(folder: Path) -> None:
    """Makes the manifest fit whatever the folder's files have become."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.is_symlink() and path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here outlives the machine, and waiting for the disk is most of what writing takes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def valid() -> dict[str, Any]:
    return parts()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid bundle on disk."""
    return bundles.write(tmp_path / "bundle", **parts())


@pytest.fixture
def resign() -> Resign:
    return resign_manifest
