"""Vision models of the transformers library: ViT, DINOv2, ConvNeXt, and the image towers of CLIP and SigLIP.

Only the classes in `TYPES` are ever built, from settings that are data; nothing of a source is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from headstart.backbones.base import Backbone, Stage
from headstart.backbones.library import LibraryType, configuration, library_type, module
from headstart.backbones.rules import VISION
from headstart.backbones.settings import check_settings
from headstart.errors import BundleRefused
from headstart.safety import shown

__all__ = ["TYPES", "ConvNext", "VisionTransformer", "build"]

# --- how a state passes through each kind of model ----------------------------------------------


class VisionTransformer(Backbone):
    """A vision transformer; a batch is ``(N, 3, S, S)``, normalised, and its embedding the class token.

    At another image side than the source's own, position embeddings are resized (bicubic).
    """

    model: Any

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Embeddings, each transformer layer, closing normalisation; the state is ``(N, tokens, dim)``."""
        blocks = [Stage(f"layer.{number}", block, self._through(block)) for number, block in enumerate(self.blocks)]
        return (Stage("embeddings", nn.ModuleList(self.opening), self.embed), *blocks, *self.closing)

    @property
    def opening(self) -> list[nn.Module]:
        """Modules before the first layer."""
        return [self.model.embeddings]

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer layers in order."""
        return self.model.layers  # type: ignore[no-any-return]

    @property
    def closing(self) -> tuple[Stage, ...]:
        """The stages after the last layer."""
        return (Stage("norm", self.model.layernorm),)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches with their positions ``(N, tokens, dim)``."""
        side = self.model.config.image_size
        return self.model.embeddings(pixels, interpolate_pos_encoding=pixels.shape[-1] != side)  # type: ignore[no-any-return]

    @staticmethod
    def _through(block: nn.Module) -> Any:
        return lambda state: block(state, attention_mask=None)

    def pool(self, state: Tensor) -> Tensor:
        """The class token, ``(N, dim)``."""
        return state[:, 0]


class Dinov2(VisionTransformer):
    """DINOv2, with or without register tokens."""

    @property
    def blocks(self) -> nn.ModuleList:
        """See `VisionTransformer`."""
        return self.model.encoder.layer  # type: ignore[no-any-return]

    def embed(self, pixels: Tensor) -> Tensor:
        """See `VisionTransformer`; positions are always fitted to the image."""
        return self.model.embeddings(pixels)  # type: ignore[no-any-return]


class Clip(VisionTransformer):
    """The image tower of CLIP, before its projection to the space it shares with texts."""

    @property
    def opening(self) -> list[nn.Module]:
        """See `VisionTransformer`."""
        return [self.model.embeddings, self.model.pre_layrnorm]

    @property
    def blocks(self) -> nn.ModuleList:
        """See `VisionTransformer`."""
        return self.model.encoder.layers  # type: ignore[no-any-return]

    @property
    def closing(self) -> tuple[Stage, ...]:
        """See `VisionTransformer`."""
        return (Stage("norm", self.model.post_layernorm),)

    def embed(self, pixels: Tensor) -> Tensor:
        """See `VisionTransformer`."""
        return self.model.pre_layrnorm(super().embed(pixels))  # type: ignore[no-any-return]


class Siglip(VisionTransformer):
    """The image tower of SigLIP, whose attention head makes one vector of all patches."""

    @property
    def blocks(self) -> nn.ModuleList:
        """See `VisionTransformer`."""
        return self.model.encoder.layers  # type: ignore[no-any-return]

    @property
    def closing(self) -> tuple[Stage, ...]:
        """See `VisionTransformer`."""
        return (Stage("norm", self.model.post_layernorm), Stage("head", self.model.head))

    def pool(self, state: Tensor) -> Tensor:
        """What the head made, ``(N, dim)``."""
        return state


class ConvNext(Backbone):
    """ConvNeXt and ConvNeXt V2; a batch is ``(N, 3, S, S)``, normalised."""

    model: Any

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stem, each group of blocks, and the normalisation of the average over positions."""
        model = self.model
        blocks = [Stage(f"stages.{number}", stage) for number, stage in enumerate(model.encoder.stages)]
        norm = Stage("norm", model.layernorm, lambda state: model.layernorm(state.mean((-2, -1))))
        return (Stage("embeddings", model.embeddings), *blocks, norm)

    def pool(self, state: Tensor) -> Tensor:
        """Averaged and normalised already, ``(N, dim)``."""
        return state


# --- the types ----------------------------------------------------------------------------------


TYPES: Mapping[str, LibraryType[Backbone]] = {
    "vit": library_type("vit", "ViT", VisionTransformer, add_pooling_layer=False),
    "dinov2": library_type("dinov2", "Dinov2", Dinov2),
    "dinov2_with_registers": library_type("dinov2_with_registers", "Dinov2WithRegisters", Dinov2),
    "convnext": library_type("convnext", "ConvNext", ConvNext),
    "convnextv2": library_type("convnextv2", "ConvNextV2", ConvNext),
    "clip_vision_model": library_type("clip", "CLIPVision", Clip),
    "siglip_vision_model": library_type("siglip", "SiglipVision", Siglip),
}
"""``model_type`` of a configuration -> what is built."""


def build(type: str, **settings: Any) -> Backbone:  # noqa: A002
    """The vision model of a model type, with untrained weights.

    Raises:
        BundleRefused: If the type, a setting or its value is not one of ours, or they do not fit together.
    """
    kind = TYPES.get(type) if isinstance(type, str) else None
    if kind is None:
        raise BundleRefused(f"unknown vision model type {shown(type)}. Valid: {', '.join(TYPES)}")
    check_settings(settings, VISION[type], type)
    config = _fitting(configuration(kind.config, settings, type))
    model = module(kind.model, config, kind.options, type)
    return kind.backbone(model, int(getattr(config, "hidden_size", 0) or config.hidden_sizes[-1]))


def _fitting(config: Any) -> Any:
    """The configuration, once its numbers are known to fit together.

    Raises:
        BundleRefused: Naming the two that do not.
    """
    if hasattr(config, "depths"):
        if not len(config.depths) == len(config.hidden_sizes) == config.num_stages:
            raise BundleRefused(f"depths and hidden_sizes must name num_stages = {config.num_stages} numbers each")
        return config
    if config.hidden_size % config.num_attention_heads:
        raise BundleRefused(f"hidden_size {config.hidden_size} is not a multiple of {config.num_attention_heads} heads")
    if config.patch_size > config.image_size:
        raise BundleRefused(f"patch_size {config.patch_size} is larger than image_size {config.image_size}")
    return config
