"""A ranking as one drawing that stands alone: score against what scoring cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.report.axes import Axis, bottom, left, text, ticks_in
from headstart.report.figures import duration, fixed, tick
from headstart.report.markup import Markup, join, tag
from headstart.types import RankedSource, Ranking

__all__ = ["drawing"]

STYLE = """
svg { background: #fff; color: #16202a; font: 13px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
text { fill: #16202a; } .tick { fill: #56636f; } .title { font-size: 16px; font-weight: 600; }
.strong { font-weight: 600; } .grid { stroke: #dde3e7; } .leader { stroke: #dde3e7; fill: none; }
.whisker { stroke: #6b7884; stroke-width: 1.5; fill: none; } .mark { fill: #6b7884; } .mark.tied { fill: #0b6670; }
.mark.left { fill: #fff; stroke: #6b7884; stroke-width: 1.5; } .ring { fill: none; stroke: #0b6670; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  svg { background: #12171b; } text { fill: #e6ebee; } .tick { fill: #a2afb9; } .grid, .leader { stroke: #2c363d; }
  .mark { fill: #93a1ac; } .mark.tied { fill: #5fc4ce; } .mark.left { fill: #12171b; stroke: #93a1ac; }
  .whisker { stroke: #93a1ac; } .ring { stroke: #5fc4ce; }
}
"""
MOST = 40
"""Sources drawn, best first."""
MOMENTS = tuple(factor * 10.0**power for power in range(-2, 6) for factor in (1, 3))
"""Seconds that the axis may name."""
WIDTH, START, END, TOP, LINE = 960.0, 76.0, 620.0, 64.0, 19.0


def drawing(ranking: Ranking) -> Markup:
    """SVG of every source's score with one standard error against the seconds that ranking took for it (log scale)."""
    rows = [row for row in ranking.rows if row.score is not None and math.isfinite(row.score)][:MOST]
    base = TOP + max(260.0, LINE * len(rows))
    seconds = [max(row.seconds, 0.01) for row in rows]
    x_axis = Axis(min(seconds) / 1.5, max(seconds) * 1.5, START, END, log=True)
    bounds = [float(row.score or 0) + side * _error(row) for row in rows for side in (-1, 1)]
    y_axis = Axis(*ticks_in(bounds), base, TOP)
    told = "; ".join(f"{row.source}: {tick(float(row.score or 0))} in {duration(row.seconds)}" for row in rows)
    moments = [moment for moment in MOMENTS if x_axis.low <= moment <= x_axis.high]
    parts = [
        tag("style", Markup(STYLE)),
        tag("title", "Sources: score against cost"),
        tag("desc", told),
        text(START, 22, f"{len(rows)} sources, best first by {ranking.order.replace('_', ' ')} score", "title"),
        text(START, 44, "minus leave-one-out loss with one standard error, higher is better", "tick"),
        bottom(x_axis, base, TOP, lambda value: f"{value:.3g} s", moments),
        left(y_axis, START, END, tick),
        text((START + END) / 2, base + 38, "seconds that ranking it took (log scale)", "tick", anchor="middle"),
        text(START, base + 62, "ringed: chosen · coloured: tied with the best · hollow: left the race early", "tick"),
        _points(rows, [(x_axis.at(x), y_axis) for x in seconds], ranking.chosen),
    ]
    size = {"width": WIDTH, "height": base + 78}
    return tag("svg", parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.6g} {base + 78:.6g}", **size)


def _error(row: RankedSource) -> float:
    known = row.standard_error is not None and math.isfinite(row.standard_error)
    return float(row.standard_error or 0) if known else 0.0


def _points(rows: Sequence[RankedSource], places: Sequence[tuple[float, Axis]], chosen: str) -> Markup:
    drawn = []
    for at, (row, (x, axis)) in enumerate(zip(rows, places, strict=True)):
        score, error, line = float(row.score or 0), _error(row), TOP + LINE * at
        y, top, low = axis.at(score), axis.at(score + error), axis.at(score - error)
        kind = "mark left" if row.left else "mark tied" if row.tied else "mark"
        ranks = f" (rank {row.rank_low} to {row.rank_high})" if row.rank_low != row.rank_high else ""
        hint = f"{row.source}: {fixed(score, 3)} in {duration(row.seconds)}"
        drawn.append(
            join(
                tag("path", d=f"M{x} {y}L{END + 6} {line}", class_="leader"),
                tag("path", d=f"M{x} {top}V{low}M{x - 4} {top}h8M{x - 4} {low}h8", class_="whisker"),
                tag("circle", tag("title", hint), cx=x, cy=y, r=5, class_=kind),
                tag("circle", cx=x, cy=y, r=9, class_="ring") if row.source == chosen else None,
                text(
                    END + 12,
                    line + 4,
                    row.source + ranks,
                    "strong" if row.source == chosen else None,
                    room=WIDTH - END - 16,
                ),
            )
        )
    return join(drawn)
