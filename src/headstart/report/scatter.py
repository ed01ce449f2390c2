"""The map of the embeddings: which examples the source sees as alike."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headstart.report.axes import chart, text
from headstart.report.figures import count, plain
from headstart.report.markup import Markup, join, tag
from headstart.report.view import RunView
from headstart.types import Map

__all__ = ["embedding_map"]

SIDE = 560.0
SHAPES = 8
"""Classes told apart by shape and colour; the others share a ninth mark."""
STEPS = 5


def embedding_map(view: RunView) -> Markup | None:
    """Train and test rows in a plane; nothing where the run holds no map."""
    found = view.map
    if found is None or view.task is None or not len(found.points):
        return None
    lead = tag(
        "p",
        "Each mark is an example; near ones look alike to the source. Pale marks were learned from, full ones are test "
        f"rows. {found.method}",
    )
    return join(lead, _drawing(found, view.task.labels))


def _drawing(found: Map, labels: tuple[str, ...]) -> Markup:
    points = np.asarray(found.points, np.float64)
    low, high = points.min(0), points.max(0)
    placed = 12 + (points - low) / np.maximum(high - low, 1e-9) * (SIDE - 24)
    kinds, key = _kinds(found, labels)
    order = sorted(range(len(points)), key=lambda at: found.parts[at] == "test")
    drawn = [_mark(placed[at, 0], SIDE - placed[at, 1], kinds[at], found.parts[at] == "test") for at in order]
    legend = [
        join(_mark(SIDE + 30, 20 + 26 * at, kind, True), text(SIDE + 46, 24 + 26 * at, words, "label", room=330))
        for at, (kind, words) in enumerate(key)
    ]
    parts = Counter(found.parts)
    told = f"{len(points)} examples: " + ", ".join(f"{count(size)} {part}" for part, size in sorted(parts.items()))
    field = tag("rect", x=0, y=0, width=SIDE, height=SIDE, class_="field")
    return chart("embeddings", (960, SIDE), "Map of the embeddings", f"{told}. {found.method}", field, drawn, legend)


def _kinds(found: Map, labels: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
    """The kind of mark of each point, and what each kind means."""
    targets = np.asarray(found.targets)
    if not labels:
        if not np.isfinite(targets).any():
            return ["k8"] * len(targets), []
        edges = np.nanquantile(targets, np.linspace(0, 1, STEPS + 1))
        steps = np.clip(np.searchsorted(edges, targets, side="right") - 1, 0, STEPS - 1)
        key = [(f"v{at}", f"{plain(edges[at])} to {plain(edges[at + 1])}") for at in range(STEPS)]
        return [f"v{step}" for step in steps], key
    sizes = Counter(int(target) for target in targets if 0 <= target < len(labels))
    frequent = [k for k, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))]
    shown = sorted(frequent if len(frequent) <= SHAPES else frequent[:SHAPES])
    key = [(f"k{at}", labels[k]) for at, k in enumerate(shown)]
    if len(frequent) > SHAPES:
        key.append(("k8", f"{count(len(frequent) - SHAPES)} other labels"))
    elif not frequent:
        key.append(("k8", "examples"))
    kind = {k: f"k{at}" for at, k in enumerate(shown)}
    return [kind.get(int(target), "k8") for target in targets], key


def _mark(x: float, y: float, kind: str, full: bool) -> Markup:
    x, y = round(float(x), 1), round(float(y), 1)
    look = f"point {kind}" if full else f"point {kind} pale"
    shape = {
        "k1": f"M{x - 4} {y - 4}h8v8h-8z",
        "k2": f"M{x} {y - 5}l5 9h-10z",
        "k3": f"M{x} {y + 5}l5 -9h-10z",
        "k4": f"M{x} {y - 6}l5 6l-5 6l-5 -6z",
        "k5": f"M{x - 5} {y - 1.5}h3.5v-3.5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5z",
        "k6": f"M{x - 5} {y - 2}h10v4h-10z",
        "k7": f"M{x - 2} {y - 5}h4v10h-4z",
    }.get(kind)
    if shape:
        return tag("path", d=shape, class_=look)
    return tag("circle", cx=x, cy=y, r=2.5 if kind == "k8" else 4.2, class_=look)
