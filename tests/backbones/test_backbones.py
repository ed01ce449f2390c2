"""Every architecture family: stages, prefix and suffix, refusals."""

from __future__ import annotations

import pytest
import torch

import headstart
from headstart.backbones import FAMILIES, build
from headstart.backbones.base import Chain, TargetModel
from headstart.errors import BundleRefused

TINY_BERT = {
    "family": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
ARCHITECTURES = {
    "timm": {"family": "timm", "name": "tf_efficientnet_lite0"},
    "bert": TINY_BERT,
    "static": {"family": "static", "tokens": 50, "dim": 16},
    "module": {"family": "module", "name": "tried"},
    "text": {**TINY_BERT, "family": "text", "type": "bert", "pooling": "mean"},
    "vision": {
        "family": "vision",
        "type": "vit",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 64,
        "patch_size": 16,
    },
}
IMAGES = ("timm", "vision", "module")


def make(family):
    if family == "module":
        module = torch.nn.Flatten()
        known = headstart.Source.from_module(module, lambda images: torch.zeros(len(images), 3, 64, 64), name="tried")
        assert known.card.architecture == ARCHITECTURES[family]
    torch.manual_seed(0)
    return build(ARCHITECTURES[family]).eval()


def batch_for(family, count=3):
    torch.manual_seed(1)
    if family in IMAGES:
        return torch.randn(count, 3, 64, 64)
    return {"ids": torch.randint(0, 50, (count, 7)), "mask": None}


def test_every_family_is_tried_here():
    assert set(ARCHITECTURES) == set(FAMILIES)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_stages_hold_every_parameter_exactly_once(family):
    backbone = make(family)
    held = [id(p) for stage in backbone.stages for p in stage.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in backbone.parameters()}


@pytest.mark.parametrize("family", ARCHITECTURES)
@torch.inference_mode()
def test_suffix_of_prefix_is_the_whole(family):
    backbone, batch = make(family), batch_for(family)
    whole = backbone(batch)
    assert whole.shape == (3, backbone.dim)
    for k in range(len(backbone.stages) + 1):
        assert isinstance(backbone.prefix(k), Chain)
        torch.testing.assert_close(backbone.suffix(k)(backbone.prefix(k)(batch)), whole, rtol=0, atol=0)


@pytest.mark.parametrize("family", ARCHITECTURES)
@torch.inference_mode()
def test_layers_come_from_one_pass_and_last_is_forward(family):
    backbone, batch = make(family), batch_for(family)
    found = backbone.embeddings(batch)
    assert {name: value.shape for name, value in found.items()} == {
        name: (3, backbone.width(name)) for name in backbone.layers
    }
    assert backbone.width("last") == backbone.dim
    torch.testing.assert_close(found["last"], backbone(batch), rtol=0, atol=0)
    assert all(value.dtype == torch.float32 for value in found.values())


@pytest.mark.parametrize("family", ["bert", "static", "text"])
@torch.inference_mode()
def test_padding_changes_nothing_but_rounding(family):
    backbone, batch = make(family), batch_for(family)
    alone = backbone.embeddings(batch)
    ids = torch.cat([batch["ids"], torch.full((3, 5), 9)], 1)
    mask = torch.arange(12)[None, :].expand(3, 12) < 7
    for layer, value in backbone.embeddings({"ids": ids, "mask": mask}).items():
        torch.testing.assert_close(value, alone[layer], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_encoder_equals_the_library_s_own():
    backbone, batch = make("bert"), batch_for("bert")
    hidden = backbone.model(
        input_ids=batch["ids"], attention_mask=torch.ones_like(batch["ids"]), output_hidden_states=True
    ).hidden_states
    found = backbone.embeddings(batch)
    torch.testing.assert_close(found["last"], hidden[-1].mean(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["mean"], torch.stack(hidden[1:]).mean(0).mean(1), rtol=1e-5, atol=1e-5)
    every = torch.cat([state.mean(1) for state in hidden[1:]], 1)
    torch.testing.assert_close(found["last4"], every, rtol=1e-5, atol=1e-5)  # there are three layers only


@torch.inference_mode()
def test_last4_joins_four_layers_where_there_are_more():
    backbone = build({**TINY_BERT, "num_hidden_layers": 5}).eval()
    batch = batch_for("bert")
    found = backbone.embeddings(batch)["last4"]
    assert found.shape == (3, 64)
    state, pooled = batch, []
    for stage in backbone.stages:
        state = stage(state)
        pooled.append(backbone.pool(state))
    torch.testing.assert_close(found, torch.cat(pooled[-4:], 1), rtol=0, atol=0)


def test_reading_another_layer_takes_a_head_of_its_width():
    model = TargetModel(make("bert"), "last", 4)
    head = model.head
    model.read("last")
    assert model.head is head
    model.read("last4")
    assert model.head.weight.shape == (4, 48)
    assert model.logits(batch_for("bert")).shape == (3, 4)


@torch.inference_mode()
def test_the_convnet_equals_the_library_s_own():
    backbone, batch = make("timm"), batch_for("timm")
    torch.testing.assert_close(backbone(batch), backbone.model(batch), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_text_without_tokens_is_the_zero_vector():
    found = make("static")({"ids": torch.zeros(2, 0, dtype=torch.long), "mask": None})
    torch.testing.assert_close(found, torch.zeros(2, 16))


@torch.inference_mode()
def test_the_target_model_is_a_linear_map_of_one_layer():
    backbone, batch = make("bert"), batch_for("bert")
    model = TargetModel(backbone, "mean", 4).eval()
    expected = backbone.embeddings(batch)["mean"] @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model.logits(batch), expected)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({}, "unknown architecture family None"),
        ({"family": "os:system"}, "unknown architecture family"),
        ({"family": "timm", "name": "no_such_net"}, "is not a model that timm"),
        ({"family": "timm", "name": "hf-hub:someone/evil"}, "is not a model that timm"),
        ({"family": "timm", "name": "tf_efficientnet_lite0", "checkpoint_path": "/etc/passwd"}, "is not allowed"),
        ({"family": "timm", "name": "tf_efficientnet_lite0", "pad_type": 3}, "must be '' or 'same'"),
        ({"family": "timm", "name": "tf_efficientnet_lite0", "bn_eps": True}, "must be a number in 0 .. 1"),
        ({"family": "timm", "name": "tf_efficientnet_lite0", "img_size": 64}, "cannot build tf_efficientnet_lite0"),
        ({"family": "timm", "name": "resnet18.no_such_weights"}, "cannot build resnet18.no_such_weights"),
        ({"family": "timm", "name": "vit_tiny_patch16_224", "img_size": 10**9}, "must be a whole number in 8"),
        ({"family": "timm"}, "missing a required argument"),
        ({"family": "static", "tokens": 10}, "missing a required argument"),
        ({"family": "static", "tokens": 0, "dim": 4}, "must be a whole number"),
        ({"family": "static", "tokens": 10**12, "dim": 4}, "must be a whole number"),
        ({"family": "static", "tokens": True, "dim": 4}, "must be a whole number"),
        ({"family": "static", "tokens": 4, "dim": 4, "extra": 1}, "unexpected keyword argument"),
        ({**TINY_BERT, "hidden_act": "__import__('os')"}, "hidden_act"),
        ({**TINY_BERT, "auto_map": {}}, "unknown BERT setting"),
        ({**TINY_BERT, "num_hidden_layers": 10**9}, "must be a number"),
        ({**TINY_BERT, "hidden_size": "16"}, "must be a number"),
        ({**TINY_BERT, "num_attention_heads": 3}, "not a multiple of 3 heads"),
        ({**TINY_BERT, "a b": 1}, "unknown BERT setting"),
    ],
)
def test_what_is_not_ours_is_refused(architecture, message):
    with pytest.raises(BundleRefused, match=message):
        build(architecture)
