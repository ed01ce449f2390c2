"""Copies among images, whatever was done to the file: resized, recompressed, cropped at the edges.

Neighbours by their thumbnails are candidates; a pair is a copy if one picture, stretched and moved a
little, explains the other: its colours and, separately, its edges. The stretch is found by
Gauss-Newton steps on the pixels (Lucas and Kanade, IJCAI 1981), so no grid of crops is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.images import open_image
from headstart.runtime import thread_count
from headstart.types import IndexArray

__all__ = ["Likeness", "copies", "likeness", "neighbours", "thumbnails"]

SIDE = 32
"""Side of a thumbnail in pixels."""
BLUR = 1.0
"""Standard deviation in thumbnail pixels: evens out what resizing and recompressing change."""
COARSE = 8
"""Side at which neighbours are looked for."""
NEAREST = 3
"""Candidates a picture."""
ALIKE = 0.7
"""Coarse cosine below which a neighbour is no candidate."""
STEPS = 3
PROMISING = (0.3, 0.6, 0.85, 1.0)
"""Explained colours after each step below which a pair is given up."""
FARTHEST = 0.15
"""Largest shift and stretch, as a share of half a side."""
COLOURS = 0.955
EDGES = 0.94
SPOT = 0.25
"""How much of the colours and of the edges a copy explains at least, and of one spot leaves at most.

Spots tell two road signs apart that differ in their lettering. Measured on CIFAR-10, photographs of
ants and bees, and drawings, see `benchmarks/audit.py`.
"""
SPOT_SIDE = 5
BATCH = 256

Pictures = NDArray[np.float32]
"""(N, SIDE, SIDE, 3) in [0, 1]."""


def thumbnails(inputs: Sequence[Any]) -> Pictures:
    """Blurred thumbnails ``(N, 32, 32, 3)`` of image paths, PIL images or arrays, whatever their shape.

    Raises:
        DataError: If an image cannot be read.
    """
    with ThreadPoolExecutor(thread_count()) as pool:
        found = list(pool.map(_thumbnail, inputs))
    return np.stack(found) if found else np.zeros((0, SIDE, SIDE, 3), np.float32)


def _thumbnail(example: Any) -> NDArray[np.float32]:
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    image = open_image(example, draft=2 * SIDE)
    shrinks = min(image.size) >= 2 * SIDE
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC, reducing_gap=2)
    return np.asarray(gaussian_filter(np.asarray(small, np.float32) / 255, (BLUR, BLUR, 0)))


def copies(pictures: Pictures) -> list[tuple[int, int]]:
    """Pairs of rows (smaller first) that show the same picture."""
    pairs = neighbours(pictures)

    def confirmed(part: IndexArray) -> list[list[int]]:
        alike = likeness(pictures[part[:, 0]], pictures[part[:, 1]])
        same = (alike.colours >= COLOURS) & (alike.edges >= EDGES) & (alike.spot <= SPOT)
        return part[same].tolist()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(thread_count()) as pool:
        found = pool.map(confirmed, (pairs[first : first + BATCH] for first in range(0, len(pairs), BATCH)))
        return [(a, b) for part in found for a, b in part]


def neighbours(pictures: Pictures, nearest: int = NEAREST) -> IndexArray:
    """Candidate pairs ``(P, 2)``, smaller row first: each picture with the most alike ones by coarse colours."""
    if len(pictures) < 2:
        return np.zeros((0, 2), np.int64)
    flat = _unit(pictures)
    pairs = []
    for first in range(0, len(flat), BATCH):
        alike = flat[first : first + BATCH] @ flat.T
        rows = np.arange(len(alike))
        alike[rows, first + rows] = -np.inf
        width = min(nearest, len(flat) - 1)
        near = np.argpartition(-alike, width - 1, axis=1)[:, :width]
        promising = np.take_along_axis(alike, near, 1) >= ALIKE
        pairs.append(np.stack([np.repeat(first + rows, promising.sum(1)), near[promising]], 1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0).astype(np.int64)


def _unit(pictures: Pictures) -> NDArray[np.float32]:
    """Coarse pictures without their mean colour, as rows of length 1."""
    factor = SIDE // COARSE
    coarse = pictures.reshape(len(pictures), COARSE, factor, COARSE, factor, 3).mean((2, 4))
    flat = (coarse - coarse.mean((1, 2), keepdims=True)).reshape(len(pictures), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


@dataclass(frozen=True)
class Likeness:
    """How well the better of two fits explains each pair, (N,)."""

    colours: NDArray[np.float32]
    """Share of the variance of the colours that is explained after the best brightness and contrast; 1: all."""
    edges: NDArray[np.float32]
    """Cosine of the colour gradients; 1: the same edges."""
    spot: NDArray[np.float32]
    """Unexplained variance of the worst spot, in units of the picture's mean variance; 0: none."""


def likeness(one: Pictures, other: Pictures) -> Likeness:
    """How alike pictures ``(N, 32, 32, 3)`` are, pair by pair, after the best small shift and stretch."""
    first, second = _aligned(one, other), _aligned(other, one)
    return Likeness(*np.where(first[0] >= second[0], first, second))


