"""Text encoders of the transformers library, each with its own pooling: BERT and its kin, MPNet, DeBERTa, ModernBERT.

Only the classes in `TYPES` are ever built, from settings that are data; nothing of a source is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headstart.backbones.base import Stage
from headstart.backbones.encoder import Encoder
from headstart.backbones.library import LibraryType, configuration, library_type, module
from headstart.backbones.rules import POOLINGS, TEXT
from headstart.backbones.settings import Choice, Flag, Rule, check_settings
from headstart.errors import BundleRefused
from headstart.safety import shown

__all__ = ["TYPES", "TextEncoder", "build"]

State = tuple[Tensor, Tensor | None]
"""Hidden vectors ``(N, L, D)``, and the mask ``(N, L)`` bool of real tokens or None."""

# --- how a state passes through each kind of layer ----------------------------------------------


class TextEncoder(Encoder):
    """An encoder whose layers take hidden vectors and an additive mask, as BERT's do.

    A batch is ``{"ids": (N, L) int64, "mask": (N, L) bool or None}``.

    Args:
        model: The library's encoder without a head.
        dim: Width of the hidden vectors.
        pooling: ``mean`` over the real tokens, the first token (``cls``), the ``last`` real one, or the ``max``.
        normalise: Scale embeddings to length 1, as the source was trained to be compared.
    """

    model: Any

    def __init__(self, model: nn.Module, dim: int, pooling: str, normalise: bool) -> None:
        super().__init__(model, dim)
        self.pooling = pooling
        self.normalise = normalise

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer layers in order."""
        return self.model.encoder.layer  # type: ignore[no-any-return]

    @property
    def shared(self) -> list[nn.Module]:
        """Modules that every layer uses; they belong to the first stage."""
        return []

    @property
    def closing(self) -> list[nn.Module]:
        """Modules after the last layer, applied in order; they belong to the last stage."""
        return []

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Embeddings, then each transformer layer; the state is ``(hidden, mask)``."""
        first = Stage("embeddings", nn.ModuleList([self.model.embeddings, *self.shared]), self._embed)
        return (first, *(self._stage(number, block) for number, block in enumerate(self.blocks)))

    def _embed(self, batch: dict[str, Tensor]) -> State:
        return self.model.embeddings(input_ids=batch["ids"]), batch.get("mask")

    def _stage(self, number: int, block: nn.Module) -> Stage:
        closing = self.closing if number == len(self.blocks) - 1 else []

        def apply(state: State) -> State:
            hidden = self.through(number, *state)
            for last in closing:
                hidden = last(hidden)
            return hidden, state[1]

        return Stage(f"layer.{number}", nn.ModuleList([block, *self.beside(number), *closing]), apply)

    def beside(self, number: int) -> list[nn.Module]:  # noqa: ARG002
        """Modules that only layer ``number`` uses beside its own."""
        return []

    def through(self, number: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden vectors after layer ``number``."""
        return _tensor(self.blocks[number](hidden, attention_mask=additive(hidden, mask)))

    def pool(self, state: State) -> Tensor:
        """The pooling of the source in float32, ``(N, dim)``."""
        pooled = POOL[self.pooling](state[0].float(), state[1])
        return nn.functional.normalize(pooled, dim=1) if self.normalise else pooled


class DistilBert(TextEncoder):
    """DistilBERT: BERT with its layers in another place."""

    @property
    def blocks(self) -> nn.ModuleList:
        """See `TextEncoder`."""
        return self.model.transformer.layer  # type: ignore[no-any-return]


