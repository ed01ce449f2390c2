"""Frozen layers made fast: batch normalisation folded, activations fused, weights packed, kernels rounded with care.

Folding is exact in float32 up to rounding. In bfloat16 it is what the rounding is done with that matters.
Of EfficientNet-Lite's loss of likeness to float32, nine tenths come from rounding what the first convolution
gives: the depthwise one after it takes differences of it, which are small where the image is smooth. So
the convolutions up to the first depthwise one stay float32 (`first`). Most of the rest comes from depthwise
kernels, whose nine taps of 8 bits no longer add up to what they did. Here they do (`summed`), and biases stay float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FrozenConv", "FrozenLinear", "exact", "fuse", "pack", "summed"]

FUSED: Mapping[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Activation -> what oneDNN calls it, and its numbers."""


Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


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
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = bias * scale + shift
        self.activation = activation
        self._same = type(conv).__name__ == "Conv2dSame"
        self._kernel = conv.kernel_size
        padding = [0, 0] if self._same else [int(size) for size in conv.padding]
        self._how = (padding, list(conv.stride), list(conv.dilation), conv.groups)
        self._packed: Tensor | None = None
        self.portable = False

    def forward(self, state: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C', H', W')``."""
        return self._convolved(state.to(self.weight.dtype)).to(self.gives)

    def _convolved(self, state: Tensor) -> Tensor:
        if self._same:
            state = self._padded(state)
        if self.portable or not onednn(state.device.type):
            padding, stride, dilation, groups = self._how
            weight, bias = (one.to(state.device, state.dtype) for one in (self.weight, self.bias))
            convolved = nn.functional.conv2d(state, weight, bias, stride, padding, dilation, groups)
            return self.activation(convolved)  # type: ignore[no-any-return]
        if self._packed is None:
            shape = [max(2, state.shape[0]), *state.shape[1:]]
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._how, shape)
        name, numbers = FUSED[type(self.activation)]
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            state, self._packed, self.bias, *self._how, name, numbers, ""
        )

    def _padded(self, state: Tensor) -> Tensor:
        """Padded as TensorFlow pads ``SAME``: as evenly as it goes, the odd one at the end."""
        _, stride, dilation, _ = self._how
        sides = []
        for axis in (1, 0):
            side = state.shape[2 + axis]
            reach = (-(-side // stride[axis]) - 1) * stride[axis] + (self._kernel[axis] - 1) * dilation[axis] + 1
            room = max(0, reach - side)
            sides += [room // 2, room - room // 2]
        return nn.functional.pad(state, sides) if any(sides) else state


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

    def forward(self, state: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., D')``."""
        return torch.ops.mkldnn._linear_pointwise(state, self._packed, self.bias, "none", [], "")  # type: ignore[no-any-return]


def exact(model: nn.Module) -> torch.dtype | None:
    """float32 where the first convolutions of a fused model stay in it; None where they do not."""
    kept = any(isinstance(one, FrozenConv) and one.weight.dtype == torch.float32 for one in model.modules())
    return torch.float32 if kept else None


def onednn(device: str) -> bool:
    """Whether torch holds the fused layers of oneDNN for this device."""
    return (
        device == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


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
    passed = _Passed(model, run)
    pairs = passed.pairs
    kept = _first(pairs, passed)
    for conv, norm in pairs:
        assert norm.running_mean is not None  # noqa: S101  `_foldable` asked
        assert norm.running_var is not None  # noqa: S101
        scale = torch.rsqrt(norm.running_var.float() + norm.eps)
        shift = -norm.running_mean.float() * scale
        if norm.affine:
            scale, shift = scale * norm.weight.detach(), shift * norm.weight.detach() + norm.bias.detach()
        activation = getattr(norm, "act", nn.Identity())
        inside = type(activation) in FUSED
        own = torch.float32 if conv in kept else dtype
        gives = dtype if not kept or conv is kept[-1] else own
        _put(model, conv, FrozenConv(conv, scale, shift, activation if inside else nn.Identity(), own, gives))
        _put(model, norm, nn.Identity() if inside else activation)
    return len(pairs)


def _first(pairs: list[Pair], passed: _Passed) -> list[nn.Conv2d]:
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


class _Passed:
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
        and type(module).__name__ in ("Conv2d", "Conv2dSame")
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


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
