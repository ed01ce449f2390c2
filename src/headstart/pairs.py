"""Convolutions and the normalisations that take their output: found in a model, and made one map.

A normalisation by stored statistics is an affine map of each channel, so a convolution can do its work: frozen, see
`headstart.features.fuse`, and while both train, see `headstart.folding`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FUSED", "Pair", "Passed", "affine", "onednn", "same_padding", "widened"]

FUSED: Mapping[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Activation -> what oneDNN calls it, and its numbers."""

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


class Passed:
    """What follows what in one pass of an example through a model."""

    def __init__(self, model: nn.Module, run: Callable[[], Any]) -> None:
        self.order: list[nn.Module] = []
        """Modules with weights of their own, as they were called."""
        self.fed: dict[nn.Module, nn.Module] = {}
        """Convolution -> the normalisation whose output it takes."""
        self._pairs: list[Pair] = []
        self._made: dict[int, tuple[nn.Module, Tensor]] = {}
        hooks = []
        for module in model.modules():
            if any(True for _ in module.parameters(recurse=False)):
                hooks += [module.register_forward_pre_hook(self._takes), module.register_forward_hook(self._gives)]
        try:
            run()
        finally:
            for hook in hooks:
                hook.remove()

    def _takes(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.order.append(module)
        maker, _ = self._made.get(id(inputs[0]) if inputs else 0, (None, None))
        if _foldable(module) and maker is not None and _plain(maker):
            self._pairs.append((maker, module))  # type: ignore[arg-type]  # `_plain` and `_foldable` asked
        elif _plain(module) and maker is not None:
            self.fed[module] = maker

    def _gives(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        self._made[id(output)] = (module, output)  # the tensor is held, so that its id stays its own

    @property
    def pairs(self) -> list[Pair]:
        """Convolutions and the normalisation that takes their output, each called once, in the order of their calls."""
        calls, makers = Counter(self.order), Counter(conv for conv, _ in self._pairs)
        return [pair for pair in self._pairs if all(calls[module] == 1 for module in pair) and makers[pair[0]] == 1]


def _plain(module: nn.Module) -> bool:
    """A convolution without further tricks: its own forward is what `FrozenConv` does."""
    return (
        isinstance(module, nn.Conv2d)
        and (type(module).__name__ == "Conv2d" or (type(module).__name__ == "Conv2dSame" and module.dilation == (1, 1)))
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _foldable(module: nn.Module) -> bool:
    """A batch normalisation by stored statistics, with nothing but an activation after it."""
    return (
        isinstance(module, nn.BatchNorm2d)
        and type(module).__name__ in ("BatchNorm2d", "BatchNormAct2d")
        and module.running_mean is not None
        and module.running_var is not None
        and isinstance(getattr(module, "drop", nn.Identity()), nn.Identity)
    )


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation by stored statistics multiplies each channel by, and what it adds; ``(C,)`` float32."""
    assert norm.running_mean is not None  # noqa: S101  `_foldable` asked
    assert norm.running_var is not None  # noqa: S101
    scale = torch.rsqrt(norm.running_var.float() + norm.eps)
    shift = -norm.running_mean.float() * scale
    return (scale * norm.weight, shift * norm.weight + norm.bias) if norm.affine else (scale, shift)


def same_padding(
    state: Sequence[int], weight: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], tuple[int, int]]:
    """Padding of each axis as TensorFlow pads ``SAME``, and how many taps the kernel is `widened` by for it.

    ``SAME`` puts an odd zero at the end only. A kernel with one more tap of zero in front gives the same sums with as
    many zeros at both ends, and so without a padded copy of the state: at stride 2 in half the time.

    Args:
        state: The shape ``(N, C, H, W)`` of what is convolved.
        weight: The shape of the kernels, without dilation.
        strides: Of each axis.
    """
    padding, taps = [], []
    for side, kernel, stride in zip(state[2:], weight[2:], strides, strict=True):
        room = max(0, (-(-int(side) // stride) - 1) * stride + kernel - int(side))  # a side is a tensor while traced
        padding.append(room - room // 2)
        taps.append(room % 2)
    return padding, (taps[0], taps[1])


def widened(weight: Tensor, taps: tuple[int, int]) -> Tensor:
    """Kernels with so many rows and columns of zeros before their first."""
    rows, columns = taps
    return nn.functional.pad(weight, (columns, 0, rows, 0)) if any(taps) else weight


def onednn(device: str) -> bool:
    """Whether torch holds the fused layers of oneDNN for this device."""
    return (
        device == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
