"""The rules against timm's and transformers' own functions, which they are to equal."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.initialization import RULES
from headstart.initialization.engine import initialize

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:timm.layers.interpolate")


def only(rule, target, source):
    """What one rule makes of the one tensor of two small modules."""
    return initialize(target, source, ["name", rule], least=0)


class Holder(nn.Module):
    """A module with one parameter under a name, and attributes beside it."""

    def __init__(self, name, value, **attributes):
        super().__init__()
        setattr(self, name, nn.Parameter(value))
        for key, one in attributes.items():
            setattr(self, key, one)


@pytest.mark.parametrize("wanted", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_channels_are_timms(wanted, kind):
    from timm.models._manipulate import adapt_input_conv

    source, target = nn.Conv2d(3, 6, 5, bias=False).to(kind), nn.Conv2d(wanted, 6, 5, bias=False).to(kind)
    wanted_weight = adapt_input_conv(wanted, source.weight.detach())
    assert {row.rule for row in only("channels", target, source)} == {"name + channels"}
    torch.testing.assert_close(target.weight.detach(), wanted_weight, rtol=0, atol=0)


@pytest.mark.parametrize(("old", "new"), [((16, 16), (8, 8)), ((8, 8), (14, 14)), ((4, 6), (6, 3))])
def test_patches_are_timms(old, new):
    from timm.layers import resample_patch_embed

    source = nn.Conv2d(3, 5, old, old, bias=False)
    target = nn.Conv2d(3, 5, new, new, bias=False)
    wanted = resample_patch_embed(source.weight.detach(), list(new))
    assert {row.rule for row in only("patches", target, source)} == {"name + patches"}
    torch.testing.assert_close(target.weight.detach(), wanted, rtol=1e-4, atol=1e-5)


def test_a_larger_patch_embedding_answers_to_a_resized_patch_as_the_old_one_did():
    source, target = nn.Conv2d(3, 5, 8, 8), nn.Conv2d(3, 5, 16, 16)
    initialize(target, source)
    patch = torch.randn(4, 3, 8, 8)
    larger = nn.functional.interpolate(patch, size=(16, 16), mode="bicubic", antialias=True)
    torch.testing.assert_close(target(larger), source(patch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefixes", [0, 1, 2, 5])
@pytest.mark.parametrize(("old", "new"), [(4, 7), (7, 3), (14, 16)])
def test_positions_are_timms(prefixes, old, new):
    from timm.layers import resample_abs_pos_embed

    source, target = (
        Holder("pos_embed", torch.randn(1, prefixes + side**2, 8), proj=nn.Conv2d(3, 8, 2, 2)) for side in (old, new)
    )
    wanted = resample_abs_pos_embed(source.pos_embed.detach(), [new, new], num_prefix_tokens=prefixes)
    only("positions", target, source)
    torch.testing.assert_close(target.pos_embed.detach(), wanted, rtol=0, atol=1e-6)


def test_positions_in_a_plane_are_timms():
    from timm.layers import resample_abs_pos_embed_nhwc

    source, target = (Holder("pos_embed", torch.randn(1, *size, 8)) for size in ((4, 6), (7, 3)))
    wanted = resample_abs_pos_embed_nhwc(source.pos_embed.detach(), [7, 3])
    only("positions", target, source)
    torch.testing.assert_close(target.pos_embed.detach(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [48, 16])
def test_positions_without_antialiasing_are_transformers(size):
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTModel

    facts = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    source, target = (
        ViTModel(ViTConfig(image_size=side, patch_size=8, **facts), add_pooling_layer=False) for side in (32, size)
    )
    with torch.no_grad():
        source.embeddings.position_embeddings.copy_(torch.randn(1, 17, 16))
    rule = RULES["positions"](antialias=False)
    rows = {row.rule for row in initialize(target, source, ["name", rule])}
    assert rows == {"name", "name + positions"}
    cells = (size // 8) ** 2
    wanted = source.embeddings.interpolate_pos_encoding(torch.zeros(1, cells + 1, 16), size, size)
    torch.testing.assert_close(target.embeddings.position_embeddings.detach(), wanted.detach(), rtol=0, atol=1e-6)
    images = torch.randn(2, 3, size, size)
    expected = source(images, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(target(images).last_hidden_state, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (8, 16)])
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("spacing", ["geometric", "bicubic"])
def test_flat_relative_tables_are_timms(old, new, extra, spacing):
    from timm.layers import resize_rel_pos_bias_table, resize_rel_pos_bias_table_simple

    resize = {"geometric": resize_rel_pos_bias_table, "bicubic": resize_rel_pos_bias_table_simple}[spacing]
    source, target = (
        Holder("relative_position_bias_table", torch.randn((2 * side - 1) ** 2 + extra, 4), window_size=(side, side))
        for side in (old, new)
    )
    table = source.relative_position_bias_table.detach()
    wanted = resize(table, (new, new), tuple(target.relative_position_bias_table.shape))
    only(RULES["relative"](spacing=spacing), target, source)
    torch.testing.assert_close(target.relative_position_bias_table.detach(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spacing", ["geometric", "bicubic"])
def test_plane_relative_tables_are_timms(spacing):
    from timm.layers import resize_rel_pos_bias_table, resize_rel_pos_bias_table_simple

    resize = {"geometric": resize_rel_pos_bias_table, "bicubic": resize_rel_pos_bias_table_simple}[spacing]
    source, target = (Holder("relative_position_bias_table", torch.randn(4, side, side)) for side in (13, 23))
    wanted = resize(source.relative_position_bias_table.detach(), (12, 12), (4, 23, 23))
    only(RULES["relative"](spacing=spacing), target, source)
    torch.testing.assert_close(target.relative_position_bias_table.detach(), wanted, rtol=1e-4, atol=1e-4)


def test_tables_of_distances_are_timms():
    from timm.layers import resize_rel_pos_bias_table_levit

    source, target = (Holder("attention_biases", torch.randn(4, side**2)) for side in (7, 12))
    wanted = resize_rel_pos_bias_table_levit(source.attention_biases.detach().T, (144, 4)).T
    only("relative", target, source)
    torch.testing.assert_close(target.attention_biases.detach(), wanted, rtol=0, atol=1e-5)


def families():
    from timm.models import beit, swin_transformer, vision_transformer

    small = {"num_classes": 0, "embed_dim": 16}
    blocks = {"depth": 2, "num_heads": 2}
    return {
        "vit": (
            vision_transformer,
            lambda size, patch: vision_transformer.VisionTransformer(size, patch, **small, **blocks),
            ((64, 16), (96, 8)),
        ),
        "swin": (
            swin_transformer,
            lambda size, window: swin_transformer.SwinTransformer(
                size, window_size=window, depths=(1, 2), num_heads=(2, 2), **small
            ),
            ((56, 7), (96, 12)),
        ),
        "beit": (
            beit,
            lambda size, patch: beit.Beit(size, patch, use_abs_pos_emb=False, use_rel_pos_bias=True, **small, **blocks),
            ((64, 16), (96, 16)),
        ),
    }


@pytest.mark.parametrize("family", ["vit", "swin", "beit"])
def test_a_whole_model_of_another_image_size_is_what_timm_loads(family):
    library, make, (old, new) = families()[family]
    torch.manual_seed(0)
    source, target = make(*old), make(*new)
    with torch.no_grad():
        for value in source.state_dict().values():
            value.copy_(torch.randn_like(value))
    wanted = library.checkpoint_filter_fn(dict(source.state_dict()), target)
    ledger = initialize(target, source)
    assert ledger.share("fresh") == 0
    assert ledger.share("reshaped") > 0
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-4)


def test_the_same_network_of_another_library_is_matched_by_order_and_proved():
    """ConvNeXt of transformers and of timm: no name in common, equal outputs."""
    from timm.models.convnext import ConvNeXt
    from transformers.models.convnext.configuration_convnext import ConvNextConfig
    from transformers.models.convnext.modeling_convnext import ConvNextModel

    depths, sizes = [1, 1, 2, 1], [8, 16, 24, 32]
    torch.manual_seed(0)
    source = ConvNextModel(ConvNextConfig(depths=depths, hidden_sizes=sizes, layer_norm_eps=1e-6))
    with torch.no_grad():
        for value in source.state_dict().values():
            value.add_(torch.randn_like(value) / 10)
    target = ConvNeXt(depths=depths, dims=sizes, num_classes=5)
    images = torch.randn(2, 3, 64, 64)

    ledger = initialize(target, source, prove=lambda model: _pooled(model, images))
    assert ledger.proof.startswith("outputs equal")
    assert {row.tensor for row in ledger.target if row.status == "fresh"} == {"head.fc.weight", "head.fc.bias"}
    assert not ledger.unused


def _pooled(model, images):
    """Pooled and normalised features of either library's ConvNeXt."""
    if hasattr(model, "forward_head"):
        return model.forward_head(model.forward_features(images), pre_logits=True)
    return model(images).pooler_output
