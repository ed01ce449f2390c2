"""Every provider, and timm's families at their smallest, keep the contract of a source.

Nothing is downloaded: the models have random weights and are saved as timm saves them for the hub.
"""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart import initialization, ship, sources
from headstart._torchvision import make_importable
from headstart.backbones import FAMILIES, Source
from headstart.exporters import bundle as bundles
from headstart.features import Embedder, made
from headstart.modalities import pipeline_of
from headstart.types import Arm, LinearHead, Predictions, Receipt, Task

FAST = ("resnet10t", "vit_tiny_patch16_224", "efficientvit_b0")
SLOW = (
    *("cait_xxs24_224", "convnext_atto", "cspresnet50", "deit_tiny_distilled_patch16_224"),
    *("densenet121", "dla34", "dpn48b", "edgenext_xx_small", "efficientformerv2_s0", "eva02_tiny_patch14_224"),
    *("fastvit_t8", "ghostnet_050", "gmlp_s16_224", "hgnetv2_b0", "levit_128s", "mobilenetv2_035"),
    *("mobilenetv3_small_050", "mobilevit_xxs", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "resnetv2_50"),
    *("swin_tiny_patch4_window7_224", "tf_efficientnet_lite0", "tiny_vit_5m_224", "xcit_nano_12_p16_224"),
)
"""Timm's families, each at its smallest."""
MAY_BE_CUT = {
    *("convnext_atto", "deit_tiny_distilled_patch16_224", "densenet121", "gmlp_s16_224", "mobilenetv2_035"),
    *("mobilenetv3_small_050", "regnetx_002", "resnet10t", "resnetv2_50", "swin_tiny_patch4_window7_224"),
    *("tf_efficientnet_lite0", "vit_tiny_patch16_224"),
}
TIMM = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
PACKAGED = [offer.card.name for offer, _ in sources.offers() if offer.card.provider == "packaged"]


@cache
def saved(folder: Path, name: str) -> tuple[Path, Any]:
    """A folder in the hub's layout, and the library's own whole model."""
    make_importable()
    import timm
    from timm.models._hub import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7)
    with torch.no_grad():  # values that a load which did nothing would not have
        for key, value in model.state_dict().items():
            if value.dtype == torch.float32:
                value.add_(0.01 * torch.rand_like(value) if "running_var" in key else 0.01 * torch.randn_like(value))
    (folder / name).mkdir(parents=True)
    save_for_hf(model, folder / name, model_config={"label_names": list("abcdefg")}, safe_serialization=True)
    return folder / name, model.eval()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def pixels(source: Source) -> torch.Tensor:
    spec = source.card.input
    side = spec.size if spec.fixed else min(96, spec.size)
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def some(source: Source) -> Any:
    """A batch that a source's own preprocessing made."""
    from PIL import Image

    texts = source.card.modality == "text"
    inputs = ["a short text", "one more text"] if texts else [Image.new("RGB", (40, 30), c) for c in ("red", "blue")]
    return next(map(made, pipeline_of(source).parts(inputs)))[1]


def shipped(source: Source, folder: Path) -> Path:
    """A bundle of the source with an arbitrary head."""
    card = source.card
    task = Task("classification", card.modality, ("no", "yes"), "accuracy")
    weight = np.random.default_rng(0).normal(size=(2, card.dim)).astype(np.float32)
    head = LinearHead("ridge", weight, np.array([0.5, -0.5], np.float32))
    arm = Arm("probe", card.name, "probe", 0, 0.0, "last", head, Predictions((), np.zeros((0, 2))))
    receipt = Receipt("no evidence", "Nothing was measured.", "probe", "accuracy", (), (), {}, None, "not measured")
    ledger = initialization.begin(task, source, lambda _name, function, *inputs: function(*inputs))
    ship.ship(task, source, arm, ledger, "float32", receipt, (), "data", folder, Embedder(pipeline_of, None))
    return folder


