"""Pictures with structure, and what happens to files on their way."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter


def scene(seed: int, side: int = 96) -> Image.Image:
    """A made-up photograph: smooth colours, a few sharp shapes, a little noise."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.normal(0, 1, (side, side, 3)), (side / 9, side / 9, 0))
    ground = 128 + 70 * ground / ground.std()
    rows, columns = np.mgrid[:side, :side]
    for _ in range(4):
        y, x, size = rng.integers(10, side - 10), rng.integers(10, side - 10), rng.integers(6, side // 4)
        ground[(rows - y) ** 2 + (columns - x) ** 2 < size**2] = rng.integers(0, 255, 3)
    return Image.fromarray((ground + rng.normal(0, 4, ground.shape)).clip(0, 255).astype(np.uint8))


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized": lambda image: image.resize((61, 61), Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((96, 80), Image.Resampling.BICUBIC),
    "recompressed": recompressed,
    "cropped": lambda image: image.crop((5, 0, 96, 91)),
    "brighter": lambda image: image.point(lambda value: min(255, int(0.8 * value + 30))),
}


@pytest.fixture
def scenes() -> list[Image.Image]:
    """Forty different pictures."""
    return [scene(seed) for seed in range(40)]


@pytest.fixture(params=CHANGES)
def changed(request: pytest.FixtureRequest) -> Callable[[Image.Image], Image.Image]:
    """One way in which a copy of a picture differs from it."""
    return CHANGES[request.param]