def _aligned(fixed: Pictures, moving: Pictures) -> NDArray[np.float32]:
    """Colours, edges and spot ``(3, N)`` of the best of a few steps."""
    rows = np.arange(len(fixed))
    found = np.tile(np.array([[-1.0], [-1.0], [np.inf]], np.float32), len(fixed))
    warp = np.zeros((len(fixed), 4), np.float32)
    for step in range(STEPS + 1):
        if not len(rows):
            break
        now, moves = _step(fixed[rows], moving[rows], warp[rows])
        found[:, rows] = np.where(now[0] > found[0, rows], now, found[:, rows])
        warp[rows] = np.clip(warp[rows] + moves, -FARTHEST, FARTHEST)
        rows = rows[found[0, rows] >= PROMISING[step]]
    return found


def _step(
    fixed: Pictures, moving: Pictures, warp: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours, edges and spot ``(3, N)`` at a warp ``(N, 4)`` (shift and stretch by axis), and the next move."""
    warped, inside = _sample(moving, warp)
    mask = inside[..., None].astype(np.float32)
    size = np.maximum(mask.sum((1, 2), keepdims=True), 1)

    def centred(values: Pictures) -> Pictures:
        return np.asarray((values - (values * mask).sum((1, 2), keepdims=True) / size) * mask, np.float32)

    source, target = centred(warped), centred(fixed)
    slopes = [_slope(warped, axis) for axis in (2, 1)]
    contrast = _dot(source, target) / np.maximum(_dot(source, source), 1e-6)
    left = np.asarray(target - contrast[:, None, None, None] * source, np.float32)
    variance = np.maximum(_dot(target, target), 1e-6)
    colours = np.where(contrast > 0, 1 - _dot(left, left) / variance, -1)
    lines = [_slope(fixed, axis) * mask for axis in (2, 1)]
    lengths = sum(_dot(line, line) for line in lines) * sum(_dot(slope * mask, slope) for slope in slopes)
    edges = sum(_dot(line, slope) for line, slope in zip(lines, slopes, strict=True)) / np.sqrt(lengths + 1e-12)
    return np.stack([colours, edges, _worst_spot(left) * SIDE**2 / variance]), _moves(source, slopes, centred, target)


def _worst_spot(left: Pictures) -> NDArray[np.float32]:
    """Mean squared rest of the worst square of `SPOT_SIDE` pixels, summed over the channels, (N,)."""
    total = np.pad((left**2).sum(3).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    k = SPOT_SIDE
    sums = total[:, k:, k:] - total[:, :-k, k:] - total[:, k:, :-k] + total[:, :-k, :-k]
    return np.asarray(sums.max((1, 2)) / k**2)


def _moves(
    source: Pictures, slopes: list[Pictures], centred: Callable[[Pictures], Pictures], target: Pictures
) -> NDArray[np.float32]:
    """One Gauss-Newton step ``(N, 4)`` for shift and stretch, the contrast being fitted with them."""
    across, down = slopes
    place = _places()
    columns = (across, down, across * place[None, None, :, None], down * place[None, :, None, None])
    design = np.stack([part.reshape(len(source), -1) for part in (source, *map(centred, columns))], 1)
    normal = design @ design.transpose(0, 2, 1)
    ridge = 1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-6
    wanted = design @ target.reshape(len(target), -1, 1)
    solved = np.linalg.solve(normal + ridge * np.eye(5, dtype=np.float32), wanted)[..., 0]
    return np.asarray(solved[:, 1:] / np.maximum(solved[:, :1], 0.3))


def _slope(pictures: Pictures, axis: int) -> Pictures:
    """Change a unit of the half side, along an axis."""
    return np.asarray(np.gradient(pictures, axis=axis) * np.float32(SIDE / 2), np.float32)


def _dot(one: Pictures, other: Pictures) -> NDArray[np.float32]:
    return np.asarray(np.einsum("nijc,nijc->n", one, other))


def _places() -> NDArray[np.float32]:
    """Centres of the pixels of a side, from -1 to 1."""
    return ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1).astype(np.float32)


def _sample(pictures: Pictures, warp: NDArray[np.float32]) -> tuple[Pictures, NDArray[np.bool_]]:
    """Pictures read at shifted and stretched places, bilinearly; and which of these lie inside."""
    grids = [
        ((_places() * (1 + warp[:, 2 + axis, None]) + warp[:, axis, None] + 1) / 2 * SIDE - 0.5) for axis in (0, 1)
    ]
    inside_x, inside_y = ((grid >= 0) & (grid <= SIDE - 1) for grid in grids)
    x, y = (np.clip(grid, 0, SIDE - 1.001) for grid in grids)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right_share = (x - left).astype(np.float32)[:, None, :, None]
    low_share = (y - top).astype(np.float32)[:, :, None, None]
    row = np.arange(len(pictures))[:, None, None]

    def read(down: IndexArray, across: IndexArray) -> Pictures:
        return np.asarray(pictures[row, down[:, :, None], across[:, None, :]])

    upper = read(top, left) * (1 - right_share) + read(top, left + 1) * right_share
    lower = read(top + 1, left) * (1 - right_share) + read(top + 1, left + 1) * right_share
    mixed = np.asarray(upper * (1 - low_share) + lower * low_share, np.float32)
    return mixed, inside_y[:, :, None] & inside_x[:, None, :]