class MPNet(TextEncoder):
    """MPNet: a bias by distance of tokens, from one table for all layers."""

    @property
    def shared(self) -> list[nn.Module]:
        """See `TextEncoder`."""
        return [self.model.encoder.relative_attention_bias]

    def through(self, number: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """See `TextEncoder`."""
        encoder = self.model.encoder
        distances = encoder.compute_position_bias(hidden)
        return _tensor(self.blocks[number](hidden, additive(hidden, mask), distances))


class Deberta(TextEncoder):
    """DeBERTa, all versions: content and position attend to each other through one table of distances."""

    @property
    def shared(self) -> list[nn.Module]:
        """See `TextEncoder`."""
        encoder = self.model.encoder
        return [getattr(encoder, name) for name in ("rel_embeddings", "LayerNorm") if hasattr(encoder, name)]

    def _embed(self, batch: dict[str, Tensor]) -> State:
        mask = batch.get("mask")
        return self.model.embeddings(input_ids=batch["ids"], mask=mask), mask

    def beside(self, number: int) -> list[nn.Module]:
        """See `TextEncoder`."""
        convolution = getattr(self.model.encoder, "conv", None)
        return [convolution] if number == 0 and convolution is not None else []

    def through(self, number: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """See `TextEncoder`."""
        encoder = self.model.encoder
        real = torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device) if mask is None else mask.long()
        after = _tensor(
            self.blocks[number](
                hidden,
                encoder.get_attention_mask(real),
                relative_pos=encoder.get_rel_pos(hidden),
                rel_embeddings=encoder.get_rel_embedding(),
            )
        )
        for convolution in self.beside(number):
            after = convolution(hidden, after, real)
        return after


class ModernBert(TextEncoder):
    """ModernBERT: rotary positions, most layers see a window only, one normalisation at the end."""

    @property
    def blocks(self) -> nn.ModuleList:
        """See `TextEncoder`."""
        return self.model.layers  # type: ignore[no-any-return]

    @property
    def closing(self) -> list[nn.Module]:
        """See `TextEncoder`."""
        return [self.model.final_norm]

    def through(self, number: int, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """See `TextEncoder`."""
        from transformers import masking_utils

        model = self.model
        kind = self.blocks[number].attention_type
        sliding = kind == "sliding_attention"
        make = (
            masking_utils.create_bidirectional_sliding_window_mask
            if sliding
            else masking_utils.create_bidirectional_mask
        )
        places = torch.arange(hidden.shape[1], device=hidden.device)[None]
        return _tensor(
            self.blocks[number](
                hidden,
                attention_mask=make(config=model.config, inputs_embeds=hidden, attention_mask=mask),
                position_embeddings=model.rotary_emb(hidden, places, kind),
            )
        )


def _tensor(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result  # type: ignore[no-any-return]


def additive(hidden: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask as ``(N, 1, 1, L)`` to add to attention scores: 0 for real tokens, the least number for the others."""
    if mask is None:
        return None
    bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=hidden.device)
    return bias.masked_fill(~mask, torch.finfo(hidden.dtype).min)[:, None, None, :]


# --- pooling: (hidden (N, L, D), mask) -> (N, D) ------------------------------------------------


def _mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return hidden.mean(1)
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def _cls(hidden: Tensor, mask: Tensor | None) -> Tensor:  # noqa: ARG001
    return hidden[:, 0]


def _last(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return hidden[:, -1]
    places = torch.arange(mask.shape[1], device=mask.device)
    return hidden[torch.arange(len(hidden), device=hidden.device), (places * mask).argmax(1)]


def _max(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        hidden = hidden.masked_fill(~mask.unsqueeze(-1), float("-inf"))
    return hidden.amax(1)


POOL: Mapping[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "mean": _mean,
    "cls": _cls,
    "last": _last,
    "max": _max,
}

# --- the types ----------------------------------------------------------------------------------


TYPES: Mapping[str, LibraryType[TextEncoder]] = {
    "bert": library_type("bert", "Bert", TextEncoder, add_pooling_layer=False),
    "roberta": library_type("roberta", "Roberta", TextEncoder, add_pooling_layer=False),
    "xlm-roberta": library_type("xlm_roberta", "XLMRoberta", TextEncoder, add_pooling_layer=False),
    "camembert": library_type("camembert", "Camembert", TextEncoder, add_pooling_layer=False),
    "distilbert": library_type("distilbert", "DistilBert", DistilBert),
    "mpnet": library_type("mpnet", "MPNet", MPNet, add_pooling_layer=False),
    "deberta": library_type("deberta", "Deberta", Deberta),
    "deberta-v2": library_type("deberta_v2", "DebertaV2", Deberta),
    "modernbert": library_type("modernbert", "ModernBert", ModernBert),
}
"""``model_type`` of a configuration -> what is built."""
NO_TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))
"""Numbers that only generating and tokenizing need."""


def build(type: str, pooling: str = "mean", normalise: bool = False, **settings: Any) -> TextEncoder:  # noqa: A002
    """The text encoder of a model type, with untrained weights.

    Args:
        type: A key of `TYPES`.
        pooling: One of `POOLINGS`.
        normalise: Scale embeddings to length 1.
        settings: What the type's `headstart.backbones.rules` accept.

    Raises:
        BundleRefused: If the type, a setting or its value is not one of ours, or they do not fit together.
    """
    kind = TYPES.get(type) if isinstance(type, str) else None
    if kind is None:
        raise BundleRefused(f"unknown text encoder type {shown(type)}. Valid: {', '.join(TYPES)}")
    own: Mapping[str, Rule] = {"pooling": Choice(POOLINGS), "normalise": Flag()}
    check_settings({"pooling": pooling, "normalise": normalise}, own, "pooling")
    check_settings(settings, TEXT[type], type)
    config = configuration(kind.config, _spelled(settings), type)
    width, heads = int(config.hidden_size), config.num_attention_heads
    if width % heads:
        raise BundleRefused(f"hidden_size {width} is not a multiple of {heads} heads")
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        raise BundleRefused(f"pad_token_id {config.pad_token_id} is not below vocab_size {config.vocab_size}")
    return kind.backbone(module(kind.model, config, kind.options, type), width, pooling, normalise)


def _spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the library wants them: without those it no longer knows."""
    gone = ("position_embedding_type", "talking_head")
    return {**NO_TOKENS, **{key: value for key, value in settings.items() if key not in gone}}
