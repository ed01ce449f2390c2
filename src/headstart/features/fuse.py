"""Frozen layers made fast: batch normalisation folded, activations fused, weights packed, kernels rounded with care.

Folding is exact in float32 up to rounding. In bfloat16 it is what the rounding is done with that matters.
Of EfficientNet-Lite's loss of likeness to float32, nine tenths come from rounding what the first convolution
gives: the depthwise one after it takes differences of it, which are small where the image is smooth. So
the convolutions up to the first depthwise one stay float32 (`first`). Most of the rest comes from depthwise
kernels, whose nine taps of 8 bits no longer add up to what they did. Here they do (`summed`), and biases stay float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from headstart.pairs import FUSED, Pair, Passed, affine, onednn, same_padding, widened

__all__ = ["FrozenConv", "FrozenLinear", "exact", "fuse", "pack", "summed"]

FEW_ROWS = (1, 8, 20, 36, 50, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 448, 512, 640, 768, 896, 1024)
"""Numbers of rows that `least_rows` tries."""


class FrozenConv(nn.Module):
    """A convolution for inference only: its batch normalisation and activation are inside.

    Args:
        conv: The convolution.
        scale: What each output channel is multiplied by, ``(C,)`` float32.
        shift: What is added to it, ``(C,)`` float32.
        activation: Applied last.
        dtype: Of weights and inputs; sums and the bias are float32 where oneDNN computes.
        gives: Of outputs; None: ``dtype``.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        scale: Tensor,
        shift: Tensor,
        activation: nn.Module,
        dtype: torch.dtype,
        gives: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.gives = gives or dtype
        bias = 0.0 if conv.bias is None else conv.bias.detach().float()
        weight = conv.weight.detach().float() * scale[:, None, None, None]
        if dtype == torch.bfloat16 and conv.groups == conv.in_channels:
            weight = summed(weight)
        self.weight = weight.to(dtype)
        self.bias = bias * scale + shift
        self.activation = activation
        self._same = type(conv).__name__ == "Conv2dSame"
        self._padding = [int(size) for size in conv.padding]
        self._stride, self._dilation, self._groups = list(conv.stride), list(conv.dilation), conv.groups
        self._ready: dict[Any, tuple[Tensor, Tensor]] = {}
        """Weight and bias as they were last laid out, by what they were laid out for."""
        self.portable = False

    def forward(self, state: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C', H', W')``."""
        return self._convolved(state.to(self.weight.dtype)).to(self.gives)

    def _convolved(self, state: Tensor) -> Tensor:
        padding, taps = self._padding, (0, 0)
        if self._same:
            padding, taps = same_padding(state.shape, self.weight.shape, self._stride)
        how = (padding, self._stride, self._dilation, self._groups)
        packed = not self.portable and onednn(state.device.type)
        key = (packed, taps, state.device)
        if key not in self._ready:
            self._ready[key] = self._laid_out(state, taps, how if packed else None)
        weight, bias = self._ready[key]
        if packed:
            name, numbers = FUSED[type(self.activation)]
            return torch.ops.mkldnn._convolution_pointwise(state, weight, bias, *how, name, numbers, "")  # type: ignore[no-any-return]
        padding, stride, dilation, groups = how
        convolved = nn.functional.conv2d(state, weight, bias, stride, padding, dilation, groups)
        return self.activation(convolved)  # type: ignore[no-any-return]

    def _laid_out(self, state: Tensor, taps: tuple[int, int], packed: tuple[Any, ...] | None) -> tuple[Tensor, Tensor]:
        """Weight, with so many rows and columns of zeros before its first, and bias; as oneDNN packs it, if it does."""
        wide = widened(self.weight, taps).contiguous(memory_format=torch.channels_last)
        if packed is None:
            return wide.to(state.device), self.bias.to(state.device, state.dtype)
        shape = [max(2, state.shape[0]), *state.shape[1:]]
        return torch.ops.mkldnn._reorder_convolution_weight(wide, *packed, shape), self.bias


class FrozenLinear(nn.Module):
    """A linear layer for inference only, whose weights lie as oneDNN wants them; it packs them anew in each call else.

    Args:
        linear: On the CPU, in bfloat16.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight.detach()
        self.bias = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)
        self._least = least_rows(*self.weight.shape)

    def forward(self, state: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., D')``."""
        rows = state.numel() // state.shape[-1]
        if rows >= self._least:
            return _linear(state, self._packed, self.bias)
        filled = nn.functional.pad(state.reshape(rows, -1), (0, 0, 0, self._least - rows))
        return _linear(filled, self._packed, self.bias)[:rows].view(*state.shape[:-1], -1)


def _linear(state: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(state, packed, bias, "none", [], "")  # type: ignore[no-any-return]


@cache
def least_rows(outputs: int, inputs: int) -> int:
    """From how many rows on a packed bfloat16 layer gives a row the same bits, however many there are; found by trial.

    oneDNN cuts its sums in other places where rows are few: on CPUs with AMX below some hundred, on others never.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        draw = torch.Generator().manual_seed(0)
        state, weight = (torch.randn(size, inputs, generator=draw).bfloat16() for size in (FEW_ROWS[-1] + 512, outputs))
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        whole, least = _linear(state, packed, None), FEW_ROWS[-1]
        for rows in reversed(FEW_ROWS):
            if not torch.equal(_linear(state[:rows], packed, None), whole[:rows]):
                break
            least = rows
        return least
    finally:
        torch.set_num_threads(threads)


def exact(model: nn.Module) -> torch.dtype | None:
    """float32 where the first convolutions of a fused model stay in it; None where they do not."""
    kept = any(isinstance(one, FrozenConv) and one.weight.dtype == torch.float32 for one in model.modules())
    return torch.float32 if kept else None


def portable(model: nn.Module) -> None:
    """Makes fused convolutions float32 with the weights they have, of layers that every library knows; in place."""
    for one in model.modules():
        if isinstance(one, FrozenConv):
            one.weight, one.gives, one.portable = one.weight.float(), torch.float32, True


def pack(model: nn.Module) -> int:
    """Puts a `FrozenLinear` in the place of every linear layer; returns how many.

    Args:
        model: Changed in place; on the CPU, in bfloat16.
    """
    linears = [module for module in model.modules() if type(module) is nn.Linear]
    for linear in linears:
        _put(model, linear, FrozenLinear(linear))
    return len(linears)


def summed(weight: Tensor) -> Tensor:
    """Kernels rounded to bfloat16, each tap up or down, so that the sums of kernels change as little as may be.

    Neighbouring pixels are much alike, so a kernel answers mostly to their mean, by the sum of its taps.

    Args:
        weight: ``(C, 1, k, k)`` float32.

    Returns:
        The same shape, float32 numbers that bfloat16 holds exactly.
    """
    exact = weight.reshape(len(weight), -1)
    rounded = exact.bfloat16().float()
    step = torch.ldexp(torch.ones_like(rounded), torch.frexp(rounded).exponent - 8)
    other = (rounded + step * torch.sign(exact - rounded)).bfloat16().float()
    change = other - rounded
    for _ in range(exact.shape[1]):
        error = (exact - rounded).sum(1, keepdim=True)
        left = (error - change).abs()
        best = left.argmin(1, keepdim=True)
        gain = left.gather(1, best) < error.abs()
        if not gain.any():
            break
        rounded = rounded.scatter_add(1, best, torch.where(gain, change.gather(1, best), 0.0))
        change = change.scatter(1, best, torch.where(gain, 0.0, change.gather(1, best)))
    return rounded.reshape(weight.shape)


def fuse(model: nn.Module, run: Callable[[], Any], dtype: torch.dtype) -> int:
    """Puts a `FrozenConv` where a convolution's output goes straight into a batch normalisation.

    Args:
        model: Changed in place; in evaluation mode and float32.
        run: Passes an example through the model once, so that it is seen what follows what.
        dtype: What the fused convolutions compute in.

    Returns:
        How many were fused.
    """
    passed = Passed(model, run)
    pairs = passed.pairs
    kept = _first(pairs, passed)
    for conv, norm in pairs:
        scale, shift = (one.detach() for one in affine(norm))
        activation = getattr(norm, "act", nn.Identity())
        inside = type(activation) in FUSED
        own = torch.float32 if conv in kept else dtype
        gives = dtype if not kept or conv is kept[-1] else own
        _put(model, conv, FrozenConv(conv, scale, shift, activation if inside else nn.Identity(), own, gives))
        _put(model, norm, nn.Identity() if inside else activation)
    return len(pairs)


def _first(pairs: list[Pair], passed: Passed) -> list[nn.Conv2d]:
    """The first convolution and those that are fed by it alone, up to the first depthwise one.

    None, where something with weights of its own comes before.
    """
    found: list[nn.Conv2d] = []
    last: nn.Module | None = None
    for conv, norm in pairs:
        if passed.order[0] is not conv if last is None else passed.fed.get(conv) is not last:
            break
        found.append(conv)
        last = norm
        if conv.groups == conv.in_channels > 1 or type(getattr(norm, "act", None)) not in FUSED:
            break
    return found


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
