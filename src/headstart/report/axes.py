"""The ground of every chart: scales, ticks, text that fits, and the accessible frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headstart.report.markup import Child, Markup, clip, join, scrolling, tag

__all__ = ["Axis", "bottom", "chart", "left", "linear_ticks", "text", "ticks_in"]

COLUMN = 7.6
"""Width of one text column in user units, on the wide side for 13-unit system fonts."""


@dataclass(frozen=True)
class Axis:
    """A scale from data to user units."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Position of a value."""
        low, high, here = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * (here - low) / ((high - low) or 1), 2)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the scale."""
        return linear_ticks(self.low, self.high, wanted)


def linear_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high], about as many as wanted.

    >>> linear_ticks(-0.02, 0.11, 4)
    [0.0, 0.05, 0.1]
    """
    rough = max((high - low) / wanted, 1e-12 * max(abs(low), abs(high)), 1e-300)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def ticks_in(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """The range of values with a margin on both sides."""
    low, high = min(values), max(values)
    margin = share * (high - low) or 0.1 * abs(high) or 0.1
    return low - margin, high + margin


def text(
    x: float, y: float, words: str, class_: str | None = None, *, anchor: str | None = None, room: float = math.inf
) -> Markup:
    """A line of text; what does not fit into ``room`` user units is cut and kept as a tooltip."""
    short = words if math.isinf(room) else clip(words, max(4, int(room / COLUMN)))
    hint = None if short == words else tag("title", clip(words, 300))
    return tag("text", hint, short, x=x, y=y, class_=class_, text_anchor=anchor)


def bottom(
    axis: Axis, y: float, top: float, write: Callable[[float], str], ticks: Sequence[float] | None = None
) -> Markup:
    """Ticks of a horizontal axis with grid lines up to ``top``; round values, or those given."""
    return join(
        [tag("line", x1=x, x2=x, y1=top, y2=y, class_="grid"), text(x, y + 18, write(tick), "tick", anchor="middle")]
        for tick in (axis.ticks() if ticks is None else ticks)
        for x in [axis.at(tick)]
    )


def left(axis: Axis, x: float, right: float, write: Callable[[float], str]) -> Markup:
    """Ticks of a vertical axis with grid lines out to ``right``."""
    return join(
        [tag("line", x1=x, x2=right, y1=y, y2=y, class_="grid"), text(x - 8, y + 4, write(tick), "tick", anchor="end")]
        for tick in axis.ticks()
        for y in [axis.at(tick)]
    )


def chart(
    id_: str, size: tuple[float, float], title: str, description: str, *children: Child, caption: Child = None
) -> Markup:
    """A figure with a drawing that reads as one image: a title, and its content in words.

    Args:
        id_: Unique in the page.
        size: Width and height in user units, which are CSS pixels where there is room.
        title: What the drawing shows.
        description: What a person who cannot see it needs.
        children: The drawing.
        caption: Shown under it.
    """
    drawing = tag(
        "svg",
        tag("title", title, id=f"{id_}-title"),
        tag("desc", description, id=f"{id_}-text"),
        children,
        viewBox=f"0 0 {size[0]:.6g} {size[1]:.6g}",
        width=size[0],
        height=size[1],
        role="img",
        aria_labelledby=f"{id_}-title {id_}-text",
    )
    return tag("figure", scrolling(title, drawing), tag("figcaption", caption) if caption else None, id=id_)
