"""Every model type of the transformers library: equal to the library's own, whole, and refused when foreign."""

from __future__ import annotations

import importlib
import re

import pytest
import torch

from headstart.backbones import build, rules, text, vision
from headstart.errors import BundleRefused

BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
DISTANCES = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
TEXTS = {
    **dict.fromkeys(text.TYPES, BERT),
    "distilbert": {
        "vocab_size": 50,
        "dim": 16,
        "n_layers": 3,
        "n_heads": 2,
        "hidden_dim": 32,
        "max_position_embeddings": 64,
        "pad_token_id": 1,
    },
    "deberta": {**BERT, **DISTANCES},
    "deberta-v2": {
        **BERT,
        **DISTANCES,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "conv_kernel_size": 3,
    },
    "modernbert": {**BERT, "local_attention": 4, "global_attn_every_n_layers": 2, "local_rope_theta": 100.0},
}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
DINO = {name: value for name, value in VIT.items() if name != "intermediate_size"}
CONV = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2}
IMAGES = {
    "vit": VIT,
    "dinov2": DINO,
    "dinov2_with_registers": DINO,
    "convnext": CONV,
    "convnextv2": CONV,
    "clip_vision_model": VIT,
    "siglip_vision_model": VIT,
}
HARMLESS = re.compile(
    r".*(dropout|dropout_prob|_drop|initializer_\w+|drop_path_rate)|(bos|eos|cls|sep)_token_id|use_cache|tie_word_embeddings"
    r"|(classifier|decoder|pooler|sparse)_\w+|deterministic_flash_attn|legacy|encoder_stride|projection_dim"
    r"|sinusoidal_pos_embds|layerscale_value|apply_layernorm|reshape_hidden_states|stage_names|out_(features|indices)"
    r"|rope_parameters"  # given as its two numbers
)
"""Settings of the library that change no embedding, or (initial values) none once weights are loaded."""


def random(family, kind, settings, **more):
    torch.manual_seed(0)
    backbone = build({"family": family, "type": kind, **settings, **more}).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter.data, std=0.5)
    return backbone


def test_every_type_is_tried_here():
    assert set(TEXTS) == set(text.TYPES) == set(rules.TEXT)
    assert set(IMAGES) == set(vision.TYPES) == set(rules.VISION)


CASES = [("text", kind) for kind in TEXTS] + [("vision", kind) for kind in IMAGES]


@pytest.mark.parametrize(("family", "kind"), CASES)
@torch.inference_mode()
def test_stages_are_the_whole_and_any_cut_gives_the_same(family, kind):
    backbone = random(family, kind, (TEXTS | IMAGES)[kind])
    held = [id(p) for stage in backbone.stages for p in stage.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in backbone.parameters()}
    batch = torch.randn(2, 3, 32, 32) if family == "vision" else {"ids": torch.randint(3, 50, (2, 9)), "mask": None}
    whole = backbone(batch)
    assert whole.shape == (2, backbone.dim)
    for k in range(len(backbone.stages) + 1):
        torch.testing.assert_close(backbone.suffix(k)(backbone.prefix(k)(batch)), whole, rtol=0, atol=0)
    assert tuple(backbone.embeddings(batch)) == backbone.layers


