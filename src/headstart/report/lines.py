"""Curves as vector drawings: learning curves, and accuracy against the share of rows that is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headstart.report.axes import Axis, bottom, chart, left, text, ticks_in
from headstart.report.markup import Markup, join, tag

__all__ = ["Series", "curves"]

WIDTH, RIGHT, TOP, FLOOR = 960.0, 690.0, 26.0, 300.0
MARKS = ("circle", "square", "up", "down")


@dataclass(frozen=True)
class Series:
    """One curve: points from left to right, with the spread around each where it is known."""

    label: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[tuple[float, float]] = ()
    strong: bool = False


def curves(
    id_: str,
    title: str,
    told: str,
    series: Sequence[Series],
    write: tuple[Callable[[float], str], Callable[[float], str]],
    words: tuple[str, str],
    ticks: Sequence[float] | None = None,
    log: bool = False,
    marked: bool = True,
) -> Markup:
    """Curves with their names at their right ends; told apart by mark and dash, not by colour alone.

    Args:
        id_: Unique in the page.
        title: What the drawing shows.
        told: Its content in words.
        series: The curves.
        write: Writes ticks of the two axes.
        words: What stands on the two axes.
        ticks: Of the horizontal axis; None: round ones.
        log: Whether that axis is logarithmic.
        marked: Whether points have marks.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + [y for one in series for pair in one.spread for y in pair]
    low, high = (min(xs) / 1.15, max(xs) * 1.15) if log else ticks_in(xs, 0.02)
    across = Axis(low, high, 76, RIGHT, log=log)
    upright = Axis(*ticks_in(ys, 0.1), FLOOR, TOP)
    drawn = [
        bottom(across, FLOOR, TOP, write[0], ticks),
        left(upright, 76, RIGHT, write[1]),
        text((76 + RIGHT) / 2, FLOOR + 38, words[0], "tick", anchor="middle"),
        text(76, 12, words[1], "tick"),
    ]
    drawn += [_band(one, across, upright) for one in series if one.spread]
    ends = sorted(range(len(series)), key=lambda at: -series[at].points[-1][1])
    floor = -100.0
    for at in ends:
        one = series[at]
        x, y = across.at(one.points[-1][0]), upright.at(one.points[-1][1])
        floor = max(y + 4, floor + 18)
        drawn.append(_line(one, at, across, upright, marked))
        drawn.append(tag("path", d=f"M{x + 8} {y}L{RIGHT + 8} {floor - 4}", class_="leader"))
        drawn.append(
            text(RIGHT + 13, floor, one.label, "label strong" if one.strong else "label", room=WIDTH - RIGHT - 13)
        )
    return chart(id_, (WIDTH, max(FLOOR + 46, floor + 8)), title, told, drawn)


def _line(one: Series, at: int, across: Axis, upright: Axis, marked: bool) -> Markup:
    spots = [(across.at(x), upright.at(y)) for x, y in one.points]
    kind = " strong" if one.strong else f" dash{at % 4}"
    path = tag("path", d="M" + "L".join(f"{x} {y}" for x, y in spots), class_=f"curve{kind}")
    dots = [_dot(x, y, MARKS[at % 4], kind) for x, y in spots] if marked else []
    return join(path, dots)


def _dot(x: float, y: float, mark: str, kind: str) -> Markup:
    look = "mark strong" if "strong" in kind else "mark"
    if mark == "circle":
        return tag("circle", cx=x, cy=y, r=4.5, class_=look)
    if mark == "square":
        return tag("rect", x=x - 4, y=y - 4, width=8, height=8, class_=look)
    size = 5 if mark == "up" else -5
    return tag("path", d=f"M{x} {y - size}L{x + 5} {y + size * 0.7}H{x - 5}Z", class_=look)


def _band(one: Series, across: Axis, upright: Axis) -> Markup:
    above = [(across.at(x), upright.at(high)) for (x, _), (_, high) in zip(one.points, one.spread, strict=True)]
    below = [(across.at(x), upright.at(low)) for (x, _), (low, _) in zip(one.points, one.spread, strict=True)]
    edge = "L".join(f"{x} {y}" for x, y in [*above, *reversed(below)])
    return tag("path", d=f"M{edge}Z", class_="band strong" if one.strong else "band")
