"""Which settings each model type of the transformers library has here, as data that loads no library."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.backbones.settings import Choice, Constant, Each, Flag, Real, Rule, Whole

__all__ = ["POOLINGS", "TEXT", "VISION"]

POOLINGS = ("mean", "cls", "last", "max")
"""How a text encoder makes one vector of a text's tokens."""
ACTIVATIONS = Choice(
    ("gelu", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh")
)

# --- texts --------------------------------------------------------------------------------------

SIZES: Mapping[str, Rule] = {
    "vocab_size": Whole(1, 2_000_000),
    "hidden_size": Whole(1, 16_384),
    "num_hidden_layers": Whole(1, 200),
    "num_attention_heads": Whole(1, 256),
    "intermediate_size": Whole(1, 131_072),
    "max_position_embeddings": Whole(1, 1_000_000),
    "pad_token_id": Whole(0, 2_000_000),
}
COMMON: Mapping[str, Rule] = {**SIZES, "hidden_act": ACTIVATIONS, "layer_norm_eps": Real(0, 1)}
BERT: Mapping[str, Rule] = {
    **COMMON,
    "type_vocab_size": Whole(1, 1_000),
    "is_decoder": Constant(False),
    "add_cross_attention": Constant(False),
    "position_embedding_type": Constant("absolute"),
}
DISTANCES: Mapping[str, Rule] = {
    **COMMON,
    "type_vocab_size": Whole(0, 1_000),
    "relative_attention": Flag(),
    "max_relative_positions": Whole(-1, 1_000_000),
    "pos_att_type": Each(Choice(("p2c", "c2p")), 2),
    "position_biased_input": Flag(),
}
ROPE = Real(1, 1e9)
"""Base of rotary positions."""

TEXT: Mapping[str, Mapping[str, Rule]] = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "distilbert": {
        "vocab_size": SIZES["vocab_size"],
        "dim": SIZES["hidden_size"],
        "n_layers": SIZES["num_hidden_layers"],
        "n_heads": SIZES["num_attention_heads"],
        "hidden_dim": SIZES["intermediate_size"],
        "max_position_embeddings": SIZES["max_position_embeddings"],
        "pad_token_id": SIZES["pad_token_id"],
        "activation": ACTIVATIONS,
    },
    "mpnet": {**COMMON, "relative_attention_num_buckets": Constant(32)},
    "deberta": {**DISTANCES, "talking_head": Constant(False)},
    "deberta-v2": {
        **DISTANCES,
        "position_buckets": Whole(-1, 100_000),
        "norm_rel_ebd": Choice(("none", "layer_norm")),
        "share_att_key": Flag(),
        "conv_kernel_size": Whole(0, 99),
        "conv_groups": Whole(1, 16_384),
        "conv_act": ACTIVATIONS,
    },
    "modernbert": {
        **SIZES,
        "hidden_activation": ACTIVATIONS,
        "norm_eps": Real(0, 1),
        "norm_bias": Flag(),
        "attention_bias": Flag(),
        "mlp_bias": Flag(),
        "local_attention": Whole(2, 1_000_000),
        "global_attn_every_n_layers": Whole(1, 200),
        "layer_types": Each(Choice(("full_attention", "sliding_attention")), 200),
        "global_rope_theta": ROPE,
        "local_rope_theta": ROPE,
    },
}
"""``model_type`` of a configuration -> its settings; other types are refused."""

# --- images -------------------------------------------------------------------------------------

TRANSFORMER: Mapping[str, Rule] = {
    "hidden_size": Whole(1, 16_384),
    "num_hidden_layers": Whole(1, 200),
    "num_attention_heads": Whole(1, 256),
    "image_size": Whole(8, 4096),
    "patch_size": Whole(1, 256),
    "num_channels": Constant(3),
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": Real(0, 1),
}
WIDE: Mapping[str, Rule] = {**TRANSFORMER, "intermediate_size": Whole(1, 131_072)}
DINO: Mapping[str, Rule] = {
    **TRANSFORMER,
    "mlp_ratio": Whole(1, 64),
    "qkv_bias": Flag(),
    "use_swiglu_ffn": Constant(False),
}
CONV: Mapping[str, Rule] = {
    "num_channels": Constant(3),
    "patch_size": Whole(1, 256),
    "num_stages": Whole(1, 16),
    "hidden_sizes": Each(Whole(1, 16_384), 16),
    "depths": Each(Whole(1, 200), 16),
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": Real(0, 1),
}

VISION: Mapping[str, Mapping[str, Rule]] = {
    "vit": {**WIDE, "qkv_bias": Flag()},
    "dinov2": {**DINO, "use_mask_token": Flag()},
    "dinov2_with_registers": {**DINO, "num_register_tokens": Whole(0, 64)},
    "convnext": {**CONV, "layer_scale_init_value": Real(0, 1)},
    "convnextv2": CONV,
    "clip_vision_model": WIDE,
    "siglip_vision_model": {**WIDE, "vision_use_head": Constant(True)},
}
"""``model_type`` of a configuration -> its settings; other types are refused."""
