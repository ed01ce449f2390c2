"""Small models for the rules: timm's and transformers' own classes, with weights drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headstart._torchvision import make_importable

make_importable()


@pytest.fixture
def vit() -> Callable[..., Any]:
    """``vit(**changes)``: a small vision transformer of timm, of 6 heads of width 4 in 6 blocks."""
    from timm.models.vision_transformer import VisionTransformer

    def make(seed: int = 0, **changes: Any) -> Any:
        torch.manual_seed(seed)
        settings = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 6, "num_heads": 6, "num_classes": 0}
        model = VisionTransformer(**(settings | changes))
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(torch.randn_like(value))
        return model

    return make