@pytest.mark.parametrize("kind", TEXTS)
@torch.inference_mode()
def test_text_encoders_equal_the_library_s_own(kind):
    backbone = random("text", kind, TEXTS[kind])
    ids = torch.randint(3, 50, (3, 9))
    hidden = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(backbone({"ids": ids, "mask": None}), hidden.mean(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("pooling", rules.POOLINGS)
@torch.inference_mode()
def test_padding_changes_nothing_but_rounding(kind, pooling):
    backbone = random("text", kind, TEXTS[kind], pooling=pooling)
    ids = torch.randint(3, 50, (3, 9))
    padded = {"ids": torch.cat([ids, torch.full((3, 5), 9)], 1), "mask": torch.arange(14)[None].expand(3, 14) < 9}
    alone = backbone.embeddings({"ids": ids, "mask": None})
    for layer, value in backbone.embeddings(padded).items():
        torch.testing.assert_close(value, alone[layer], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_poolings():
    batch = {"ids": torch.randint(3, 50, (2, 5)), "mask": None}
    backbone = random("text", "bert", BERT)
    hidden = backbone.model(input_ids=batch["ids"]).last_hidden_state
    expected = {"mean": hidden.mean(1), "cls": hidden[:, 0], "last": hidden[:, -1], "max": hidden.amax(1)}
    assert set(expected) == set(rules.POOLINGS)
    for name, value in expected.items():
        torch.testing.assert_close(random("text", "bert", BERT, pooling=name)(batch), value)
        unit = random("text", "bert", BERT, pooling=name, normalise=True)(batch)
        torch.testing.assert_close(unit, value / value.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("kind", IMAGES)
@torch.inference_mode()
def test_vision_models_equal_the_library_s_own(kind, side):
    backbone = random("vision", kind, IMAGES[kind])
    pixels = torch.randn(2, 3, side, side)
    resized = (
        {"interpolate_pos_encoding": side != 32} if kind in ("vit", "clip_vision_model", "siglip_vision_model") else {}
    )
    found = backbone.model(pixels, **resized)
    expected = found.last_hidden_state[:, 0] if found.pooler_output is None else found.pooler_output
    torch.testing.assert_close(backbone(pixels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_every_setting_of_the_library_is_known_or_harmless(family, kind):
    """A new release that adds a setting fails here, so that none is ever left out in silence."""
    row = (text if family == "text" else vision).TYPES[kind]
    known = (rules.TEXT if family == "text" else rules.VISION)[kind]
    module, _, name = row.config.partition(":")
    config = getattr(importlib.import_module(module), name)
    common = {*importlib.import_module("transformers").PretrainedConfig().to_dict()}
    if kind.startswith("convnext"):
        common.add("image_size")
    for setting in set(config().to_dict()) - common - set(known):
        assert HARMLESS.fullmatch(setting), f"{kind} has the setting {setting}"


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"family": "text", "type": "gpt2"}, "unknown text encoder type 'gpt2'. Valid: bert"),
        ({"family": "text", "type": ["bert"]}, "unknown text encoder type"),
        ({"family": "text", "type": "bert", "pooling": "sum"}, "pooling is 'sum'; it must be one of mean"),
        ({"family": "text", "type": "bert", "normalise": 1}, "must be true or false"),
        ({"family": "text", "type": "bert", "auto_map": {}}, "unknown bert setting 'auto_map'"),
        ({"family": "text", "type": "bert", **BERT, "hidden_size": 10**9}, "a whole number in 1 .. 16,384"),
        ({"family": "text", "type": "bert", **BERT, "hidden_size": True}, "a whole number"),
        ({"family": "text", "type": "bert", **BERT, "layer_norm_eps": float("nan")}, "a number in 0 .. 1"),
        ({"family": "text", "type": "bert", **BERT, "num_attention_heads": 3}, "not a multiple of 3 heads"),
        ({"family": "text", "type": "bert", **BERT, "pad_token_id": 50}, "not below vocab_size 50"),
        ({"family": "text", "type": "bert", **BERT, "is_decoder": True}, "the only value this version builds"),
        ({"family": "text", "type": "bert", **BERT, "hidden_act": "os.system"}, "one of gelu"),
        (
            {"family": "text", "type": "modernbert", **BERT, "layer_types": ["full_attention"]},
            "do not fit together: ValueError: `num_hidden_layers` (3) must be equal",
        ),
        ({"family": "text", "type": "deberta", **BERT, "pos_att_type": ["x"]}, "a list of 1 to 2 values"),
        ({"family": "vision", "type": "swin"}, "unknown vision model type 'swin'. Valid: vit"),
        ({"family": "vision", "type": "vit", **VIT, "num_channels": 4}, "the only value this version builds"),
        ({"family": "vision", "type": "vit", **VIT, "num_attention_heads": 3}, "not a multiple of 3 heads"),
        ({"family": "vision", "type": "vit", **VIT, "patch_size": 64}, "larger than image_size 32"),
        ({"family": "vision", "type": "convnext", **CONV, "depths": [1]}, "must name num_stages = 2 numbers"),
        ({"family": "vision", "type": "convnext", **CONV, "depths": [1, 10**6]}, "each a whole number"),
        ({"family": "vision"}, "missing a required argument"),
    ],
)
def test_what_is_not_ours_is_refused(architecture, message):
    with pytest.raises(BundleRefused, match=re.escape(message)):
        build(architecture)
