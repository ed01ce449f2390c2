"""How many labels the transfer saves, and what more labels would buy."""

from __future__ import annotations

import numpy as np

from headstart.report.figures import count, measured, metric, metric_tick
from headstart.report.lines import Series, curves
from headstart.report.markup import Child, Markup, details, join, name, table, tag
from headstart.report.view import RunView
from headstart.types import Curve, Learning

__all__ = ["learning"]


def learning(view: RunView) -> Markup | None:
    """Learning curves of the transfer and what it is compared with; nothing where none was measured."""
    found = view.receipt.learning if view.receipt else None
    drawn = [curve for curve in (found.curves if found else ()) if _known(curve)]
    if found is None or not drawn:
        return None
    said = [found.saved.sentence] if found.saved else []
    if found.more:
        said.append(found.more.sentence)
    lead = tag("p", [tag("strong", said[0]), " ", *said[1:]]) if said else None
    return join(lead, _drawing(found, drawn), details("The curves as a table", _table(found, drawn)))


def _known(curve: Curve) -> list[int]:
    """Subsets of which at least one draw was measured."""
    return [at for at in range(len(curve.rows)) if np.isfinite(np.asarray(curve.values)[at]).any()]


def _drawing(found: Learning, drawn: list[Curve]) -> Markup:
    series = []
    for number, curve in enumerate(drawn):
        kept = _known(curve)
        values = [np.asarray(curve.values)[at] for at in kept]
        points = [(float(curve.rows[at]), float(np.nanmean(row))) for at, row in zip(kept, values, strict=True)]
        spread = [(float(np.nanmin(row)), float(np.nanmax(row))) for row in values]
        series.append(Series(curve.arm, points, spread, strong=number == 0))
    sizes = sorted({rows for curve in drawn for rows in curve.rows})
    words = metric(found.metric)
    better = "lower" if words.lower_is_better else "higher"
    told = "; ".join(
        f"{one.label}: " + ", ".join(f"{measured(found.metric, y)} with {count(x)} labels" for x, y in one.points)
        for one in series
    )
    return curves(
        "learning-curves",
        f"{words.title} by number of labels",
        told,
        series,
        (count, lambda value: metric_tick(found.metric, value)),
        ("labelled training rows (log scale)", f"{words.title}, {better} is better; bands: least and greatest draw"),
        ticks=[float(size) for size in sizes],
        log=True,
    )


def _table(found: Learning, drawn: list[Curve]) -> Markup:
    sizes = sorted({rows for curve in drawn for rows in curve.rows})
    rows: list[list[Child]] = []
    for curve in drawn:
        means = {curve.rows[at]: float(np.nanmean(np.asarray(curve.values)[at])) for at in _known(curve)}
        rows.append([name(curve.arm, 40), *(measured(found.metric, means.get(size)) for size in sizes)])
    columns = ["Arm", *(f"{count(size)} labels" for size in sizes)]
    title = f"{metric(found.metric).title}, mean of the draws."
    return table(title, columns, rows, numbers=range(1, len(columns)), strong=0)
