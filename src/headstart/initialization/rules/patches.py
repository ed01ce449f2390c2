"""Other patch size: the patch embedding that answers to a resized patch as the source's did to the patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Patches"]


class Patches(Rule):
    """Pseudo-inverse resize: ``w' = pinv(B).T w`` for the matrix B that resizes a patch.

    Then ``<B x, w'> = <x, w>`` for every patch x where the new patch is the larger one. Beyer et
    al. 2023, "FlexiViT: One Model for All Patch Sizes", equation 3; as timm's ``resample_patch_embed``.
    """

    name = "patches"

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Weights ``(O, C, h', w')`` out of ``(O, C, h, w)`` of a convolution that steps by its own size."""
        import torch
        from torch.nn import Conv2d
        from torch.nn.functional import interpolate

        own, module = scene.target[pair.target], scene.owner(pair.target)
        if value.ndim != 4 or own.ndim != 4 or not isinstance(module, Conv2d) or module.stride != module.kernel_size:
            return None
        old, new = tuple(value.shape[-2:]), tuple(own.shape[-2:])
        if old == new:
            return None
        basis = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, 1, *old)
        resized = interpolate(basis, size=new, mode="bicubic", antialias=True, align_corners=False)
        inverse = torch.linalg.pinv(resized.flatten(1).T)
        weights = value.double().flatten(2) @ inverse
        how = f"patches of {old[0]} × {old[1]} to {new[0]} × {new[1]} by pseudo-inverse resize"
        return Fitted(weights.reshape(*value.shape[:2], *new).to(value.dtype), how)
