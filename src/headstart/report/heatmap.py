"""The confusion matrix as a drawing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.report.axes import COLUMN, chart, text
from headstart.report.figures import count, percent
from headstart.report.markup import Markup, clip, tag

__all__ = ["LEVELS", "confusion_matrix", "level"]

LEVELS = 7
"""Steps of colour; the last is dark enough for inverse text, the others light enough for plain text."""
LABEL_ROOM = 150.0
HINTED = 20
"""Up to so many classes every cell has a tooltip; above, they would be most of the page's bytes."""


def level(share: float) -> int:
    """The colour step of a share of a row in (0, 1]; by its root, so that rare mistakes are seen."""
    return min(LEVELS - 1, int(share**0.5 * LEVELS))


def confusion_matrix(id_: str, counts: NDArray[np.int64], labels: tuple[str, ...]) -> Markup:
    """Counts (C, C), rows by given class, columns by predicted class; coloured by the share of the row."""
    classes = len(labels)
    side = float(np.clip(560 / classes, 17, 56))
    written = side >= 11 + 7 * len(str(counts.max()))
    longest = max(len(clip(label, int(LABEL_ROOM / COLUMN))) for label in labels)
    origin = min(LABEL_ROOM, longest * COLUMN) + 30
    totals = np.maximum(counts.sum(axis=1), 1)
    parts: list[Markup] = [
        text(origin, 12, "predicted →", "tick"),
        text(origin - 10, origin - 6, "given ↓", "tick", anchor="end"),
        tag("rect", x=origin, y=origin, width=side * classes, height=side * classes, class_="field"),
    ]
    for at, label in enumerate(labels):
        middle = origin + side * (at + 0.5)
        parts.append(text(origin - 8, middle + 4, label, "label", anchor="end", room=LABEL_ROOM))
        turned = text(0, 0, label, "label", room=LABEL_ROOM)
        parts.append(tag("g", turned, transform=f"translate({middle + 4:.6g} {origin - 8:.6g}) rotate(-90)"))
    for row, column in np.argwhere(counts > 0).tolist():
        number, share = int(counts[row, column]), float(counts[row, column] / totals[row])
        x, y = origin + side * column, origin + side * row
        kind = f"cell q{level(share)}" + (" diagonal" if row == column else "")
        pair = f"given {clip(labels[row], 40)}, predicted {clip(labels[column], 40)}"
        hint = tag("title", f"{pair}: {number} ({percent(share, 0)} of the row)") if classes <= HINTED else None
        parts.append(tag("rect", hint, x=x + 1, y=y + 1, width=side - 2, height=side - 2, class_=kind))
        if written:
            parts.append(
                text(x + side / 2, y + side / 2 + 4, count(number), f"figure q{level(share)}", anchor="middle")
            )
    wide = origin + side * classes + 2
    right = int(np.trace(counts))
    told = (
        f"{right} of {int(counts.sum())} test rows are on the diagonal: predicted as given. The tables below say more."
    )
    return chart(id_, (wide, wide), "Confusion matrix", told, parts)
