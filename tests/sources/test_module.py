"""A module of a user's own as a source."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import headstart
from headstart import runtime, sources
from headstart.backbones import module as known
from headstart.errors import BundleRefused, UsageError
from headstart.features import run_backbone
from headstart.types import InputSpec


def colours(images: Sequence[Any]) -> torch.Tensor:
    """Means of the channels, in [0, 1]."""
    return torch.tensor(np.stack([np.asarray(image).mean((0, 1)) / 255 for image in images]), dtype=torch.float32)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(batch)) * self.scale


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    known.KNOWN.clear()


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def test_the_whole_job_with_a_module(photo_folder: Path, tmp_path: Path) -> None:
    source = headstart.Source.from_module(net(), colours, name="colours", size=32)
    assert (source.name, source.card.dim, source.card.parameters) == ("module:colours", 8, 40)
    result = headstart.fit(photo_folder, out=tmp_path / "run", source=source)
    photo = next((photo_folder / "disc").iterdir())
    model = headstart.load(result.bundle)
    assert model.predict([photo])[0] in ("disc", "square", "stripes")
    assert model.verify() < 1e-5
    known.KNOWN.clear()
    with pytest.raises(BundleRefused, match="a module of its maker's own, 'colours'"):
        headstart.load(result.bundle)


def test_the_module_is_copied_and_left_alone() -> None:
    module = net()
    before = module.scale.clone()
    source = headstart.Source.from_module(module, colours, name="colours")
    with torch.no_grad():
        module.scale.zero_()
    np.testing.assert_array_equal(source.tensors()["scale"], before.detach())
    assert source.backbone().model is not module


def test_its_scratch_twin_is_drawn_anew() -> None:
    source = headstart.Source.from_module(net(), colours, name="colours")
    first, second, other = (source.from_scratch(seed).tensors() for seed in (1, 1, 2))
    for name, learned in source.tensors().items():
        assert first[name].tobytes() == second[name].tobytes()
        assert (first[name] != learned).all()
        assert (first[name] != other[name]).any()


def test_standard_preprocessing_will_do() -> None:
    spec = InputSpec(16, (0.5,) * 3, (0.5,) * 3)
    source = headstart.Source.from_module(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), spec, name="means")
    from PIL import Image

    found = headstart.embed(source, [Image.new("RGB", (20, 20), (255, 0, 128))], cache=False)
    np.testing.assert_allclose(found, [[1, -1, 1 / 255]], atol=1e-3)


class Keeping(nn.Module):
    """Gives what a hook kept of its first layer, as libraries of features do; slowly, so that others could step in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Identity(), nn.Linear(3, 1)
        self.kept: list[torch.Tensor] = []
        self.first.register_forward_hook(lambda _module, _given, result: self.kept.append(result))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.kept.clear()
        self.last(self.first(batch))
        time.sleep(0.002)
        assert len(self.kept) == 1
        return self.kept[0]


def test_a_module_that_keeps_what_passes_through_it_is_run_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "thread_count", lambda: 4)
    module = Keeping()
    backbone = known.ModuleBackbone(module, 3)
    parts = [(np.array([i]), partial(torch.full, (1, 3), float(i))) for i in range(30)]
    found = [rows["last"][0, 0] for _, rows in run_backbone(backbone, parts, "cpu", "float32")]
    assert found == list(range(30))


def test_texts() -> None:
    def lengths(texts: Sequence[Any]) -> torch.Tensor:
        return torch.tensor([[len(text), text.count(" ")] for text in texts], dtype=torch.float32)

    source = headstart.Source.from_module(nn.Identity(), lengths, name="lengths", modality="text")
    np.testing.assert_array_equal(headstart.embed(source.name, ["ab c", "d"], cache=False), [[4, 1], [1, 0]])


def test_what_gives_no_embedding_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must give embeddings of the shape \(N, D\)"):
        headstart.Source.from_module(nn.Flatten(0), colours, name="flat")
    with pytest.raises(UsageError, match="name must be"):
        headstart.Source.from_module(net(), colours, name="a,b")
    with pytest.raises(UsageError, match="unknown module 'module:nobody'"):
        sources.resolve("module:nobody")
