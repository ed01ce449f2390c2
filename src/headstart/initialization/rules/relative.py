"""Other attention windows: tables of relative-position biases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Relative"]

TABLES = ("relative_position_bias_table", "rel_pos_bias", "rel_bias", "relative_position_bias", "attention_biases")
"""What libraries call the tables."""
CLASS_TOKENS = (0, 3)
"""Entries after the offsets: none, or BEiT's three for the class token."""


@dataclass(frozen=True)
class Relative(Rule):
    """A table ``((2h-1)(2w-1) [+ 3], heads)`` (Swin, BEiT), ``(heads, 2h-1, 2w-1)`` (MaxViT) or of distances (LeViT).

    ``geometric`` keeps near offsets as they are and stretches the far ones: the source's offsets
    are put at distances that grow geometrically up to the target's farthest one, and read off
    linearly (Bao et al. 2022, "BEiT", its code for other image sizes). As timm's
    ``resize_rel_pos_bias_table``; ``bicubic`` as its ``resize_rel_pos_bias_table_simple``.
    """

    name = "relative"
    spacing: Literal["geometric", "bicubic"] = "geometric"

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """The table of another window; its heads stay as they are."""
        own = scene.target[pair.target]
        if not pair.target.endswith(TABLES) or value.ndim != own.ndim:
            return None
        if pair.target.endswith("attention_biases"):
            return self._distances(value, own)
        if own.ndim == 3:
            old, new = _sides(value.shape[1:]), _sides(own.shape[1:])
            return None if old == new else Fitted(self._resized(value, old, new), _told(old, new))
        if own.ndim != 2 or own.shape[0] == value.shape[0]:
            return None
        return self._flat(value, own, _window(scene.owner(pair.target)))

    def _flat(self, value: Tensor, own: Tensor, window: tuple[int, int] | None) -> Fitted | None:
        import torch

        new = (2 * window[0] - 1, 2 * window[1] - 1) if window else None
        for extra in CLASS_TOKENS:
            wanted, old = own.shape[0] - extra, _square(value.shape[0] - extra)
            side = new if new and math.prod(new) == wanted else _square(wanted)
            if old is None or side is None:
                continue
            table = value[: len(value) - extra].T.reshape(-1, *old)
            resized = self._resized(table, old, side).flatten(1).T
            return Fitted(torch.cat([resized, value[len(value) - extra :]]), _told(old, side))
        return None

    def _distances(self, value: Tensor, own: Tensor) -> Fitted | None:
        old, new = _square(value.shape[1]), _square(own.shape[1])
        if old is None or new is None or old == new:
            return None
        resized = _bicubic(value.reshape(-1, *old), new, antialias=True)
        return Fitted(resized.flatten(1), _told(old, new))

    def _resized(self, table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
        """A table ``(heads, *old)`` of offsets as ``(heads, *new)``."""
        if self.spacing == "bicubic":
            return _bicubic(table, new, antialias=False)
        return _geometric(table, old, new)


def _geometric(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    import torch
    from scipy.interpolate import RegularGridInterpolator

    places = tuple(_places(has, wanted) for has, wanted in zip(old, new, strict=True))
    wanted = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in new), indexing="ij"), -1).astype(np.float64)
    values = table.float().permute(1, 2, 0).double().numpy()
    far = tuple((np.abs(place).max(), n // 2) for place, n in zip(places, new, strict=True))
    inside = wanted.clip([-reach for reach, _ in far], [reach for reach, _ in far])
    found = RegularGridInterpolator(places, values, method="linear")(inside)
    return torch.from_numpy(found).permute(2, 0, 1).to(table.dtype)


def _places(old: int, new: int) -> NDArray[np.float64]:
    """Where the source's offsets lie: 0, 1, 1 + q, 1 + q + q², ... up to the target's farthest, on both sides."""
    low, high, far = 1.01, 1.5, new // 2
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio ** (old // 2)) / (1 - ratio) > far:
            high = ratio
        else:
            low = ratio
    steps = np.cumsum(ratio ** np.arange(old // 2))
    return np.concatenate([-steps[::-1], [0.0], steps])


def _bicubic(table: Tensor, new: tuple[int, int], antialias: bool) -> Tensor:
    from torch.nn.functional import interpolate

    grown = interpolate(table[None].float(), size=new, mode="bicubic", align_corners=False, antialias=antialias)
    return grown[0].to(table.dtype)


def _window(module: nn.Module) -> tuple[int, int] | None:
    size: Any = getattr(module, "window_size", None)
    if isinstance(size, int):
        return size, size
    return _sides(size) if isinstance(size, tuple) and len(size) == 2 else None


def _sides(size: Any) -> tuple[int, int]:
    return int(size[0]), int(size[1])


def _square(count: int) -> tuple[int, int] | None:
    side = math.isqrt(max(0, count))
    return (side, side) if side and side * side == count else None


def _told(old: tuple[int, int], new: tuple[int, int]) -> str:
    return f"offsets of {old[0]} × {old[1]} to {new[0]} × {new[1]}"
