"""What the audit finds of faults planted in real data, and what it calls a fault that is none.

Run from the repository: ``python benchmarks/audit.py [--data ../shared/data]``. Copies: 200 training examples are
copied into the test, each in every way below; found is the share that is paired with its original, false the share
of the set's own test rows that are said to have a changed copy in the training rows and have none. A set's own copies
are not planted by us: those of the drawings were looked at, and rows with the same drawing, changed (recoloured, one
detail more, another back of a playing card), are counted apart; every pair not listed below counts as false.
Labels: a tenth is flipped to another class at random; AUROC of the audit's plausibility for telling flipped from
given, and precision and recall of the named suspects. Results are written to ``benchmarks/results/audit.json``.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart import data, sources
from headstart.audit import labels, pictures, wording
from headstart.data.images import open_image
from headstart.features import Embedder
from headstart.modalities import pipeline_of, suited
from headstart.runtime import machine, versions
from headstart.store import cache_folder, write_json
from headstart.types import Dataset

IMAGES = ("image/cifar10", "image/hymenoptera", "image/openclipart")
TEXTS = ("text/trec6", "text/banking77", "text/tweeteval_emotion")
SOURCES = {"image": "efficientnet-lite0", "text": "all-minilm-l6-v2"}
VARIANTS = {
    tuple(pair.split())
    for pair in """
    potato_nicu_buculei_01 potato_nicu_buculei_
    small_plate_bw large_plate_bw
    turkey_platter_01_with_fruit_and_vegitables_01 turkey_on_platter_01
    australia_02 australia-black
    brazil_marcelo_staudt_01 brazil_states_marcelo_st_01
    gps_geko__ganson gps_geko_ganson1
    svg_globe svg_globe_green
    red_flower_01 red_flower_03
    tree_02 plain_tree_01
    bordered_h_4 ornamental_h_4
    bordered_jk_b ornamental_jk_b
    ornamental_c_6 simple_c_6
    ornamental_s_10 simple_s_10
    simple_h_j bordered_h_j
    simple_h_j ornamental_h_j
    simple_s_k white_s_k
    united_kingdom great_britain_flag_filip_01
    bullet_hole_linda_kim_r bullet_hole_linda_kim_v
    bullet_hole_linda_kim_r bullet_hole_linda_kim_w
    bullet_hole_linda_kim_x bullet_hole_linda_kim_v
    bullet_hole_linda_kim_x bullet_hole_linda_kim_w
    sailboat_illustration sailboat_illustration_labels
    """.strip().splitlines()
}
"""Of the drawings: names of training and test files that show the same drawing, changed; judged by eye. Not listed, so
false: other phases of a moon, other faces, the same card of another suit, other poses of a figure, other road signs."""
PLANTED = 200
MOST = 3000
RESULTS = Path(__file__).parent / "results" / "audit.json"


def resized(image: Image.Image, seed: int) -> Image.Image:
    """To 50 to 90% of the sides."""
    share = np.random.default_rng(seed).uniform(0.5, 0.9)
    return image.resize(tuple(max(8, round(side * share)) for side in image.size), Image.Resampling.BICUBIC)


def recompressed(image: Image.Image, _: int) -> Image.Image:
    """JPEG at quality 50."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def cropped(image: Image.Image, seed: int) -> Image.Image:
    """5% of both sides cut off, somewhere."""
    chance, (width, height) = np.random.default_rng(seed), image.size
    across, down = max(1, round(0.05 * width)), max(1, round(0.05 * height))
    left, top = (int(chance.integers(0, most + 1)) for most in (across, down))
    return image.crop((left, top, width - across + left, height - down + top))


def framed(image: Image.Image, _: int) -> Image.Image:
    """5% cut off at each of the four edges."""
    width, height = image.size
    across, down = max(1, round(0.05 * width)), max(1, round(0.05 * height))
    return image.crop((across, down, width - across, height - down))


def everything(image: Image.Image, seed: int) -> Image.Image:
    """Cropped, resized and recompressed."""
    return recompressed(resized(cropped(image, seed), seed), seed)


CHANGES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    change.__name__: change for change in (resized, recompressed, cropped, framed, everything)
}


