"""The preprocessing of a user's own module: a function from images or texts to a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from headstart.data.images import open_image
from headstart.types import IndexArray

__all__ = ["OwnPipeline"]

BATCH = 32


class OwnPipeline:
    """Batches that a function of the user's makes.

    Args:
        name: Of the source. What was computed is remembered under it, so another function needs another name.
        modality: ``image``: the function gets PIL images, 8-bit RGB; ``text``: strings.
        preprocess: Gets N of them, and returns what the module takes.
    """

    def __init__(self, name: str, modality: str, preprocess: Callable[[Sequence[Any]], Any]) -> None:
        self.fingerprint = f"own {modality} {name}"
        self._image = modality == "image"
        self._preprocess = preprocess
        self._one_at_a_time = Lock()

    def batch(self, inputs: Sequence[Any]) -> Any:
        """The function's batch of these inputs.

        Raises:
            DataError: If an image cannot be read.
        """
        opened = [open_image(one) for one in inputs] if self._image else list(inputs)
        with self._one_at_a_time:
            return self._preprocess(opened)

    def parts(self, inputs: Sequence[Any]) -> Iterator[tuple[IndexArray, Callable[[], Any]]]:
        """Positions in ``inputs``, and what makes their batch."""
        for start in range(0, len(inputs), BATCH):
            positions = np.arange(start, min(start + BATCH, len(inputs)))
            yield positions, partial(self.batch, inputs[start : start + BATCH])

    def feed(self, inputs: Sequence[Any]) -> OwnFeed:
        """The inputs for training, preprocessed when their turn comes and never varied."""
        return OwnFeed(inputs, self)


class OwnFeed:
    """Inputs to train on.

    Args:
        inputs: N images or texts.
        pipeline: Makes batches of them.
    """

    def __init__(self, inputs: Sequence[Any], pipeline: OwnPipeline) -> None:
        self._inputs = inputs
        self._pipeline = pipeline
        self.sizes: IndexArray = np.ones(len(inputs), np.int64)

    def batch(self, positions: IndexArray, rng: np.random.Generator | None) -> Any:  # noqa: ARG002
        """The batch of these inputs."""
        return self._pipeline.batch([self._inputs[int(i)] for i in positions])
