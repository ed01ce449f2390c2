"""Cheaper gradients of depthwise convolutions: the same numbers as torch's own, rounded once."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from headstart.depthwise import CheapGradients, depthwise, kernels

SHAPES = [(k, s, p, side) for k, s, side in itertools.product((3, 5), (1, 2), (9, 12)) for p in (0, k // 2)]


@pytest.mark.parametrize(("size", "stride", "padding", "side"), SHAPES)
def test_gradients_are_those_of_float64_within_the_rounding_of_bfloat16(size, stride, padding, side):
    torch.manual_seed(0)
    inputs = torch.randn(3, 8, side, side + 1).bfloat16().requires_grad_()
    weight = torch.randn(8, 1, size, size).bfloat16().requires_grad_()
    exact = [one.detach().double().requires_grad_() for one in (inputs, weight)]
    found = depthwise(inputs, weight, stride, padding)
    expected = functional.conv2d(exact[0], exact[1], None, stride, padding, 1, 8)
    slope = torch.randn_like(expected).bfloat16()
    found.backward(slope)
    expected.backward(slope.double())
    for ours, theirs in ((found, expected), (inputs.grad, exact[0].grad), (weight.grad, exact[1].grad)):
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs).norm() < 0.004 * theirs.norm()


def test_only_depthwise_convolutions_under_autocast_take_it():
    inputs, weight = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(4, 1, 5, 5)
    dense = torch.randn(4, 4, 5, 5)
    with CheapGradients():
        plain = functional.conv2d(inputs, weight, None, 1, 2, 1, 4)
        with torch.autocast("cpu", torch.bfloat16):
            cheap = functional.conv2d(inputs, weight, None, 1, 2, 1, 4)
            full = functional.conv2d(inputs, dense, None, 1, 2)
            biased = functional.conv2d(inputs, weight, torch.zeros(4), 1, 2, 1, 4)
    names = [type(one.grad_fn).__name__ for one in (plain, cheap, full, biased)]
    assert [name.startswith("_Depthwise") for name in names] == [False, True, False, False]
    assert cheap.dtype == torch.bfloat16


def test_kernels_of_depthwise_convolutions_are_found_by_name():
    grouped = nn.Conv2d(8, 8, 3, groups=2)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)), grouped, nn.Linear(8, 2))
    assert kernels(model) == {"1.0.weight"}