def main() -> None:
    """Plants, audits and prints a row a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    found: dict[str, Any] = {"copies": {}, "text copies": {}, "flipped labels": {}}
    for name in IMAGES:
        dataset = data.read(options.data / name)
        report(found, "copies", name, image_copies(dataset))
        report(found, "flipped labels", name, flips(dataset))
    for name in TEXTS:
        dataset = data.read(options.data / f"{name}/train.csv")
        report(found, "flipped labels", name, flips(dataset))
        report(found, "text copies", name, text_copies(dataset))
    write_json(RESULTS, {"machine": machine(), "versions": versions(), **found})


def report(found: dict[str, Any], kind: str, name: str, row: dict[str, Any]) -> None:
    """Keeps and prints one row."""
    found[kind][name] = row
    print(kind, name, row, flush=True)


def image_copies(dataset: Dataset) -> dict[str, Any]:
    """Shares of planted copies that are found, by what was done to them, and of false ones."""
    given = np.array(dataset.given)
    train, test = np.flatnonzero(given == "train"), np.flatnonzero(given == "test")
    inputs, digests = dataset.examples.inputs, np.array(dataset.examples.digests)
    chosen = np.random.default_rng(0).permutation(len(train))[:PLANTED]
    begin = time.perf_counter()
    known = pictures.thumbnails([inputs[row] for row in (*train, *test)])
    clean = pictures.copies(known)
    seconds = time.perf_counter() - begin
    exact = set(digests[train])
    with tempfile.TemporaryDirectory() as place:
        files = [shutil.copy(inputs[train[row]], Path(place) / f"{row}.jpg") for row in chosen]
        same = [digest in exact for digest in data.table_of(files, "image").digests]
    across = [(train[one], test[other - len(train)]) for one, other in clean if one < len(train) <= other]
    across = [(one, other) for one, other in across if digests[other] not in exact]
    variants = {b for a, b in across if (Path(inputs[a]).stem, Path(inputs[b]).stem) in VARIANTS}
    false = {other for _, other in across} - variants
    originals = [open_image(inputs[train[row]]) for row in chosen]
    row: dict[str, Any] = {
        "exact": float(np.mean(same)),
        "false": len(false) / len(test),
        "false rows": sorted(Path(inputs[row]).stem for row in false),
        "own changed copies": len(variants) / len(test),
        "rows": len(known),
        "seconds": round(seconds, 2),
    }
    for name, change in CHANGES.items():
        copies = pictures.thumbnails([change(image, int(seed)) for image, seed in zip(originals, chosen, strict=True)])
        pairs = set(pictures.copies(np.concatenate([known, copies])))
        row[name] = float(np.mean([(int(at), len(known) + number) in pairs for number, at in enumerate(chosen)]))
    return row


def embedded(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Embeddings of some rows by the smallest source that suits, around their mean."""
    (source,) = sources.candidates(SOURCES[dataset.task.modality], dataset.task.modality)
    embedder = Embedder(pipeline_of, cache_folder())
    values = embedder.embed(suited(source, dataset.examples, rows), dataset.examples, rows)["last"]
    return np.asarray(values - values.mean(0))


def flips(dataset: Dataset) -> dict[str, Any]:
    """How well flipped labels are told from given ones."""
    from sklearn.metrics import roc_auc_score

    rows = np.arange(len(dataset.examples))
    rows = rows[np.array(dataset.given) == "train"] if dataset.given else rows
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    rng, targets = np.random.default_rng(1), dataset.examples.targets[rows].copy()
    flipped = rng.random(len(rows)) < 0.1
    moved = rng.integers(1, dataset.task.outputs, int(flipped.sum()))
    targets[flipped] = (targets[flipped] + moved) % dataset.task.outputs
    ids = tuple(dataset.examples.ids[row] for row in rows)
    suspects, plausible = labels.suspects(
        dataset.task, ids, targets, embedded(dataset, rows), rng.integers(0, 5, len(rows))
    )
    named = np.isin(ids, [one.id for one in suspects])
    return {
        "rows": len(rows),
        "auroc": round(float(roc_auc_score(flipped, -plausible)), 4),
        "precision": round(float((named & flipped).sum() / max(1, named.sum())), 3),
        "recall": round(float((named & flipped).sum() / flipped.sum()), 3),
    }


def text_copies(dataset: Dataset) -> dict[str, Any]:
    """Shares of copies with one word changed, or another case and punctuation, that are found."""
    chosen = np.random.default_rng(0).permutation(len(dataset.examples))[:MOST]
    texts = [dataset.examples.inputs[row] for row in chosen]
    long = [number for number, text in enumerate(texts[:PLANTED]) if len(text.split()) >= 8]
    changed = [_one_word_less(texts[number], number) for number in long]
    shouted = [texts[number].upper().rstrip(".?!") + "!!" for number in long]
    table = data.table_of([*texts, *changed, *shouted], "text")
    pairs = set(wording.copies(table.inputs, embedded(_Table(table), np.arange(len(table)))))  # type: ignore[arg-type]
    own = {row for pair in pairs if max(pair) < len(texts) for row in pair}
    at = {"one word less": len(texts), "case and punctuation": len(texts) + len(long)}
    found = {
        name: float(np.mean([(number, start + k) in pairs for k, number in enumerate(long)]))
        for name, start in at.items()
    }
    return {"planted": len(long), **found, "rows with a copy of their own": len(own) / len(texts)}


class _Table:
    """A table of texts as `embedded` looks at it."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples
        self.task = type("Task", (), {"modality": "text"})


def _one_word_less(text: str, seed: int) -> str:
    words = text.split()
    del words[int(np.random.default_rng(seed).integers(len(words)))]
    return " ".join(words)


if __name__ == "__main__":
    main()
