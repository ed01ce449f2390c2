"""Image files to batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.errors import DataError
from headstart.features import made
from headstart.modalities.image import ImagePipeline, suited
from headstart.types import Examples, InputSpec

SPEC = InputSpec(size=64, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2), interpolation="bicubic", crop=0.875)


def photo(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (90, 400), (20, 33), (640, 480)])
def test_it_crops_as_timm_does(size):
    """Resize to size / crop, then the centre: the reference is timm's own evaluation transform."""
    from headstart._torchvision import make_importable

    make_importable()
    from timm.data import create_transform

    reference = create_transform((3, 64, 64), interpolation="bicubic", mean=SPEC.mean, std=SPEC.std, crop_pct=SPEC.crop)
    image = photo(*size)
    found = next(map(made, ImagePipeline(SPEC, {}).parts([image, image])))[1]
    assert found.shape == (2, 3, 64, 64)
    assert (found[0] - reference(image)).abs().mean() < 0.03


def test_batches_keep_the_order_and_a_lone_image_rides_with_a_copy():
    images = [Image.new("RGB", (32, 32), (i, 0, 0)) for i in range(65)]
    positions, shades = [], []
    for part, batch in map(made, ImagePipeline(SPEC, {}).parts(images)):
        positions += part.tolist()
        shades += (batch[: len(part), 0].mean((1, 2)) * 127.5 + 127.5).round().int().tolist()
        assert len(batch) >= 2
        assert batch.is_contiguous(memory_format=torch.channels_last)
    assert positions == list(range(65))
    assert shades == list(range(65))


def test_normalisation_is_the_source_s():
    batch = ImagePipeline(SPEC, {}).normalise(np.full((2, 4, 4, 3), 255, np.uint8))
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([1.0, 2.4, 3.5]))


def test_an_unreadable_file_is_an_error_with_its_reason(tmp_path):
    path = tmp_path / "x.png"
    path.write_text("no image")
    with pytest.raises(DataError):
        list(map(made, ImagePipeline(SPEC, {}).parts([path])))


@pytest.mark.parametrize(("side", "expected"), [(32, 160), (120, 160), (161, 192), (200, 224), (1000, 224)])
def test_small_images_are_not_blown_up_to_full_size_and_keep_their_margins(side, expected):
    table = Examples(
        "image",
        tuple(Image.new("RGB", (side + 40, side)) for _ in range(5)),
        tuple("abcde"),
        tuple("abcde"),
        np.zeros(5),
    )
    found = suited(InputSpec(size=224, crop=0.9), table, np.arange(5))
    assert (found.size, found.crop) == (expected, 1.0 if side < 160 else 0.9)
    fixed = suited(InputSpec(size=224, crop=0.9, fixed=True), table, np.arange(5))
    assert (fixed.size, fixed.crop) == (224, found.crop)
