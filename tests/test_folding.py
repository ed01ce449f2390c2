"""Normalisations folded into convolutions while they train: the same loss, the same gradients, nothing left behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from headstart._torchvision import make_importable
from headstart.folding import folded


class Net(nn.Module):
    """A stem with SAME padding, a depthwise and a dense convolution, a branch, and one without an activation."""

    def __init__(self, activation: type[nn.Module], crossing: bool = False) -> None:
        super().__init__()
        make_importable()
        from timm.layers import BatchNormAct2d, Conv2dSame

        self.stem, self.first = Conv2dSame(3, 8, 3, stride=2, bias=False), BatchNormAct2d(8, act_layer=activation)
        self.depthwise = Conv2dSame(8, 8, 5, stride=2, groups=8, bias=False)
        self.second = BatchNormAct2d(8, act_layer=nn.ReLU6)
        self.dense, self.third = nn.Conv2d(8, 8, 1), BatchNormAct2d(8, act_layer=activation)
        self.last, self.plain = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)
        self.crossing = crossing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.stem(x))
        x = self.second(self.depthwise(x))
        given = self.dense(x)
        y = self.third(given) + (given if self.crossing else x)
        return self.head(self.plain(self.last(y)).mean((2, 3)))


def net(activation=nn.ReLU6, crossing=False) -> Net:
    torch.manual_seed(0)
    made = Net(activation, crossing)
    for norm in (made.first, made.second, made.third, made.plain):
        for values in (norm.weight, norm.running_var):
            values.data.uniform_(0.5, 2)
        for values in (norm.bias, norm.running_mean):
            values.data.normal_()
        norm.eval()
    return made.to(memory_format=torch.channels_last)


PIXELS, TARGETS = torch.randn(6, 3, 22, 19, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def loss(model: nn.Module) -> torch.Tensor:
    return nn.functional.cross_entropy(model(PIXELS), TARGETS)


def value(model: nn.Module) -> float:
    return float(loss(model).detach())


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss(model).backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.ReLU, nn.SiLU, nn.Identity])
@pytest.mark.parametrize("frozen", [True, False])
def test_loss_and_gradients_are_the_same(activation, frozen):
    model = net(activation)
    model.depthwise.weight.requires_grad_(not frozen)
    expected, right = value(model), gradients(model)
    with folded(model, lambda: value(model)) as count:
        whole = 4 * (activation in (nn.ReLU6, nn.ReLU))
        assert count == whole + frozen, "two convolutions and their normalisations, and the depthwise one"
        assert value(model) == pytest.approx(expected, rel=1e-5)
        found = gradients(model)
    assert found.keys() == right.keys()
    for name, slope in right.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-4, atol=1e-6, msg=name)


def test_in_bfloat16_gradients_point_the_same_way():
    model = net()
    exact = gradients(model)
    with folded(model, lambda: value(model)), torch.autocast("cpu", torch.bfloat16):
        found = gradients(model)
    for name, slope in exact.items():
        assert found[name].dtype == torch.float32
        assert nn.functional.cosine_similarity(found[name].flatten(), slope.flatten(), dim=0) > 0.99, name


def test_afterwards_everything_is_as_it_was():
    model, names = net(), set(net().state_dict())
    with folded(model, lambda: value(model)):
        assert set(model.state_dict()) == names
        assert not model.second.act.inplace
    assert model.second.act.inplace
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_copy_made_within_has_weights_of_its_own():
    model = net()
    with folded(model, lambda: value(model)):
        other = copy.deepcopy(model)
        with torch.no_grad():
            model.stem.weight.zero_()
        assert value(other) != pytest.approx(value(model))


def test_an_output_that_is_used_elsewhere_too_is_noticed_and_nothing_folded():
    model = net(crossing=True)
    expected = value(model)
    with folded(model, lambda: value(model)) as count:
        assert count == 0
        assert value(model) == expected


def test_what_learns_statistics_or_is_hooked_or_trains_without_its_kernel_is_left_alone():
    model = net()
    model.first.train()
    model.depthwise.weight.requires_grad_(True)
    model.dense.weight.requires_grad_(False)
    with folded(model, lambda: value(model)) as count:
        assert count == 0
    model.first.eval()
    model.stem.register_forward_hook(lambda *_: None)
    with folded(model, lambda: value(model)) as count:
        assert count == 0
    for norm in (model.first, model.third):
        norm.requires_grad_(False)
    with folded(model, lambda: value(model)) as count:
        assert count == 2, "kernel and normalisation both fixed"


def test_where_an_example_takes_too_much_memory_nothing_is_folded():
    model, calls = net(), []

    def exhausted() -> float:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return value(model)

    with folded(model, exhausted) as count:
        assert count == 0
        assert len(calls) == 2
        assert "forward" not in model.stem.__dict__
