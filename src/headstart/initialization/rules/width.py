"""A narrower target: the same evenly spaced units of every layer along the residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.initialization.scene import Fitted, Pair, Rule, Scene, evenly

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Width"]

FUSED = {"qkv": 3, "Wqkv": 3, "in_proj_weight": 3, "in_proj_bias": 3, "query_key_value": 3, "kv": 2, "w12": 2, "Wi": 2}
"""Layers that hold several side by side, and how many."""
INWARD = frozenset(
    {"qkv", "Wqkv", "in_proj_weight", "in_proj_bias", "query_key_value", "kv", "query", "key", "value", "q", "k", "v",
     "q_proj", "k_proj", "v_proj", "query_proj", "key_proj", "value_proj", "q_bias", "k_bias", "v_bias", "q_lin",
     "k_lin", "v_lin"}
)  # fmt: skip
"""Parts of an attention whose outputs are heads."""
OUTWARD = frozenset({"proj", "out_proj", "o_proj", "dense", "Wo", "out_lin"})
"""Parts of an attention whose inputs are heads."""
HEADS = ("num_heads", "num_attention_heads", "n_heads", "num_key_value_heads")


class Width(Rule):
    """Takes units of every axis that is shorter than the source's: which ones depends on the two sizes alone.

    Whole attention heads are taken where the target has fewer, units within each where these are
    narrower. Xu et al. 2024, "Initializing Models with Larger Ones" (weight selection, uniform,
    consistent along the residual stream).
    """

    name = "width"

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Values of a weight, bias, norm or token whose axes are all at least as long as the target's."""
        import torch

        own = scene.target[pair.target]
        axes = [axis for axis in range(value.ndim) if value.ndim == own.ndim and value.shape[axis] != own.shape[axis]]
        narrower = all(0 < own.shape[axis] < value.shape[axis] and _is_width(scene, pair.target, axis) for axis in axes)
        if not axes or not narrower:
            return None
        taken, notes = value, []
        for axis in axes:
            has, wanted = value.shape[axis], own.shape[axis]
            chosen, note = _units(scene, pair, axis, has, wanted)
            if chosen is None:
                return None
            taken = taken.index_select(axis, torch.tensor(chosen))
            notes.append(f"{wanted} of {has} {note}")
        return Fitted(taken, ", ".join(dict.fromkeys(notes)))


def _is_width(scene: Scene, name: str, axis: int) -> bool:
    """Whether an axis counts units: not classes, tokens, positions, offsets or the cells of a kernel."""
    from torch.nn import Embedding

    own, owner = scene.target[name], scene.owner(name)
    if isinstance(owner, Embedding) or "pos" in name.rpartition(".")[2] or "position" in name:
        return axis == (0 if own.ndim == 3 and own.shape[0] != 1 else own.ndim - 1)
    if scene.is_head(name) and axis == 0:
        return False
    return axis < 2 if name.rpartition(".")[2] == "weight" and own.ndim > 2 else True


def _units(scene: Scene, pair: Pair, axis: int, has: int, wanted: int) -> tuple[list[int] | None, str]:
    """The source's units for one axis, and what they are called; None where heads cannot be told apart."""
    words = pair.target.split(".")
    layer = next((word for word in reversed(words) if word not in ("weight", "bias")), "")
    parts = FUSED.get(layer, 1) if axis == 0 else 1
    attention = _attention(scene.model, words)
    splits = attention is not None and (
        (axis == 0 and layer in INWARD) or (axis == 1 and layer in OUTWARD and scene.target[pair.target].ndim == 2)
    )
    if not splits:
        inner = evenly(has // parts, wanted // parts)
        return [part * (has // parts) + one for part in range(parts) for one in inner], "units"
    heads = _heads(attention, layer)
    other = _attention(scene.origin, pair.source.split(".")) if scene.origin is not None else None
    width = wanted // parts // heads
    theirs = _heads(other, layer) if other is not None else has // parts // width
    if wanted % (parts * heads) or has % (parts * theirs) or theirs < heads or has // parts // theirs < width:
        return None, ""
    deep = has // parts // theirs
    chosen = [
        (part * theirs + head) * deep + one
        for part in range(parts)
        for head in evenly(theirs, heads)
        for one in evenly(deep, width)
    ]
    return chosen, f"units, {heads} of {theirs} heads"


def _attention(model: nn.Module | None, words: list[str]) -> Any:
    """The attention that a tensor is part of: the nearest module around it that counts its heads."""
    if model is None:
        return None
    for end in range(len(words) - 1, max(0, len(words) - 4), -1):
        around = _submodule(model, words[:end])
        for one in (around, *(around.children() if around is not None and "attention" in words[end - 1] else ())):
            if one is not None and any(isinstance(getattr(one, name, None), int) for name in HEADS):
                return one
    return None


def _submodule(model: nn.Module, words: list[str]) -> nn.Module | None:
    try:
        return model.get_submodule(".".join(words))
    except AttributeError:
        return None


def _heads(attention: Any, layer: str) -> int:
    """How many heads a part of an attention has; keys and values may have fewer."""
    shared = getattr(attention, "num_key_value_heads", None)
    if isinstance(shared, int) and layer[:1] in ("k", "v"):
        return shared
    return int(next(getattr(attention, name) for name in HEADS if isinstance(getattr(attention, name, None), int)))