def check_card(source: Source) -> None:
    card = source.card
    backbone = source.backbone()
    optional = {"prior", "prior_name", "revision"}
    lacking = [
        f.name for f in fields(card) if f.name not in optional and getattr(card, f.name) in ("", 0, (), {}, None)
    ]
    assert not lacking
    assert card.parameters == sum(parameter.numel() for parameter in backbone.parameters())
    assert (card.dim, card.layers) == (backbone.dim, backbone.layers)
    assert card.architecture["family"] in FAMILIES
    assert len(card.weights_sha256) == 64
    assert sources.resolve(card.name).fingerprint == source.fingerprint
    json.dumps(dict(card.architecture))


def check_stages(source: Source) -> None:
    backbone = source.backbone()
    held = [id(parameter) for stage in backbone.stages for parameter in stage.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in backbone.parameters()}
    assert len({stage.name for stage in backbone.stages}) == len(backbone.stages)


@torch.inference_mode()
def check_cuts(source: Source, batch: Any) -> None:
    backbone = source.backbone()
    whole, count = backbone(batch), len(backbone.stages)
    for k in range(count + 1) if backbone.splits else (0, count):
        torch.testing.assert_close(backbone.suffix(k)(backbone.prefix(k)(batch)), whole, rtol=0, atol=0)
    if not backbone.splits and count > 1:
        for cut in (backbone.prefix, backbone.suffix):
            with pytest.raises(headstart.errors.UsageError, match="cannot be cut at stage 1"):
                cut(1)


def check_bundle(source: Source, folder: Path) -> None:
    """Through a bundle and back as a source: the same tensors, bit for bit, and the same predictions."""
    out = shipped(source, folder)
    again = sources.resolve(str(out))
    before, after = source.tensors(), again.tensors()
    assert set(before) == set(after)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert again.head().classes == ("no", "yes")
    assert headstart.load(out).verify() < 1e-5
    assert (
        bundles.read(shipped(again, folder.with_name("second"))).files["model.safetensors"]
        == bundles.read(out).files["model.safetensors"]
    )


@pytest.mark.parametrize("name", TIMM)
@torch.inference_mode()
def test_a_timm_family(name: str, hub: Path, tmp_path: Path) -> None:
    folder, library = saved(hub, name)
    source = sources.resolve(f"timm:{folder}", "image")
    backbone, batch = source.backbone(), pixels(source)
    pooled = library.forward_head(library.forward_features(batch), pre_logits=True)
    torch.testing.assert_close(backbone(batch), pooled, rtol=1e-5, atol=1e-5)
    head = source.head()
    if head is not None:
        assert head.classes == tuple("abcdefg")
        torch.testing.assert_close(backbone.source_logits(pooled), library(batch), rtol=1e-4, atol=1e-5)
    assert source.unused
    assert backbone.splits == (name in MAY_BE_CUT)
    check_card(source)
    check_stages(source)
    check_cuts(source, batch)
    check_bundle(source, tmp_path / "first")


@pytest.mark.parametrize(
    "name", [one if i == 0 else pytest.param(one, marks=pytest.mark.slow) for i, one in enumerate(PACKAGED)]
)
def test_a_packaged_source(name: str, tmp_path: Path) -> None:
    source = sources.resolve(name)
    check_card(source)
    check_stages(source)
    check_cuts(source, some(source))
    check_bundle(source, tmp_path / "first")


@pytest.mark.parametrize("name", ["scratch:wordllama", "scratch:timm:resnet10t"])
def test_random_weights(name: str, tmp_path: Path) -> None:
    source = sources.resolve(name)
    assert source.card.trained_on == "nothing"
    assert source.card.prior is source.head() is None
    first, again = source.tensors(), sources.resolve(name).tensors()
    assert all(first[key].tobytes() == again[key].tobytes() for key in first)
    check_card(source)
    check_stages(source)
    check_cuts(source, some(source))
    check_bundle(source, tmp_path / "first")


def test_what_scratch_stands_for_is_there() -> None:
    for modality in ("image", "text"):
        source = sources.resolve("scratch", modality)
        assert source.card.modality == modality
        assert sources.resolve(source.name).fingerprint == source.fingerprint


def test_there_are_enough_families() -> None:
    make_importable()
    import timm

    kinds = {timm.model_entrypoint(name).__module__ for name in (*FAST, *SLOW)}
    assert len(kinds) >= 20
