"""Frozen layers give what the plain ones give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart._torchvision import make_importable
from headstart.features.fuse import FrozenConv, FrozenLinear, exact, fuse, onednn, pack, summed


class Block(nn.Module):
    """A convolution with normalisation and activation, one whose output is used twice, and one alone."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        make_importable()
        from timm.layers import BatchNormAct2d, Conv2dSame

        self.stem = Conv2dSame(3, 8, 3, stride=2, bias=False)
        self.norm = BatchNormAct2d(8)
        self.norm.act = activation
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.plain = nn.BatchNorm2d(8)
        self.alone = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x))
        return self.alone(x + self.plain(self.depthwise(x))).mean((2, 3))


def block(activation: nn.Module) -> Block:
    torch.manual_seed(0)
    made = Block(activation).eval()
    for norm in (made.norm, made.plain):
        for values in (norm.weight, norm.running_var):
            values.data.uniform_(0.5, 2)
        for values in (norm.bias, norm.running_mean):
            values.data.normal_()
    return made.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.SiLU(), nn.Identity(), nn.ReLU(), nn.Hardswish(), nn.GELU()])
@pytest.mark.parametrize("here", [True, False])
def test_fused_convolutions_give_the_same(activation, here, monkeypatch):
    if not here:
        monkeypatch.setattr("headstart.features.fuse.onednn", lambda _device: False)
    model, sizes = block(activation), [(17, 24), (24, 24), (24, 17), (17, 17), (1, 2)]
    batches = [torch.randn(2, 3, *size) for size in sizes]  # each padded at other ends
    with torch.inference_mode():
        expected = [model(pixels) for pixels in batches]
        assert fuse(model, lambda: model(batches[0]), torch.float32) == 2
        assert [type(child) for child in (model.stem, model.depthwise, model.alone)] == [FrozenConv] * 2 + [nn.Conv2d]
        for pixels, right in zip(batches, expected, strict=True):
            torch.testing.assert_close(model(pixels), right, rtol=1e-4, atol=1e-5)


def test_a_convolution_called_twice_is_left_alone():
    conv, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    model = nn.Sequential(conv, norm, conv).eval()
    with torch.inference_mode():
        assert fuse(model, lambda: model(torch.ones(1, 3, 2, 2)), torch.float32) == 0
    assert model[0] is conv


def test_convolutions_up_to_the_first_depthwise_one_stay_float32():
    pixels = torch.ones(2, 3, 32, 32)
    kinds = {"chain": block(nn.ReLU6()), "something before": nn.Sequential(nn.Conv2d(3, 3, 1), block(nn.ReLU6()))}
    with torch.inference_mode():
        for kind, model in kinds.items():
            fuse(model, lambda model=model: model(pixels), torch.bfloat16)
            convs = [one for one in model.modules() if isinstance(one, FrozenConv)]
            if kind != "chain":
                assert exact(model) is None
                assert [conv.weight.dtype for conv in convs] == [torch.bfloat16] * 2
                continue
            assert exact(model) == torch.float32
            assert [(conv.weight.dtype, conv.gives) for conv in convs] == [
                (torch.float32, torch.float32),
                (torch.float32, torch.bfloat16),
            ]
            assert convs[1](convs[0](pixels)).dtype == torch.bfloat16


def test_rounded_kernels_keep_their_sums():
    torch.manual_seed(0)
    exact = torch.randn(200, 1, 3, 3) * torch.logspace(-3, 3, 200)[:, None, None, None]
    exact[0] = 0
    found, nearest = summed(exact), exact.bfloat16().float()
    assert torch.equal(found, found.bfloat16().float())
    assert ((found - exact).abs() <= exact.abs() * 2**-7).all()

    def off(weight: torch.Tensor) -> torch.Tensor:
        return (weight - exact).double().sum((1, 2, 3)).abs()

    assert (off(found) <= off(nearest)).all()
    assert (
        off(found).div(exact.abs().amax((1, 2, 3)).clamp_min(1e-9)).median()
        < 0.1 * off(nearest).div(exact.abs().amax((1, 2, 3)).clamp_min(1e-9)).median()
    )


def test_packed_linear_layers_give_the_same():
    if not onednn("cpu"):
        pytest.fail("the torch that is installed lacks oneDNN")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16, bias=False)).bfloat16().eval()
    states = torch.randn(3, 5, 64).bfloat16()
    with torch.inference_mode():
        expected = model(states).float()
        assert pack(model) == 2
        assert isinstance(model[0], FrozenLinear)
        torch.testing.assert_close(model(states).float(), expected, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize(("inputs", "outputs"), [(384, 384), (1536, 384), (768, 768)])
def test_a_row_of_a_packed_layer_does_not_depend_on_how_many_there_are(inputs, outputs):
    if not onednn("cpu"):
        pytest.fail("the torch that is installed lacks oneDNN")
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        layer = FrozenLinear(nn.Linear(inputs, outputs).bfloat16())
        state = torch.randn(1500, inputs).bfloat16()
        with torch.inference_mode():
            whole = layer(state)
            for rows in (1, 2, 7, 33, 47, 100, 201, 349, 500, 703, 1111):
                assert torch.equal(layer(state[:rows]), whole[:rows]), rows
            assert torch.equal(layer(state[:6].reshape(2, 3, inputs)), whole[:6].reshape(2, 3, outputs))
    finally:
        torch.set_num_threads(threads)
