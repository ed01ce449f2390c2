"""The pool of sources that `ranking.py` compares: packaged ones, and those of ``../shared/weights``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart import sources
from headstart.backbones import build
from headstart.backbones.source import Source
from headstart.types import InputSpec, SourceCard, SourceHead

__all__ = ["image_sources", "text_sources"]

PRIORS = {
    "mobilenet_v1_0.25_128": 0.415,
    "mobilenet_v1_0.5_160": 0.591,
    "mobilenet_v1_0.75_192": 0.672,
    "mobilenet_v1_1.0_224": 0.709,
    "mobilenet_v2_1.0_224": 0.719,
    "mobilenet_v2_1.0_224_tf2": 0.713,
}
"""ImageNet-1k top-1 that the makers published of the float models; those trained on birds and insects have none."""


@dataclass(frozen=True)
class PoolSource(Source):
    """A MobileNet of ``../shared/weights``: some are narrower than any model timm has a name for."""

    def backbone(self) -> Any:
        """As `Source.backbone`, with timm's model built from the file's own description."""
        import torch

        name, width = self.card.architecture["name"], self.card.architecture["width"]
        backbone = build({"family": "timm", "name": name, "pad_type": "same"})
        if width != 1:
            from timm.models import efficientnet

            backbone.model = efficientnet._gen_mobilenet_v1(name, width, num_classes=0, pad_type="same")
            backbone.dim = int(backbone.model.num_features)
        tensors = {key: torch.from_numpy(value.copy()) for key, value in self.tensors().items()}
        backbone.model.load_state_dict(tensors, strict=True)
        return backbone.eval()


@dataclass(frozen=True)
class LayerSource(Source):
    """A source of which one layer's embeddings are looked at."""

    def backbone(self) -> Any:
        """As `Source.backbone`, with one layer."""
        (layer,) = self.card.layers
        backbone = super().backbone()
        whole = backbone.embeddings
        backbone.embeddings = lambda batch: {layer: whole(batch)[layer]}
        return backbone


def image_sources(folder: Path) -> list[Source]:
    """Packaged image sources and the MobileNets of a folder, by name."""
    described = json.loads((folder / "weights.json").read_text("utf-8"))
    return [
        *sources.candidates("auto", "image"),
        *(_mobilenet(folder, name, facts) for name, facts in described.items()),
    ]


def text_sources() -> list[Source]:
    """Packaged text sources, each of their layers on its own."""
    pool = []
    for source in sources.candidates("auto", "text"):
        for layer in source.card.layers:
            named = replace(source.card, name=f"{source.name} {layer}", layers=(layer,))
            pool.append(LayerSource(named, source.tensors, source.assets))
    return pool


def _mobilenet(folder: Path, name: str, facts: Mapping[str, Any]) -> Source:
    path = folder / facts["file"]
    architecture = {"family": "timm", "name": facts["variant"], "width": facts.get("channel_multiplier", 1.0)}
    spec = InputSpec(
        facts["input_size"], tuple(facts["mean"]), tuple(facts["std"]), facts["interpolation"], facts["crop_fraction"]
    )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = SourceCard(
        name, name, "image", "pool", facts["parameters"], 0, ("last",), spec, facts["trained_on"], facts["licence"],
        sha256, PRIORS.get(name), "ImageNet-1k top-1" if name in PRIORS else "", architecture,
    )  # fmt: skip
    return PoolSource(card, lambda: _read(path)[0], head=lambda: _read(path)[1])


def _read(path: Path) -> tuple[dict[str, np.ndarray], SourceHead | None]:
    """Tensors of the backbone, and the classifier where the file has one."""
    from safetensors.numpy import load_file

    stored = {
        key: value.astype(np.float32) if value.dtype == np.float16 else value for key, value in load_file(path).items()
    }
    weight, bias = stored.pop("classifier.weight", None), stored.pop("classifier.bias", None)
    return stored, SourceHead(weight, bias) if weight is not None and bias is not None else None
