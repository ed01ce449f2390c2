"""What a prediction rests on: places of an image by Grad-CAM, words of a text by leaving each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import data, runtime
from headstart.backbones.source import Source
from headstart.calibration import probabilities
from headstart.features import Embedder
from headstart.modalities import pipeline_of
from headstart.types import Arm, FloatArray, Task

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.base import Backbone

__all__ = ["picture_heat", "word_weights"]

MOST_WORDS = 60
DEPTH = 4
"""How many stages from the end on a spatial state is looked for."""


def picture_heat(source: Source, arm: Arm, inputs: Sequence[Any]) -> NDArray[np.float32] | None:
    """Grad-CAM (Selvaraju et al., ICCV 2017, eqs. 1-2) of the predicted output, ``(N, h, w)`` in [0, 1].

    The last spatial state that the output depends on at more than one place: the last feature map of a
    convolutional network, the tokens before the last attention of a transformer.

    Returns:
        None where the arm reads another layer than the last, or no such state is found.
    """
    import torch

    if arm.layer != "last":
        return None
    backbone, device = source.backbone(), runtime.device()
    backbone.to(device)
    parts = sorted(pipeline_of(source).parts(list(inputs)), key=lambda part: int(part[0][0]))
    batch = torch.cat([make()[: len(places)] for places, make in parts]).to(device)
    weight = torch.from_numpy(np.asarray(arm.head.weight)).to(device)
    bias = torch.from_numpy(np.asarray(arm.head.bias)).to(device)
    for k in range(len(backbone.stages), max(0, len(backbone.stages) - DEPTH), -1):
        heat = _cam(backbone, k, batch, weight, bias)
        if heat is not None:
            return heat
    return None


def _cam(backbone: Backbone, k: int, batch: Tensor, weight: Tensor, bias: Tensor) -> NDArray[np.float32] | None:
    """Grad-CAM at the state after ``k`` stages; None where that is not spatial."""
    import torch

    with torch.no_grad():
        state = backbone.prefix(k)(batch)
    if not isinstance(state, torch.Tensor) or state.dim() not in (3, 4):
        return None
    state = state.detach().clone().requires_grad_()
    logits = torch.nn.functional.linear(backbone.suffix(k)(state).float(), weight, bias)
    (slope,) = torch.autograd.grad(logits.max(1).values.sum(), state)
    values, slopes = (_channels_last(part.detach()) for part in (state, slope))
    if values is None or slopes is None or not bool((slopes.abs().sum((1, 2, 3)) > 0).all()):
        return None
    heat = (values * slopes.mean((1, 2), keepdim=True)).sum(3).clamp_min(0)
    heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return np.asarray(heat.float().cpu().numpy())


def _channels_last(state: Tensor) -> Tensor | None:
    """A state as ``(N, h, w, C)``: a feature map, or tokens on a square without those before them."""
    if state.dim() == 4:
        if state.shape[2] == state.shape[3]:
            return state.permute(0, 2, 3, 1)
        return state if state.shape[1] == state.shape[2] else None
    side = int(state.shape[1] ** 0.5)
    if side < 2:
        return None
    return state[:, -side * side :].reshape(len(state), side, side, -1)


def word_weights(
    task: Task, source: Source, arm: Arm, pieces: Sequence[Sequence[str]], embedder: Embedder
) -> list[tuple[float, ...]]:
    """How much each piece of a text raises the predicted output, in [-1, 1]: the loss of leaving it out.

    Args:
        task: Decides what an output is: a probability, or a value.
        source: Of the arm, tuned.
        arm: Whose predictions are traced.
        pieces: Of each text, its pieces in order; the first 60 are weighed.
        embedder: Embeds the shortened texts.

    Returns:
        For each text a weight a piece, the largest of its absolute values being 1; empty for one piece.
    """
    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    for words in pieces:
        count = min(len(words), MOST_WORDS) if len(words) > 1 else 0
        spans.append((len(texts), count))
        texts.append("".join(words))
        texts += ["".join((*words[:at], *words[at + 1 :])).strip() or " " for at in range(count)]
    table = data.table_of(texts, "text")
    embeddings = embedder.embed(source, table, np.arange(len(texts)))[arm.layer]
    outputs = probabilities(arm.head.logits(embeddings) / arm.head.temperature, task.problem)
    return [
        _weights(outputs[first : first + count + 1], len(words))
        for (first, count), words in zip(spans, pieces, strict=True)
    ]


def _weights(outputs: FloatArray, size: int) -> tuple[float, ...]:
    if len(outputs) < 2:
        return ()
    decided = int(outputs[0].argmax())
    lost = outputs[0, decided] - outputs[1:, decided]
    scaled = lost / max(float(np.abs(lost).max()), 1e-12)
    return tuple(round(float(value), 3) for value in np.pad(scaled, (0, size - len(scaled))))
