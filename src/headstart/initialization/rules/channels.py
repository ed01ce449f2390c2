"""Other input channels: grey, or more bands than the source saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Channels"]


class Channels(Rule):
    """The first convolution for C channels out of one for S: summed for C = 1, else repeated and scaled by S / C.

    Both keep the response to an image whose channels are equal. As timm's ``adapt_input_conv``.
    """

    name = "channels"

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Weights ``(O, C, kH, kW)`` out of ``(O, S, kH, kW)``."""
        own = scene.target[pair.target]
        if value.ndim != own.ndim or pair.target != _first_convolution(scene) or value.shape[1] == own.shape[1]:
            return None
        has, wanted = value.shape[1], own.shape[1]
        if wanted == 1:
            return Fitted(value.float().sum(1, keepdim=True).to(value.dtype), f"the {has} input channels summed")
        repeats = -(-wanted // has)
        tiled = value.float().repeat(1, repeats, *[1] * (value.ndim - 2))[:, :wanted] * (has / wanted)
        return Fitted(tiled.to(value.dtype), f"{has} input channels repeated to {wanted}, times {has}/{wanted}")


def _first_convolution(scene: Scene) -> str:
    """Name of the weight of the target's first convolution that mixes all its channels."""
    from torch.nn import Conv1d, Conv2d, Conv3d

    for name, module in scene.model.named_modules():
        if isinstance(module, (Conv1d, Conv2d, Conv3d)) and module.groups == 1:
            return f"{name}.weight" if name else "weight"
    return ""
