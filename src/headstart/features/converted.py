"""Frozen sources computed by OpenVINO in bfloat16, on CPUs: the extra ``fast``.

Converted in memory from the frozen module, so with the weights that torch computes with there. What the engine
keeps in float32 at the front of a convolutional source can stay torch's work: OpenVINO rounds it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import runtime
from headstart.backbones import Source
from headstart.backbones.base import Backbone
from headstart.features.frozen import freeze
from headstart.features.fuse import FrozenConv, fuse, portable
from headstart.features.rows import Embeddings
from headstart.features.spread import Part, made, spread
from headstart.types import IndexArray

__all__ = ["Converted"]

Rows = NDArray[np.float32]

ROWS = 8
"""Images a call: a fixed number, so that a row never depends on how many share its batch."""


class Converted:
    """A source as OpenVINO computes it, converted when its first batch comes.

    Args:
        source: What embeds.
        whole: Give OpenVINO all of it, the front too that the engine keeps in float32: faster, less alike.
    """

    def __init__(self, source: Source, whole: bool) -> None:
        self._source, self._whole = source, whole
        self._image = source.card.modality == "image"
        self._names = source.card.layers
        self._front: Backbone | None = None
        self._cut = 0
        self._compiled: Any = None
        self._of_thread = threading.local()

    def run(self, parts: Iterable[Part]) -> Iterator[tuple[IndexArray, Embeddings]]:
        """Positions and every layer's float32 embeddings, part by part.

        Raises:
            Exception: In many ways, if OpenVINO cannot convert the source.
        """
        return spread(self._rows, self._ready(parts))

    def _ready(self, parts: Iterable[Part]) -> Iterator[Part]:
        for positions, make in parts:
            if self._compiled is None:
                self._compiled = self._convert(make())
            yield positions, make

    def _convert(self, batch: Any) -> Any:
        """The compiled model; ``batch`` is an example of what it will see."""
        import openvino

        backbone = self._source.backbone()
        if self._image:
            fuse(backbone.model, lambda: backbone(batch[:2]), torch.bfloat16)
            self._cut = 0 if self._whole else _front_stages(backbone)
            if self._cut:
                self._front = self._source.backbone()
        example = self._state(batch[:2]) if self._image else batch["ids"][:2]
        portable(backbone.model)
        model = _model(_Inputs(backbone, self._cut, self._image), example)
        model.reshape(openvino.PartialShape([ROWS, *example.shape[1:]] if self._image else [-1, -1]))
        threads = runtime.thread_count()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "ENABLE_CPU_PINNING": False,  # decoding shares the cores
        }
        return openvino.Core().compile_model(model, "CPU", settings)

    def _state(self, images: Tensor) -> Tensor:
        """What OpenVINO takes: images, or what the stages that stay torch's make of them."""
        if self._front is None:
            return images
        with torch.inference_mode():
            freeze(self._front, images, "cpu", "bfloat16")
            return self._front.prefix(self._cut)(images).float()  # type: ignore[no-any-return]

    def _rows(self, part: Part) -> tuple[IndexArray, Embeddings]:
        positions, batch = made(part)
        given = [self._state(_filled(one)) for one in batch.split(ROWS)] if self._image else [batch["ids"]]
        found = [self._asked(one) for one in given]
        names = enumerate(self._names)
        return positions, {name: np.concatenate([one[i] for one in found])[: len(positions)] for i, name in names}

    def _asked(self, given: Tensor) -> list[Rows]:
        """What OpenVINO gives, by the request of this thread, which holds it only until the next."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        found = self._of_thread.request.infer([given.contiguous().numpy()])
        return [np.array(found[i]) for i in range(len(self._names))]


def _filled(images: Tensor) -> Tensor:
    """The batch with copies of its first image up to `ROWS`."""
    room = ROWS - len(images)
    return torch.cat([images, images[:1].expand(room, -1, -1, -1)]) if room > 0 else images


def _front_stages(backbone: Backbone) -> int:
    """How many stages hold what stays float32; 0 where the backbone cannot be cut after them."""
    kept = [
        number
        for number, stage in enumerate(backbone.stages, 1)
        if any(isinstance(one, FrozenConv) and one.weight.dtype == torch.float32 for one in stage.modules())
    ]
    return max(kept, default=0) if backbone.splits and backbone.layers == ("last",) else 0


class _Inputs(nn.Module):
    """A backbone after its first stages, its input one tensor and its output a tuple of the layers."""

    def __init__(self, backbone: Backbone, cut: int, image: bool) -> None:
        super().__init__()
        self._backbone, self._cut, self._image = backbone, cut, image

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        if self._cut:
            return (self._backbone.suffix(self._cut)(given),)
        found = self._backbone.embeddings(given if self._image else {"ids": given, "mask": None})
        return tuple(found[name] for name in self._backbone.layers)


def _model(module: nn.Module, example: Tensor) -> Any:
    """OpenVINO's model of a module, by its frontend itself: ``convert_model`` would report its use over the network."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing: parity is checked afterwards
        module.eval()(example)  # once before: fused layers lay out their weights in their first call
        decoder = TorchScriptPythonDecoder(module, example_input=(example,))
        frontend = FrontEndManager().load_by_framework("pytorch")
        return frontend.convert(frontend.load(decoder))
