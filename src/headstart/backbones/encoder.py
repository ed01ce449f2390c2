"""BERT encoders with mean pooling over the real tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from headstart._torchvision import make_importable
from headstart.backbones.base import Backbone, Stage
from headstart.errors import BundleRefused

__all__ = ["Encoder", "build"]

LAST = 4
"""Layers that ``last4`` joins; all, where there are fewer."""
BOUNDS = {
    "vocab_size": (1, 2_000_000),
    "hidden_size": (1, 16_384),
    "num_hidden_layers": (1, 200),
    "num_attention_heads": (1, 256),
    "intermediate_size": (1, 131_072),
    "max_position_embeddings": (1, 1_000_000),
    "type_vocab_size": (1, 1_000),
    "layer_norm_eps": (0.0, 1.0),
}
"""Numbers a card or bundle may set, with their allowed range."""
ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")


class Encoder(Backbone):
    """A BERT encoder; a batch is ``{"ids": (N, L) int64, "mask": (N, L) bool or None}``.

    Without padding (``mask`` None) attention needs no mask, and an embedding depends on its own
    text only, to the last bit.
    """

    layers = ("last", "mean", "last4")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Embeddings, then each transformer layer; the state is ``(hidden, mask)``."""
        model: Any = self.model
        layers = [Stage(f"layer.{i}", layer, _through(layer)) for i, layer in enumerate(model.encoder.layer)]
        return (Stage("embeddings", model.embeddings, self._embed), *layers)

    def _embed(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        return self.model.embeddings(input_ids=batch["ids"]), batch.get("mask")  # type: ignore[operator]

    def pool(self, state: tuple[Tensor, Tensor | None]) -> Tensor:
        """Mean over the real tokens in float32, ``(N, dim)``."""
        hidden, mask = state
        if mask is None:
            return hidden.float().mean(1)
        weights = mask.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp_min(1)

    def embeddings(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``last`` layer, the ``mean`` of all transformer layers, and the ``last4`` side by side, from one pass."""
        first, *rest = self.stages
        state = first(batch)
        pooled = []
        for stage in rest:
            state = stage(state)
            pooled.append(self.pool(state))
        return {"last": pooled[-1], "mean": torch.stack(pooled).mean(0), "last4": torch.cat(pooled[-LAST:], 1)}

    def width(self, layer: str) -> int:
        """How wide the embeddings of a layer are."""
        return self.dim * min(LAST, len(self.stages) - 1) if layer == "last4" else self.dim


def _through(layer: nn.Module) -> Any:
    def apply(state: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        hidden, mask = state
        bias = None
        if mask is not None:
            bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=hidden.device)
            bias = bias.masked_fill(~mask, torch.finfo(hidden.dtype).min)[:, None, None, :]
        result = layer(hidden, attention_mask=bias)
        return (result[0] if isinstance(result, tuple) else result), mask

    return apply


def build(hidden_act: str = "gelu", **settings: Any) -> Encoder:
    """A BERT encoder of this shape, without its (unused) pooler.

    Raises:
        BundleRefused: If a setting is unknown, of the wrong type or out of bounds.
    """
    if hidden_act not in ACTIVATIONS:
        raise BundleRefused(f"hidden_act {hidden_act!r} is not one of {', '.join(ACTIVATIONS)}")
    for key, value in settings.items():
        low, high = BOUNDS.get(key, (None, None))
        if low is None or high is None:
            raise BundleRefused(f"unknown BERT setting {key!r}. Valid: hidden_act, {', '.join(BOUNDS)}")
        if isinstance(value, bool) or not isinstance(value, (int, type(low))) or not low <= value <= high:
            raise BundleRefused(f"BERT setting {key}={value!r} must be a number in {low} .. {high}")
    make_importable()
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertModel

    config = BertConfig(hidden_act=hidden_act, **settings)
    if config.hidden_size % config.num_attention_heads:
        raise BundleRefused(f"hidden_size {config.hidden_size} is not a multiple of {config.num_attention_heads} heads")
    model = BertModel(config, add_pooling_layer=False)
    return Encoder(model, int(config.hidden_size))
