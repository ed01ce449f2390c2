"""What the report shows of single examples: previews, what predictions rest on, and a map of the embeddings.

The report itself never sees the data: what it shows is prepared here, small, and for few examples.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.attribution import picture_heat, word_weights
from headstart.backbones.source import Source
from headstart.calibration import probabilities
from headstart.data.images import open_image
from headstart.errors import DataError
from headstart.features import Embedder
from headstart.modalities import pipeline_of
from headstart.store import Remember, afresh
from headstart.types import Arm, Audit, Examples, Exhibit, Exhibition, Map, Receipt, Split, Task

__all__ = ["exhibit", "plane", "preview", "worst"]

WORST = 12
"""Mistakes and suspects that are shown, each."""
EXPLAINED = 6
"""Mistakes whose prediction is traced to its input."""
PAIRED = 6
"""Groups of copies whose members are shown."""
SIDE = 144
"""Longest side of a preview in pixels."""
BEGINNING = 280
"""Characters of a text that are shown."""
POINTS = 600
"""Points of the map: enough to see classes, few enough for a small page."""
COMPONENTS = 40
"""Principal components in which directions are looked for."""
SHRINK = 0.2
"""How far the spread inside classes is taken for a sphere: few rows tell it badly."""
PIECES = re.compile(r"\S+\s*")


def exhibit(
    task: Task,
    examples: Examples,
    split: Split,
    source: Source,
    arm: Arm,
    receipt: Receipt,
    audit: Audit,
    seed: int,
    embedder: Embedder,
    remember: Remember = afresh,
) -> Exhibition:
    """Previews of the examples the report speaks of, and a map of train and test rows.

    Args:
        task: What was learned.
        examples: The table.
        split: Its parts.
        source: Of the shipped arm, tuned.
        arm: The one that ships.
        receipt: Whose test predictions are looked at.
        audit: Whose suspects and copies are shown.
        seed: Decides which points are on the map.
        embedder: Keeps the embeddings.
        remember: Keeps what predictions were traced to for the next run that ships the same.
    """
    row = {name: number for number, name in enumerate(examples.ids)}
    mistakes = worst(task, receipt)
    named = [
        *mistakes,
        *(one.id for one in audit.suspects[:WORST]),
        *(name for finding in audit.findings for names in finding.examples[:PAIRED] for name in names[:3]),
    ]
    shown = {name: preview(task, examples.inputs[row[name]]) for name in dict.fromkeys(named) if name in row}
    explained = mistakes[:EXPLAINED]
    inputs = [examples.inputs[row[name]] for name in explained]
    how = ""
    if task.modality == "image":
        places, same = tuple(row[name] for name in explained), replace(arm, seconds=0.0, details={})
        heats = remember("heat", _heat, examples, places, source, same) if explained else None
        if heats is not None:
            how = "On the right what the source sees, by Grad-CAM: warm places raise the predicted label"
            pixels = pipeline_of(source).pixels  # type: ignore[attr-defined]
            for name, example, heat in zip(explained, inputs, heats, strict=True):
                shown[name] = replace(shown[name], heat=_encoded(_overlaid(pixels(example), heat)))
    elif explained:
        how = "Each word left out in turn: marked words raise or lower the predicted label"
        pieces = [shown[name].words for name in explained]
        for name, weights in zip(explained, word_weights(task, source, arm, pieces, embedder), strict=True):
            shown[name] = replace(shown[name], weights=weights)
    return Exhibition(shown, _map(examples, split, source, arm, seed, embedder), how)


def _heat(examples: Examples, rows: Sequence[int], source: Source, arm: Arm) -> NDArray[np.float32] | None:
    """Where in these images the predicted output comes from."""
    return picture_heat(source, arm, [examples.inputs[row] for row in rows])


def worst(task: Task, receipt: Receipt, most: int = WORST) -> list[str]:
    """Names of the test rows with the worst mistakes: the surest wrong decisions, or the largest errors."""
    arm = next((one for one in receipt.arms if one.name == receipt.chosen), None)
    targets = receipt.targets
    if arm is None or targets is None or not len(targets) or len(arm.predictions.ids) != len(targets):
        return []
    found = probabilities(arm.predictions.logits, task.problem)
    if task.problem == "regression":
        size = np.abs(found[:, 0] - targets)
    elif task.problem == "multilabel":
        size = np.where((found > 0.5) == targets, 0.0, np.maximum(found, 1 - found)).max(1)
    else:
        size = np.where(found.argmax(1) == targets, 0.0, found.max(1))
    order = np.argsort(-size, kind="stable")[:most]
    return [arm.predictions.ids[at] for at in order if size[at] > 0]


def preview(task: Task, example: Any) -> Exhibit:
    """A small picture, or the beginning of a text in its words."""
    if task.modality == "image":
        try:
            return Exhibit(picture=_encoded(_small(example)))
        except DataError:  # the file is gone by now
            return Exhibit()
    text = str(example)[:BEGINNING]
    return Exhibit(words=tuple(PIECES.findall(text)) or (text,))


def _small(example: Any) -> Any:
    image = open_image(example, draft=SIDE)
    image.thumbnail((SIDE, SIDE))
    return image


def _encoded(image: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=70, method=4)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _overlaid(seen: NDArray[np.uint8], heat: NDArray[np.float32]) -> Any:
    """What the source sees ``(S, S, 3)`` in grey, with warm colours where the heat ``(h, w)`` in [0, 1] is high."""
    from PIL import Image

    small = Image.fromarray(seen).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    grey = np.asarray(small.convert("L"), np.float32)[..., None].repeat(3, 2)
    spread = Image.fromarray(heat).resize(small.size, Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(spread, np.float32), 0, 1)[..., None]
    warm = np.concatenate([np.full_like(share, 255), 230 - 190 * share, 60 - 40 * share], 2)
    mixed = grey * (1 - 0.65 * share) + warm * 0.65 * share
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _map(examples: Examples, split: Split, source: Source, arm: Arm, seed: int, embedder: Embedder) -> Map | None:
    """The embeddings of some train and test rows in a plane that train rows alone choose."""
    parts = ("train", "validation", "test")
    rows = np.concatenate([getattr(split, part) for part in parts])
    names = np.array([part for part in parts for _ in getattr(split, part)])
    kept = np.sort(np.random.default_rng(seed).permutation(len(rows))[:POINTS])
    if len(kept) < 8:
        return None
    embeddings = np.asarray(embedder.embed(source, examples, rows[kept])[arm.layer], np.float64)
    targets, parted = examples.targets[rows[kept]], names[kept]
    if targets.ndim == 2:
        targets = np.full(len(kept), -1, np.int64)
    points, method = plane(embeddings, targets, parted == "train")
    return Map(points.astype(np.float32), targets, tuple(parted.tolist()), method)


def plane(
    embeddings: NDArray[np.float64], targets: NDArray[Any], learned: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], str]:
    """Two directions to look at embeddings ``(N, D)`` from, and what they are, as a sentence.

    Classes: the two that tell the classes of the learned rows apart best (Fisher, 1936; Rao, 1948), with the
    spread inside the classes shrunk towards a sphere. Else, and where one such direction is all there
    is, principal components.
    """
    known = learned if learned.sum() > 2 else np.ones(len(embeddings), bool)
    centre = embeddings[known].mean(0)
    _, sizes, basis = np.linalg.svd(embeddings[known] - centre, full_matrices=False)
    count = int(min(COMPONENTS, (sizes > sizes[:1] * 1e-6).sum()))
    if count < 2:
        return np.zeros((len(embeddings), 2)), "All embeddings are nearly equal."
    inner = (embeddings - centre) @ basis[:count].T
    share = float((sizes[:2] ** 2).sum() / (sizes**2).sum())
    components = inner[:, :2], f"The two principal components, {share:.0%} of the variance."
    classes = np.unique(targets[known]) if targets.dtype.kind in "iu" else np.zeros(0)
    if len(classes) < 2 or classes[0] < 0:
        return components
    means = np.stack([inner[known & (targets == k)].mean(0) for k in classes])
    weights = np.array([(known & (targets == k)).sum() for k in classes])
    within = inner[known] - means[np.searchsorted(classes, targets[known])]
    spread = within.T @ within / known.sum()
    spread = (1 - SHRINK) * spread + SHRINK * np.trace(spread) / count * np.eye(count)
    values, vectors = np.linalg.eigh(spread)
    white = vectors / np.sqrt(np.maximum(values, 1e-12))
    apart = (means - np.average(means, axis=0, weights=weights)) * np.sqrt(weights)[:, None] @ white
    axes = np.linalg.svd(apart, full_matrices=True)[2][:2]
    if len(classes) == 2:
        rest = inner @ white
        rest = rest - np.outer(rest @ axes[0], axes[0])
        axes = np.stack([axes[0], np.linalg.svd(rest[known], full_matrices=False)[2][0]])
        return (
            inner @ white @ axes.T,
            "Across: what tells the two classes apart best. Upwards: what varies most besides.",
        )
    return inner @ white @ axes.T, "The two directions that tell the classes of the training rows apart best."
