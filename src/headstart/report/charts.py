"""Intervals, costs, calibration and values as vector drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.report.axes import Axis, bottom, chart, left, text, ticks_in
from headstart.report.figures import count, duration, measured, metric, metric_tick, percent, plain, portion, tick
from headstart.report.markup import Markup, join, tag
from headstart.report.outcomes import Bins, Outcome

__all__ = ["Interval", "Point", "calibration", "costs", "intervals", "shares", "values"]

WIDTH = 960.0
MOMENTS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0, 360000.0)
"""Seconds a time axis may name."""


@dataclass(frozen=True)
class Interval:
    """A value with its interval, one row of `intervals`."""

    label: str
    value: float
    low: float
    high: float
    words: str
    strong: bool = False


@dataclass(frozen=True)
class Point:
    """One arm in `costs`."""

    label: str
    seconds: float
    value: float
    kind: str
    """``transfer``, ``chosen``, ``baseline``, ``majority`` or ``scratch``."""


def intervals(
    id_: str, title: str, rows: Sequence[Interval], write: Callable[[float], str], sides: tuple[str, str] | None = None
) -> Markup:
    """A forest plot: one row an interval, with a zero line where the sides of zero have names."""
    step, top = 40.0, 12.0
    low, high = ticks_in([*(x for row in rows for x in (row.low, row.high, row.value)), *([0.0] if sides else [])])
    axis = Axis(low, high, 240, 690)
    end = top + step * len(rows)
    parts = [bottom(axis, end, top, write)]
    if sides:
        parts.append(_zero(axis, top, end, sides))
    parts += [_interval(axis, top + step * (index + 0.5), row) for index, row in enumerate(rows)]
    words = "; ".join(f"{row.label}: {row.words}" for row in rows)
    return chart(id_, (WIDTH, end + (46 if sides else 28)), title, words, parts)


def _interval(axis: Axis, y: float, row: Interval) -> Markup:
    x, low, high = axis.at(row.value), axis.at(row.low), axis.at(row.high)
    kind = " strong" if row.strong else ""
    square = {"x": x - 6, "y": y - 6, "width": 12, "height": 12}
    return join(
        text(0, y + 4, row.label, f"label{kind}", room=225),
        tag("path", d=f"M{low} {y}H{high}M{low} {y - 5}v10M{high} {y - 5}v10", class_=f"mark whisker{kind}"),
        tag("rect", **square, class_="mark strong") if row.strong else tag("circle", cx=x, cy=y, r=5, class_="mark"),
        text(712, y + 4, row.words, f"label{kind}"),
    )


def _zero(axis: Axis, top: float, end: float, sides: tuple[str, str]) -> Markup:
    x = axis.at(0)
    return join(
        tag("line", x1=x, x2=x, y1=top - 8, y2=end + 4, class_="zero"),
        text(x - 10, end + 38, f"← {sides[0]}", "tick", anchor="end"),
        text(x + 10, end + 38, f"{sides[1]} →", "tick"),
    )


def costs(id_: str, name: str, points: Sequence[Point]) -> Markup:
    """A metric against training time in seconds (log scale), one mark an arm."""
    words = metric(name)
    times = [max(point.seconds, 0.01) for point in points]
    x_axis = Axis(min(times) / 2, max(times) * 2, 76, 680, log=True)
    low, high = ticks_in([point.value for point in points], 0.15)
    y_axis = Axis(low, min(high, 1.0) if words.share and high > low else high, 280, 20)
    better = "lower" if words.lower_is_better else "higher"
    parts = [
        bottom(x_axis, 280, 20, _seconds, [moment for moment in MOMENTS if x_axis.low <= moment <= x_axis.high]),
        left(y_axis, 76, 680, lambda value: metric_tick(name, value)),
        text(378, 318, "training time (log scale)", "tick", anchor="middle"),
        text(76, 10, f"{words.title}, {better} is better", "tick"),
    ]
    order = sorted(range(len(points)), key=lambda index: -points[index].value)
    floor = -100.0
    for index in order:
        point = points[index]
        x, y = x_axis.at(times[index]), y_axis.at(point.value)
        floor = max(y + 4, floor + 17)
        hint = tag("title", f"{point.label}: {measured(name, point.value)} in {duration(point.seconds)}")
        parts.append(tag("g", hint, _mark(x, y, point.kind)))
        if len(points) <= 14:
            parts.append(tag("path", d=f"M{x + 8} {y}L688 {floor - 4}", class_="leader"))
            parts.append(text(693, floor, point.label, "label strong" if point.kind == "chosen" else "label", room=267))
    told = "; ".join(f"{p.label}: {measured(name, p.value)}, {duration(p.seconds)}" for p in points)
    return chart(id_, (WIDTH, max(326.0, floor + 8)), f"{words.title} against training time", told, parts)


def _seconds(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def _mark(x: float, y: float, kind: str) -> Markup:
    if kind == "chosen":
        return join(tag("circle", cx=x, cy=y, r=9, class_="ring"), tag("circle", cx=x, cy=y, r=5, class_="mark strong"))
    if kind == "transfer":
        return tag("circle", cx=x, cy=y, r=5, class_="mark strong")
    if kind == "baseline":
        return tag("rect", x=x - 5, y=y - 5, width=10, height=10, class_="mark")
    size = 6 if kind == "majority" else -6
    return tag("path", d=f"M{x} {y - size}L{x + 6} {y + size * 0.7}H{x - 6}Z", class_="mark")


def calibration(id_: str, bins: Bins) -> Markup:
    """A reliability curve with the number of decisions of each bin under it."""
    x_axis, y_axis = Axis(0, 1, 56, 366), Axis(0, 1, 330, 20)
    tall = float(bins.size.max())
    spots = [
        (x_axis.at(c), y_axis.at(a), n)
        for c, a, n in zip(bins.confidence, bins.correct, bins.size.tolist(), strict=True)
    ]
    parts = [
        bottom(x_axis, 330, 20, lambda value: percent(value, 0)),
        left(y_axis, 56, 366, lambda value: percent(value, 0)),
        tag("path", d=f"M{x_axis.at(0)} {y_axis.at(0)}L{x_axis.at(1)} {y_axis.at(1)}", class_="ideal"),
        tag("path", d="M" + "L".join(f"{x} {y}" for x, y, _ in spots), class_="mark strong curve"),
        (
            tag(
                "circle",
                tag("title", f"{percent(c)} sure, {percent(a)} right, {count(n)} decisions"),
                cx=x,
                cy=y,
                r=3 + 3 * (n / tall) ** 0.5,
                class_="mark strong",
            )
            for (x, y, n), c, a in zip(spots, bins.confidence, bins.correct, strict=True)
        ),
        (
            tag("rect", x=x - 6, y=410 - 44 * n / tall, width=12, height=44 * n / tall, class_="bar")
            for x, _, n in spots
        ),
        tag("line", x1=56, x2=366, y1=410, y2=410, class_="zero"),
        text(211, 430, "how sure the model was (bars: number of decisions)", "tick", anchor="middle"),
        text(56, 10, "share that was right; dashed: perfect calibration", "tick"),
    ]
    told = "; ".join(
        f"{percent(c, 0)} sure: {percent(a, 0)} right of {n}"
        for c, a, n in zip(bins.confidence, bins.correct, bins.size.tolist(), strict=True)
    )
    return chart(id_, (400, 438), "Reliability curve", told, parts)


def values(id_: str, outcome: Outcome, limit: int = 1500) -> Markup:
    """Predicted against true values, at most ``limit`` rows evenly out of all."""
    kept = np.unique(np.linspace(0, len(outcome) - 1, min(limit, len(outcome))).astype(int))
    true, predicted = outcome.targets[kept].tolist(), outcome.output[kept].tolist()
    low, high = ticks_in([*true, *predicted], 0.04)
    x_axis, y_axis = Axis(low, high, 76, 436), Axis(low, high, 372, 20)
    parts = [
        bottom(x_axis, 372, 20, tick),
        left(y_axis, 76, 436, tick),
        tag("path", d=f"M{x_axis.at(low)} {y_axis.at(low)}L{x_axis.at(high)} {y_axis.at(high)}", class_="ideal"),
        (
            tag("circle", cx=x_axis.at(x), cy=y_axis.at(y), r=3, class_="dot")
            for x, y in zip(true, predicted, strict=True)
        ),
        text(256, 410, "true value", "tick", anchor="middle"),
        text(76, 10, "predicted value; dashed: perfect prediction", "tick"),
    ]
    error = plain(outcome.summary()["Median absolute error"])
    told = f"{len(kept)} of {len(outcome)} test rows; median absolute error {error}."
    return chart(id_, (470, 418), "Predicted against true values", told, parts)


def shares(id_: str, title: str, parts: Sequence[tuple[str, float]]) -> Markup:
    """One bar cut into shares of a whole; each share is named under it."""
    drawn: list[Markup] = []
    x = 0.0
    for index, (label, share) in enumerate(parts):
        wide = WIDTH * share
        drawn.append(
            tag(
                "rect",
                tag("title", f"{label}: {portion(share)}"),
                x=x,
                y=0,
                width=max(wide - 2, 0.5),
                height=22,
                class_=f"share s{index}",
            )
        )
        x += wide
    spot = 0.0
    for index, (label, share) in enumerate(parts):
        drawn += [
            tag("rect", x=spot, y=37, width=11, height=11, class_=f"share s{index}"),
            text(spot + 18, 47, f"{label} {portion(share)}", "label"),
        ]
        spot += 200
    told = "; ".join(f"{label}: {portion(share)}" for label, share in parts)
    return chart(id_, (WIDTH, 56), title, told, drawn)
