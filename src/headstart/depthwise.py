"""Cheaper gradients of depthwise convolutions in bfloat16 on a CPU.

There oneDNN has fast kernels for the weight gradient of 3x3 kernels and for convolutions of stride 1
only; everything else takes a reference path that is tens of times slower, and made up most of
the time of a training step. Both slow gradients can be had from the fast kernels:

- the gradient of a 5x5 kernel is four gradients of 3x3 kernels, of the input shifted to each corner;
- the input gradient at stride 2 is a convolution of stride 1, by the flipped kernel, of the output
  gradient with zeros between its values.

These are the same sums, rounded as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["CheapGradients", "depthwise", "kernels"]

LAST = torch.channels_last


class CheapGradients(TorchFunctionMode):
    """Within it, depthwise convolutions take the cheap way where it is cheaper: under CPU autocast to bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ARG002 - the protocol of torch
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls ``func``, or the cheap convolution in its place."""
        if func is functional.conv2d and not kwargs and _gains(*args):
            inputs, weight, _, stride, padding, *_ = args
            with torch.autocast("cpu", enabled=False):
                return depthwise(inputs.bfloat16(), weight.bfloat16(), _pair(stride)[0], _pair(padding)[0])
        return func(*args, **(kwargs or {}))


def _gains(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether a convolution is depthwise, of a kind that oneDNN is slow at, and in bfloat16 on a CPU."""
    size = weight.shape[2]
    return (
        inputs.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and groups == inputs.shape[1] == len(weight) > 1
        and bias is None
        and weight.shape[2:] in (((3, 3), (5, 5)) if weight.requires_grad else ((3, 3), (4, 4), (5, 5), (6, 6)))
        and _pair(stride) in ((1, 1), (2, 2))
        and _pair(padding) in ((0, 0), ((size - 1) // 2,) * 2)
        and _pair(dilation) == (1, 1)
        and (size >= 5 or _pair(stride)[0] == 2)
    )


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, (int, str)) else tuple(value)


def kernels(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that are kernels of depthwise convolutions."""
    found = [name for name, one in model.named_modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    return frozenset(f"{name}.weight" for name in found if model.get_parameter(f"{name}.weight").shape[1] == 1)


def depthwise(inputs: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """A depthwise convolution.

    Args:
        inputs: (N, C, H, W) bfloat16.
        weight: (C, 1, k, k) bfloat16; k 3 or 5 where it has a gradient.
        stride: 1 or 2.
        padding: Zeros at each side, below k.
    """
    return _Depthwise.apply(inputs, weight, stride, padding)  # type: ignore[no-untyped-call,no-any-return]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.geometry = stride, padding
        return functional.conv2d(inputs, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        given = (*ctx.saved_tensors, gradient.contiguous(memory_format=LAST), *ctx.geometry)
        by_input = _by_input(*given) if ctx.needs_input_grad[0] else None
        by_weight = _by_weight(*given) if ctx.needs_input_grad[1] else None
        return by_input, by_weight, None, None


def _by_input(inputs: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    size = weight.shape[2]
    if stride > 1:
        sides = [side + 2 * padding - size + 1 for side in inputs.shape[2:]]
        spread = gradient.new_zeros((*gradient.shape[:2], *sides)).contiguous(memory_format=LAST)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    flipped = weight.flip(2, 3).contiguous(memory_format=LAST)
    return functional.conv2d(gradient, flipped, None, 1, size - 1 - padding, 1, len(weight))


def _by_weight(inputs: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    if weight.shape[2] == 3:
        return _gradient_3x3(inputs, weight, gradient, stride, padding)
    found = torch.empty_like(weight)
    padded = functional.pad(inputs, (padding,) * 4) if padding else inputs
    height, width = (stride * (side - 1) + 3 for side in gradient.shape[2:])
    for top in (0, 2):
        for left in (0, 2):
            part = padded[:, :, top : top + height, left : left + width].contiguous(memory_format=LAST)
            corner = weight[:, :, top : top + 3, left : left + 3]
            found[:, :, top : top + 3, left : left + 3] = _gradient_3x3(part, corner, gradient, stride, 0)
    return found


def _gradient_3x3(inputs: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    shape = ([stride, stride], [padding, padding], [1, 1], False, [0, 0], len(weight))
    mask = [False, True, False]
    return torch.ops.aten.convolution_backward(gradient, inputs, weight, None, *shape, mask)[1]  # type: ignore[no-any-return]
