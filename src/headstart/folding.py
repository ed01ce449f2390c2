"""Convolutions trained together with the normalisation that takes their output, while its statistics stand still.

Such a normalisation is an affine map of each channel. Multiplied into the kernel and added as a bias it is the same
function of the same parameters, with the same gradients, but the output is written and read once where it was four
times; an activation that its own result tells the slope of rides along. A step of LP-FT costs three quarters of what it
did. Parameters, their names and the modules stay as they are: only what is called changes, and only within `folded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headstart.pairs import FUSED, Passed, affine, same_padding, widened

__all__ = ["folded"]

LAST = torch.channels_last
ALIKE = 1e-3
"""How far the loss of an example may be from what it was, as a share of it: float32 rounds, nothing else."""
Slope = Callable[[Tensor, Tensor], Tensor]
SLOPES: Mapping[str, Slope] = {
    "relu": lambda gradient, result: torch.ops.aten.threshold_backward(gradient, result, 0),
    "hardtanh": lambda gradient, result: torch.ops.aten.hardtanh_backward(gradient, result, 0.0, 6.0),
}
"""Activation, see `headstart.pairs.FUSED` -> the gradient before it, by that after it and by its result."""


@contextmanager
def folded(model: nn.Module, run: Callable[[], float]) -> Iterator[int]:
    """Within it, convolutions do the work of their normalisations; yields how many.

    Dense ones whose normalisation ends in an activation of `SLOPES`. Those that end in none are fed by activations,
    numbers of one sign, and the gradient of their scale would be a difference of two large numbers of 8 bits (cosine to
    float32 lower by 0.007, EfficientNet-Lite2). And the kernel must train, or the normalisation must not: else a
    gradient of the kernel would be computed only for the normalisation's sake. Where the loss is not what it was,
    nothing is folded.

    Args:
        model: On a CPU, its normalisations in evaluation mode and what trains marked so.
        run: Loss of an example, without autocast.
    """
    changed: list[nn.Module] = []
    alike = False
    copying = [one for one in model.modules() if isinstance(one, nn.ReLU6) and one.inplace]
    try:
        # What runs out of memory here is left to the steps, which halve their batches, unfolded.
        with torch.no_grad(), suppress(RuntimeError, MemoryError):
            before: list[float] = []
            for conv, norm in Passed(model, lambda: before.append(run())).pairs:
                changed += _fold(conv, norm)
            after = run() if changed else before[0]
            alike = abs(after - before[0]) <= ALIKE * abs(before[0])
        if not alike:
            _undo(changed)
        for one in copying:  # in place, torch copies what it has clamped
            one.inplace = False
        yield len(changed)
    finally:
        _undo(changed)
        for one in copying:
            one.inplace = True


def _undo(changed: list[nn.Module]) -> None:
    for module in changed:
        del module.__dict__["forward"]
    changed.clear()


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Module, ...]:
    """Changes what the two compute when they are called, where that gains something; returns which were changed."""
    if norm.training or any(one._forward_hooks or one._forward_pre_hooks for one in (conv, norm)):
        return ()
    if conv.groups > 1:
        if conv.weight.requires_grad or type(conv).__name__ != "Conv2dSame":
            return ()
        conv.__dict__["forward"] = partial(_unpadded, conv)
        return (conv,)
    if not conv.weight.requires_grad and any(parameter.requires_grad for parameter in norm.parameters()):
        return ()
    name, _ = FUSED.get(type(getattr(norm, "act", None)), ("", []))  # type: ignore[arg-type]
    if name not in SLOPES:
        return ()
    conv.__dict__["forward"] = partial(_both, conv, norm, name)
    norm.__dict__["forward"] = lambda state: state
    return conv, norm


def _unpadded(conv: nn.Conv2d, state: Tensor) -> Tensor:
    """A convolution with ``SAME`` padding by a wider kernel."""
    padding, taps = same_padding(state.shape, conv.weight.shape, conv.stride)
    weight = widened(conv.weight, taps)
    return nn.functional.conv2d(state, weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)


def _both(conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: str, state: Tensor) -> Tensor:
    """What the normalisation, and an activation, make of what the convolution makes of a state."""
    scale, shift = affine(norm)
    weight = conv.weight * scale[:, None, None, None]
    bias = shift if conv.bias is None else shift + conv.bias * scale
    padding = [int(side) for side in conv.padding]
    if type(conv).__name__ == "Conv2dSame":
        padding, taps = same_padding(state.shape, weight.shape, conv.stride)
        weight = widened(weight, taps)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        state, weight = state.to(dtype), weight.to(dtype)
    how = (list(conv.stride), padding, list(conv.dilation))
    return _Convolved.apply(state, weight, bias, how, activation)  # type: ignore[no-untyped-call,no-any-return]


class _Convolved(torch.autograd.Function):
    """A dense convolution with bias and activation; the bias is float32, as its sums are."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, weight: Tensor, bias: Tensor, how: tuple[Any, ...], activation: str) -> Tensor:
        stride, padding, dilation = how
        state, weight = (one.contiguous(memory_format=LAST) for one in (state, weight))
        numbers = next(numbers for name, numbers in FUSED.values() if name == activation)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            state, weight, bias, padding, stride, dilation, 1, activation, numbers, ""
        )
        ctx.save_for_backward(state, weight, result)
        ctx.how, ctx.activation = how, activation
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        state, weight, result = ctx.saved_tensors
        gradient = SLOPES[ctx.activation](gradient.contiguous(memory_format=LAST), result)
        given = (*ctx.how, False, [0, 0], 1)
        found = torch.ops.aten.convolution_backward(
            gradient, state, weight, [len(weight)], *given, list(ctx.needs_input_grad[:3])
        )
        return *found, None, None
