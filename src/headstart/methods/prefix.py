"""Cached-prefix tuning: the first stages run once, and only the last ones and the head train, from what was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart import heads, runtime
from headstart.backbones.base import TargetModel
from headstart.batches import to_device
from headstart.recipe import Feed, Group, Recipe
from headstart.store import room
from headstart.tuning import Context, Tuned, begin_with, layered

if TYPE_CHECKING:
    from headstart.backbones.base import Chain
    from headstart.types import IndexArray

__all__ = ["Prefix", "Settings", "States"]

ROWS = 64
"""Examples that pass through the prefix at a time."""


@dataclass(frozen=True)
class Settings(Recipe):
    """How cached-prefix tuning trains."""

    stages: int = 3
    """Last stages that train; all before them are frozen and run once."""
    views: int = 4
    """States that are kept of each training example: itself, and varied as its modality allows."""
    layer_decay: float = 0.9
    """Multiple of the rate from each stage to the one before it."""


class Prefix(Tuned):
    """LP-FT of the last stages, on the cached states that the frozen ones before them gave.

    A step costs what the last stages cost; the price is that augmentation is a few views an
    example, drawn once.
    """

    name = "prefix"
    settings: Settings = Settings()
    texts = Settings(rate=1e-4, epochs=5, least_steps=60, views=1)
    mixes = True

    def obstacle(self, context: Context) -> str | None:
        """A network that cannot be cut."""
        backbone = context.source.backbone()
        if len(backbone.stages) < 2:
            return "it has one stage only"
        return None if backbone.splits else "the order of its parts is not known"

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """A model that begins after the prefix, with the head of a probe on the last layer."""
        task, split, targets = context.task, context.split, context.examples.targets[context.split.train]
        embeddings = context.embedder.embed(context.source, context.examples, split.train)["last"]
        head = heads.best(embeddings, targets, split.folds, task.problem, task.outputs).head
        cut = max(1, len(model.backbone.stages) - self.settings.stages)
        begin_with(model, head, context)
        return Suffixed(model, cut)

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """The last stages, the rate falling towards the cut, and the head."""
        cut = max(1, len(model.backbone.stages) - self.settings.stages)
        chosen = {id(parameter) for stage in model.backbone.stages[cut:] for parameter in stage.module.parameters()}
        training = {name for name, parameter in model.backbone.model.named_parameters() if id(parameter) in chosen}
        return layered(model, self.settings.layer_decay, skip=lambda name: name not in training)

    def feed(self, model: TargetModel, context: Context, rows: IndexArray) -> Feed:
        """What the prefix gives for these rows; several views of those that are trained on."""
        assert isinstance(model, Suffixed)  # noqa: S101 - `prepare` made it
        views = self.settings.views if rows is context.split.train and context.augment else 1
        inner = super().feed(model, context, rows)
        return States(inner, model.backbone.prefix(model.cut), views, context.seed)

    def finish(self, model: TargetModel) -> TargetModel:
        """The whole model again."""
        whole = TargetModel(model.backbone, "last", model.head.out_features)
        whole.head = model.head
        return whole


class Suffixed(TargetModel):
    """A target model that is fed states after its first stages.

    Args:
        model: Its backbone and head are taken over.
        cut: Number of stages before the state.
    """

    def __init__(self, model: TargetModel, cut: int) -> None:
        super().__init__(model.backbone, "last", model.head.out_features)
        self.head = model.head
        self.cut = cut

    def forward(self, batch: Any) -> Tensor:
        """Uncalibrated logits ``(N, outputs)`` of states."""
        return self.classify(self.backbone.suffix(self.cut)(batch))


class States:
    """States of N examples after a frozen prefix, as bfloat16 in a temporary file.

    A state is a tensor ``(N, C, H, W)``, or ``(hidden (N, L, D), mask (N, L) or None)`` of texts.

    Args:
        feed: The examples.
        prefix: The frozen stages, in the mode for prediction.
        views: How many are kept of each: the first as it is, the others augmented.
        seed: Decides the augmentation.
    """

    def __init__(self, feed: Feed, prefix: Chain, views: int, seed: int) -> None:
        self.sizes = feed.sizes
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self._kept: NDArray[np.int16] | None = None
        self._image = False
        order = np.argsort(self.sizes, kind="stable")
        for view in range(views):
            for first in range(0, len(order), ROWS):
                positions = order[first : first + ROWS]
                rng = np.random.default_rng((seed, view, first)) if view else None
                self._keep(view, views, positions, _states(prefix, feed.batch(positions, rng)))

    def _keep(self, view: int, views: int, positions: IndexArray, states: NDArray[np.int16]) -> None:
        """Puts states ``(N, L, ...)`` of like examples where `batch` finds them."""
        if self._kept is None:
            shape = (views, int(self._starts[-1]), *states.shape[2:])
            self._kept = room(shape, np.int16)
            self._image = len(shape) > 3
        for state, position in zip(states, positions, strict=True):
            size = int(self.sizes[position])
            self._kept[view, self._starts[position] : self._starts[position] + size] = state[:size]

    def batch(self, positions: IndexArray, rng: np.random.Generator | None) -> Any:
        """States of these examples; with a generator, of a random view of each."""
        kept = self._kept
        assert kept is not None  # noqa: S101 - there is at least one example
        views = rng.integers(0, len(kept), len(positions)) if rng is not None else np.zeros(len(positions), np.int64)
        lengths = self.sizes[positions]
        longest = int(lengths.max())
        states = np.zeros((len(positions), longest, *kept.shape[2:]), np.int16)
        for number, (position, view) in enumerate(zip(positions, views, strict=True)):
            begin = self._starts[position]
            states[number, : lengths[number]] = kept[view, begin : begin + lengths[number]]
        hidden = torch.from_numpy(states).view(torch.bfloat16)
        if not runtime.fast_bfloat16():
            hidden = hidden.float()
        if self._image:
            return hidden[:, 0].permute(0, 3, 1, 2)
        whole = bool((lengths == longest).all())
        return _TextState(hidden, None if whole else torch.from_numpy(np.arange(longest) < lengths[:, None]))


class _TextState(tuple[Tensor, "Tensor | None"]):
    """``(hidden, mask)`` that moves to a device like a tensor."""

    def __new__(cls, hidden: Tensor, mask: Tensor | None) -> _TextState:
        return super().__new__(cls, (hidden, mask))

    def to(self, device: str) -> _TextState:
        """The same elsewhere."""
        hidden, mask = self
        return _TextState(hidden.to(device), None if mask is None else mask.to(device))


@torch.no_grad()
def _states(prefix: Chain, inputs: Any) -> NDArray[np.int16]:
    """What the prefix gives, bfloat16 as whole numbers: ``(N, 1, H, W, C)`` of images, ``(N, L, D)`` of texts."""
    device = runtime.device()
    with torch.autocast(device, torch.bfloat16, enabled=runtime.fast_bfloat16()):
        state = prefix(to_device(inputs, device))
    hidden = state[0] if isinstance(state, tuple) else state.permute(0, 2, 3, 1)[:, None]
    return hidden.to(torch.bfloat16).contiguous().cpu().view(torch.int16).numpy()  # type: ignore[no-any-return]
