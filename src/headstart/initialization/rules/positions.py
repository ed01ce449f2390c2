"""Other image size or text length: absolute position embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Positions"]

MOST_PREFIXES = 8
"""Class, distillation and register tokens that may precede the grid."""


@dataclass(frozen=True)
class Positions(Rule):
    """Grids are resized bicubically in float32, prefix tokens kept; sequences are cut, or begun.

    As timm's ``resample_abs_pos_embed``; as transformers' ``interpolate_pos_encoding`` without ``antialias``.
    """

    name = "positions"
    antialias: bool = True
    prefixes: int | None = None
    """Tokens before the grid; None: as many as leave two squares."""
    grid: tuple[int, int] | None = None
    """Height and width of the target's grid in patches; None: what its patch embedding says, or square."""
    source_grid: tuple[int, int] | None = None
    """The same of the source; None: square."""

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Embeddings ``(1, N', D)``, ``(N', D)`` or ``(1, H', W', D)`` out of those of another N or (H, W)."""
        own = scene.target[pair.target]
        if "pos" not in pair.target.lower() or "relative" in pair.target.lower() or value.ndim != own.ndim:
            return None
        if own.ndim == 4 and own.shape[0] == 1 and own.shape[1:3] != value.shape[1:3]:
            size, new = (_pair(value.shape[1:3]), _pair(own.shape[1:3]))
            return Fitted(self._resized(value.flatten(1, 2), size, new).reshape(1, *new, -1), _told(size, new, 0))
        if own.ndim not in (2, 3) or own.shape[-2] == value.shape[-2] or (own.ndim == 3 and own.shape[0] != 1):
            return None
        grids = self._grids(scene, value.shape[-2], own.shape[-2]) if _sees_patches(scene, pair.target) else None
        if grids is None:
            return _cut(value, own)
        prefixes, old, new = grids
        tokens = value.reshape(1, *value.shape[-2:])
        resized = self._resized(tokens[:, prefixes:], old, new)
        kept = _concatenated(tokens[:, :prefixes], resized)
        return Fitted(kept.reshape(*own.shape[:-1], value.shape[-1]), _told(old, new, prefixes))

    def _grids(self, scene: Scene, has: int, wanted: int) -> tuple[int, tuple[int, int], tuple[int, int]] | None:
        """Prefix tokens, source grid and target grid that explain two numbers of tokens; None where nothing does."""
        told = self.grid or _grid_of(scene)
        for prefixes in range(MOST_PREFIXES + 1) if self.prefixes is None else (self.prefixes,):
            new = told if told and math.prod(told) == wanted - prefixes else _square(wanted - prefixes)
            old = self.source_grid or _square(has - prefixes)
            if new and old and math.prod(old) == has - prefixes:
                return prefixes, old, new
        return None

    def _resized(self, tokens: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
        """Tokens ``(1, h * w, D)`` of one grid as those of another."""
        from torch.nn.functional import interpolate

        grid = tokens.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
        resized = interpolate(grid, size=new, mode="bicubic", antialias=self.antialias, align_corners=False)
        return resized.permute(0, 2, 3, 1).flatten(1, 2).to(tokens.dtype)


def _cut(value: Tensor, own: Tensor) -> Fitted | None:
    """The positions of a sequence: the first of more, or the first ones and the target's own after them."""
    has, wanted = value.shape[-2], own.shape[-2]
    if wanted < has:
        return Fitted(value[..., :wanted, :], f"the first {wanted} of {has} positions")
    if value.shape[-1] != own.shape[-1]:
        return None
    longer = _concatenated(value, own[..., has:, :].to(value.dtype))
    return Fitted(longer, f"{has} positions, those after them fresh", has / wanted)


def _concatenated(first: Tensor, second: Tensor) -> Tensor:
    import torch

    return torch.cat([first, second], -2)


def _square(tokens: int) -> tuple[int, int] | None:
    side = math.isqrt(max(0, tokens))
    return (side, side) if side and side * side == tokens else None


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return int(size[0]), int(size[1])


def _told(old: tuple[int, int], new: tuple[int, int], prefixes: int) -> str:
    kept = f", {prefixes} prefix {'token' if prefixes == 1 else 'tokens'} kept" if prefixes else ""
    return f"positions of {old[0]} × {old[1]} patches to {new[0]} × {new[1]}, bicubic{kept}"


def _grid_of(scene: Scene) -> tuple[int, int] | None:
    """The grid that the target's patch embedding makes, where it says so."""
    for module in scene.model.modules():
        size = getattr(module, "grid_size", None)
        if isinstance(size, tuple) and len(size) == 2:
            return _pair(size)
    return None


def _sees_patches(scene: Scene, name: str) -> bool:
    """Whether a convolution beside the tensor cuts images into patches: then positions lie in a plane."""
    from torch.nn import Conv2d, Embedding

    holder = name.rpartition(".")[0]
    if isinstance(scene.owner(name), Embedding):
        holder = holder.rpartition(".")[0]
    beside = scene.model.get_submodule(holder)
    return any(isinstance(one, Conv2d) and one.stride == one.kernel_size for one in beside.modules())
