"""``timm:NAME``: from a folder, from the hub's cache, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart import sources
from headstart._torchvision import make_importable
from headstart.errors import BundleRefused, UsageError
from headstart.store import sha256_file

NAME, COMMIT = "timm:test_resnet.r160_in1k", "0123456789abcdef0123456789abcdef01234567"
"""The smallest pretrained model that timm has: 0.5 M parameters."""


def model(name: str = "test_resnet", **options: Any) -> Any:
    make_importable()
    import timm

    torch.manual_seed(3)
    return timm.create_model(name, **options).eval()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one model: a snapshot of links to blobs."""
    from huggingface_hub import constants

    root = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    for part in ("blobs", f"snapshots/{COMMIT}", "refs"):
        (root / part).mkdir(parents=True)
    save_file(model().state_dict(), root / "weights")
    sha256 = sha256_file(root / "weights")
    (root / "weights").rename(root / "blobs" / sha256)
    (root / "snapshots" / COMMIT / "model.safetensors").symlink_to(f"../../blobs/{sha256}")
    (root / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as timm saves one."""
    from timm.models._hub import save_for_hf

    (tmp_path / "mine").mkdir()
    save_for_hf(model(), tmp_path / "mine", safe_serialization=True)
    return tmp_path / "mine"


def rewrite(folder: Path, **changes: Any) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return f"timm:{folder}"


@torch.inference_mode()
def test_a_cached_model_is_found_offline_and_its_revision_pinned(cache: Path) -> None:
    source = sources.resolve(NAME, "image")
    card = source.card
    assert (card.revision, card.name) == (COMMIT, NAME)
    assert card.weights_sha256 == next((cache / "blobs").iterdir()).name
    assert (card.trained_on, card.licence) == ("ImageNet-1k", "apache-2.0")
    assert (card.input.size, card.input.interpolation) == (160, "bilinear")
    batch, library = torch.randn(2, 3, 160, 160), model()
    backbone = source.backbone()
    torch.testing.assert_close(backbone(batch), library.forward_head(library.forward_features(batch), pre_logits=True))
    torch.testing.assert_close(backbone.source_logits(backbone(batch)), library(batch), rtol=1e-5, atol=1e-5)
    assert len(source.head().classes) == 1000


def test_a_revision_can_be_asked_for(cache: Path) -> None:
    assert sources.resolve(f"{NAME}@{COMMIT}").card.revision == COMMIT
    assert sources.resolve("timm:test_resnet").card.title == "test_resnet.r160_in1k"
    with pytest.raises(UsageError, match="no network is allowed"):
        sources.resolve(f"{NAME}@another")


def test_a_changed_blob_is_refused(cache: Path) -> None:
    blob = next((cache / "blobs").iterdir())
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(BundleRefused, match="it was not opened"):
        sources.resolve(NAME).backbone()


def test_a_link_out_of_the_cache_is_refused(cache: Path, tmp_path: Path) -> None:
    link = cache / "snapshots" / COMMIT / "model.safetensors"
    link.unlink()
    save_file(model().state_dict(), tmp_path / "elsewhere.safetensors")
    link.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(BundleRefused, match="leads out of"):
        sources.resolve(NAME)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet18.a1_in1k", "is not in the cache .* no network is allowed"),
        ("timm:resnet18.no_such_tag", "has no pretrained model 'resnet18.no_such_tag'. Near: resnet18"),
        ("timm:resnat18", "has no pretrained model 'resnat18'. Near: "),
        ("timm:../../etc/passwd", "has no pretrained model"),
        ("timm:", "has no pretrained model"),
    ],
)
def test_what_is_not_there_is_said(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sources.resolve(name)


def test_texts_are_not_for_image_models(cache: Path) -> None:
    with pytest.raises(UsageError, match="is for images, the data are texts"):
        sources.resolve(NAME, "text")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "no_such_net"}, "is not a model that timm"),
        ({"architecture": "hf-hub:someone/evil"}, "is not a model that timm"),
        ({"architecture": None}, "is not a model that timm"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "is not allowed"),
        ({"model_args": {"block": "os.system"}}, "is not allowed"),
        ({"model_args": [1]}, "no object"),
        ({"num_classes": 10**12}, "says num_classes"),
        ({"num_classes": 999}, "does not hold the weights of test_resnet"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 10**9], "mean": [0] * 3, "std": [1] * 3}}, "not known"),
        ({"pretrained_cfg": {"input_size": [3, 64, 64], "mean": "abc", "std": [1] * 3}}, "not known"),
    ],
)
def test_a_hostile_folder_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        sources.resolve(rewrite(folder, **changes)).tensors()


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BundleRefused, match=r"has no model.safetensors"):
        sources.resolve(f"timm:{folder}")


def test_other_inputs_than_square_images_are_refused(folder: Path) -> None:
    facts = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    with pytest.raises(UsageError, match="takes inputs of 3x64x32"):
        sources.resolve(rewrite(folder, pretrained_cfg={**facts, "input_size": [3, 64, 32]}))
    with pytest.raises(UsageError, match="takes 1 channels"):
        sources.resolve(rewrite(folder, model_args={"in_chans": 1}))


def test_weights_under_another_library_s_names_are_renamed_by_timm(folder: Path) -> None:
    """As OpenAI's, Meta's and others' models come; here in an older form of timm's own vision transformers."""
    library = model("test_vit")
    state = {f"module.visual.trunk.{name}": tensor for name, tensor in library.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    name = rewrite(
        folder, architecture="test_vit", num_classes=1000, model_args={}, pretrained_cfg=library.pretrained_cfg
    )
    found = sources.resolve(name).tensors()
    np.testing.assert_array_equal(found["blocks.0.attn.qkv.weight"], library.blocks[0].attn.qkv.weight.detach())


def test_half_precision_becomes_float32(folder: Path) -> None:
    state = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in model().state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    found = sources.resolve(f"timm:{folder}").tensors()
    expected = load_file(folder / "model.safetensors")
    assert found["conv1.0.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["conv1.0.weight"], expected["conv1.0.weight"].float())
