"""Copies among pictures are found whatever was done to them, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from headstart.audit import pictures


def test_changed_copies_are_found(scenes: list[Image.Image], changed: Callable[[Image.Image], Image.Image]) -> None:
    copied = [changed(image) for image in scenes[:20]]
    found = pictures.copies(pictures.thumbnails([*scenes, *copied]))
    expected = {(row, 40 + row) for row in range(20)}
    assert len(expected & set(found)) >= 19
    assert set(found) <= expected


def test_different_pictures_are_no_copies(scenes: list[Image.Image]) -> None:
    assert pictures.copies(pictures.thumbnails(scenes)) == []


def test_one_changed_spot_makes_another_picture(scenes: list[Image.Image]) -> None:
    marked = scenes[0].copy()
    marked.paste((255, 255, 255), (40, 40, 58, 58))
    marked.paste((0, 0, 0), (45, 45, 53, 53))
    assert pictures.copies(pictures.thumbnails([scenes[0], marked])) == []
    assert pictures.copies(pictures.thumbnails([scenes[0], scenes[0]])) == [(0, 1)]


def test_shift_and_stretch_are_undone(scenes: list[Image.Image]) -> None:
    first, second = pictures.thumbnails([scenes[3], scenes[3].crop((4, 4, 92, 92))])[:, None]
    alike = pictures.likeness(first, second)
    assert alike.colours[0] > 0.98
    assert alike.edges[0] > 0.95
    plain = 1 - ((first - second) ** 2).sum() / ((first - first.mean((1, 2), keepdims=True)) ** 2).sum()
    assert plain < 0.95


def test_few_and_flat_pictures() -> None:
    flat = Image.new("RGB", (50, 50), "navy")
    assert pictures.copies(pictures.thumbnails([])) == []
    assert pictures.copies(pictures.thumbnails([flat])) == []
    assert np.isfinite(pictures.thumbnails([flat])).all()
