"""A backbone made ready to embed, and run over the parts of a table, by torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headstart.features.rows import Embeddings
from headstart.features.spread import Part, made, spread
from headstart.types import IndexArray

if TYPE_CHECKING:
    from headstart.backbones.base import Backbone

__all__ = ["freeze", "run_backbone"]


def run_backbone(
    backbone: Backbone, parts: Iterable[Part], device: str, precision: str
) -> Iterator[tuple[IndexArray, Embeddings]]:
    """Positions and every layer's float32 embeddings, part by part, in inference mode."""
    import torch

    from headstart.batches import to_device

    @torch.inference_mode()
    def compute(positions: IndexArray, batch: Any) -> tuple[IndexArray, Embeddings]:
        layers = backbone.embeddings(to_device(batch, device, backbone.takes or getattr(torch, precision)))
        return positions, {name: value[: len(positions)].float().cpu().numpy() for name, value in layers.items()}

    def ready() -> Iterator[Part]:
        for positions, make in parts:
            if backbone.frozen_for != (device, precision):
                with torch.inference_mode():
                    freeze(backbone, make(), device, precision)
            yield positions, make

    if device == "cpu" and backbone.reentrant:
        yield from spread(lambda part: compute(*made(part)), ready())
    else:
        yield from (compute(*part) for part in spread(made, ready()))


def freeze(backbone: Backbone, batch: Any, device: str, precision: str) -> None:
    """Makes a backbone ready to embed, in place and once: it cannot be trained afterwards.

    Args:
        backbone: As it was loaded, or frozen for the same already.
        batch: An example of what it will see.
        device: Where it computes.
        precision: What it computes in.
    """
    import torch

    from headstart.features.fuse import exact, fuse, pack
    from headstart.pairs import onednn

    if backbone.frozen_for == (device, precision):
        return
    dtype = getattr(torch, precision)
    backbone.eval()
    if isinstance(batch, torch.Tensor) and backbone.frozen_for is None:
        place = next(backbone.parameters(), batch).device
        fuse(backbone.model, lambda: backbone(batch[:2].to(place, torch.float32)), dtype)
        backbone.takes = exact(backbone.model)
    backbone.to(device, dtype)
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types only some of its forms
    if dtype == torch.bfloat16 and onednn(device):
        pack(backbone.model)
    backbone.frozen_for = (device, precision)
