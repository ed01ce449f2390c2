"""The classical baseline for images: colour histogram and oriented gradients with a linear model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from headstart.classical import FeatureBaseline
from headstart.data.images import open_image
from headstart.runtime import thread_count
from headstart.types import FloatArray, Task

__all__ = ["SIDE", "Descriptors", "make"]

SIDE = 96
"""Pixels a side that every image is resized to."""
CELL, ORIENTATIONS, COLOURS = 16, 9, 8
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def make(task: Task, seed: int) -> FeatureBaseline:
    """The baseline of this task; see `headstart.classical.Baseline`."""
    return FeatureBaseline(task, seed, Descriptors(), "hog", "colour histogram and HOG", STRENGTHS)


class Descriptors:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of the grey image, and one of 8 x 8 x 8 HSV colours.

    An instance describes each input object once, so that cross-validation opens no image twice.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, FloatArray]] = {}
        """``id`` of an input -> the input, kept so that the number stays its own, and its descriptors."""

    def fit(self, inputs: Sequence[Any]) -> FloatArray:
        """Descriptors ``(N, 1412)`` float32; nothing is learned."""
        return self.transform(inputs)

    def transform(self, inputs: Sequence[Any]) -> FloatArray:
        """Descriptors ``(N, 1412)`` float32 of image paths or PIL images.

        Raises:
            UnreadableImage: If one cannot be opened.
        """
        from skimage.feature import hog

        def described(source: Any) -> FloatArray:
            from PIL.Image import Resampling

            image = open_image(source, draft=SIDE).resize((SIDE, SIDE), Resampling.BILINEAR)
            grey = np.asarray(image.convert("L"), np.float32) / 255
            bins = np.asarray(image.convert("HSV"), np.int64).reshape(-1, 3) * COLOURS // 256
            colours = np.bincount(bins @ [COLOURS**2, COLOURS, 1], minlength=COLOURS**3)
            gradients = hog(grey, ORIENTATIONS, (CELL, CELL), (2, 2))
            return np.concatenate([gradients, np.sqrt(colours / SIDE**2)]).astype(np.float32)

        missing = [one for one in inputs if id(one) not in self._known]
        with ThreadPoolExecutor(thread_count()) as pool:
            self._known |= {id(one): (one, row) for one, row in zip(missing, pool.map(described, missing), strict=True)}
        found = [self._known[id(one)][1] for one in inputs]
        return np.stack(found) if found else np.zeros((0, 1412), np.float32)

    def scaling(self, raw: FloatArray) -> Callable[[FloatArray], FloatArray]:
        """Every column to mean 0 and deviation 1 over these rows; nearly constant ones stay small."""
        mean, spread = raw.mean(axis=0), raw.std(axis=0)
        floor = spread + np.float32(1e-3) * (spread.max(initial=0) or np.float32(1))
        return lambda rows: (rows - mean) / floor
