"""timm convolutional networks of the EfficientNet kind: stem, blocks, head convolution, average."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from headstart._torchvision import make_importable
from headstart.backbones.base import Backbone, Stage
from headstart.errors import BundleRefused

__all__ = ["ConvNet", "build"]

SETTINGS = {"pad_type": str, "bn_eps": float}
"""Builder settings that a card or bundle may give, and their types."""


class ConvNet(Backbone):
    """An EfficientNet-shaped timm model; a batch is ``(N, 3, H, W)``, normalised."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stem, each group of blocks, head convolution."""
        model: Any = self.model
        blocks = [Stage(f"blocks.{i}", block) for i, block in enumerate(model.blocks)]
        return (
            Stage("stem", nn.Sequential(model.conv_stem, model.bn1)),
            *blocks,
            Stage("head", nn.Sequential(model.conv_head, model.bn2)),
        )

    def pool(self, state: Any) -> Tensor:
        """Average over positions, ``(N, dim)``."""
        return self.model.forward_head(state, pre_logits=True)  # type: ignore[no-any-return,operator]


def build(name: str, **settings: Any) -> ConvNet:
    """The timm model ``name`` without its classifier.

    Raises:
        BundleRefused: If timm has no such model, it has another shape, or a setting is not allowed.
    """
    make_importable()
    import timm

    if not isinstance(name, str) or ":" in name or not timm.is_model(name):
        raise BundleRefused(f"{name!r} is not a model that timm {timm.__version__} builds")
    for key, value in settings.items():
        if not isinstance(value, SETTINGS.get(key, type(None))):
            raise BundleRefused(f"setting {key}={value!r} is not allowed for {name}. Allowed: {', '.join(SETTINGS)}")
    model: Any = timm.create_model(name, pretrained=False, num_classes=0, **settings)
    if not all(hasattr(model, part) for part in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):
        raise BundleRefused(f"{name} is not shaped like an EfficientNet, the only timm family this version knows")
    return ConvNet(model, int(model.num_features))
