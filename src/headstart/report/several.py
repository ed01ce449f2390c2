"""Several runs on one page: what they measured, what they cost, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.report.charts import Interval, Point, costs, intervals
from headstart.report.figures import (
    DASH,
    count,
    difference,
    difference_tick,
    duration,
    measured,
    metric,
    p_value,
    places,
)
from headstart.report.markup import Child, Markup, join, name, table, tag
from headstart.report.page import frame
from headstart.report.verdict import VERDICTS
from headstart.report.view import RunView, kind_of
from headstart.stats import mcnemar

__all__ = ["render_comparison"]


def render_comparison(views: Sequence[RunView]) -> str:
    """The page of several runs, in the order they were given."""
    proved = [view for view in views if view.receipt is not None]
    found = [
        ("runs", "The runs", _runs(views)),
        ("gains", "What the transfer brought in each", _gains(proved)),
        ("pairs", "Run against run", _pairs(proved)),
        ("costs", "Result against time", _costs(proved)),
        ("settings", "Where they differ", _differences(views)),
    ]
    versions = views[0].mapping("versions") if views else {}
    sections = [(anchor, title, body) for anchor, title, body in found if body is not None]
    return frame("Comparison · Headstart report", _top(views, proved), sections, str(versions.get("headstart", "")))


def _top(views: Sequence[RunView], proved: Sequence[RunView]) -> Markup:
    best = _best(proved)
    title = f"{count(len(views))} runs compared"
    said = "They were not measured with one metric on the same test rows, so none of them can be called the best."
    if best and best[0].receipt:
        which = best[0].receipt.metric
        names = " and ".join(view.name for view in best)
        said = (
            f"Best {metric(which).lower} on the same {count(_tested(best[0]))} test rows: "
            f"{measured(which, _value(best[0]))}, by {names}. Whether a difference is more "
            "than chance stands under “Run against run”."
        )
    eyebrow = tag("p", "Headstart report · comparison", class_="eyebrow")
    return tag("header", eyebrow, tag("h1", title), tag("p", said, class_="lead"), class_="verdict", id="verdict")


def _best(proved: Sequence[RunView]) -> list[RunView]:
    """The best runs, where all were measured with one metric on the same rows; several where they are equal."""
    if len(proved) < 2 or len({_rows(view) for view in proved}) > 1:
        return []
    names = {view.receipt.metric for view in proved if view.receipt}
    if len(names) != 1 or any(math.isnan(_value(view)) for view in proved):
        return []
    lower = metric(next(iter(names))).lower_is_better
    top = (min if lower else max)(map(_value, proved))
    return [view for view in proved if _value(view) == top]


def _value(view: RunView) -> float:
    if view.receipt is None or view.chosen is None:
        return math.nan
    return float(view.chosen.test.get(view.receipt.metric, math.nan))


def _rows(view: RunView) -> tuple[Any, ...]:
    """What decides whether two runs were measured on the same rows: their names and targets."""
    targets = view.receipt.targets if view.receipt else None
    ids = view.chosen.predictions.ids if view.chosen else ()
    return (*ids, None if targets is None else np.asarray(targets).tobytes())


def _tested(view: RunView) -> int:
    return int(view.receipt.counts.get("test", 0)) if view.receipt else 0


def _runs(views: Sequence[RunView]) -> Markup:
    best = _best([view for view in views if view.receipt])
    rows: list[list[Child]] = []
    for view in views:
        receipt, chosen = view.receipt, view.chosen
        verdict = VERDICTS.get(receipt.verdict, ("", receipt.verdict))[1] if receipt else "not finished"
        rows.append(
            [
                name(view.name, 40),
                name(str(view.facts.get("data", DASH)), 30),
                verdict,
                name(chosen.name, 40) if chosen else DASH,
                metric(receipt.metric).title if receipt else DASH,
                measured(receipt.metric, _value(view)) if receipt else DASH,
                count(_tested(view)),
                duration(sum(view.seconds.values())) if view.seconds else DASH,
            ]
        )
    columns = ("Run", "Data", "Verdict", "What ships", "Metric", "Value", "Test rows", "Time")
    strong = next((at for at, view in enumerate(views) if len(best) == 1 and best[0] is view), None)
    return table("The runs in the order they were given.", columns, rows, numbers=(5, 6, 7), strong=strong)


def _gains(proved: Sequence[RunView]) -> Markup | None:
    shown = [(view, view.receipt.gains[0]) for view in proved if view.receipt and view.receipt.gains]
    metrics = {gain.metric for _, gain in shown}
    if not shown or len(metrics) > 1:
        return None
    (which,) = metrics
    rows = []
    for view, gain in shown:
        decimals = places(gain.high - gain.low)
        ends = " to ".join(difference(which, end, decimals, unit=False) for end in (gain.low, gain.high))
        words = f"{difference(which, gain.value, decimals, unit=False)} ({ends})"
        rows.append(Interval(f"{view.name}: over {gain.over}", gain.value, gain.low, gain.high, words, gain.low > 0))
    lead = tag(
        "p", f"Gain in {metric(which).lower} with its interval. Each over what stands in its row.", class_="above"
    )
    drawn = intervals(
        "gain-of-each", "Gain of each run", rows, lambda value: difference_tick(which, value),
        ("transfer worse", "transfer better"),
    )  # fmt: skip
    return join(lead, drawn)


def _pairs(proved: Sequence[RunView]) -> Markup | None:
    """Each pair of runs on the test rows they share."""
    rows: list[tuple[Child, ...]] = []
    for at, one in enumerate(proved):
        for other in proved[at + 1 :]:
            found = _shared(one, other)
            if found is not None:
                rows.append((join(name(one.name, 30), " against ", name(other.name, 30)), *found))
    if not rows:
        return None
    columns = ("Runs", "Shared test rows", "Only the first right", "Only the second right", "p-value")
    caption = "Rows that exactly one of the two gets right; exact McNemar test, not corrected for the number of pairs."
    return table(caption, columns, rows, numbers=(1, 2, 3, 4))


def _shared(one: RunView, other: RunView) -> tuple[str, str, str, str] | None:
    first, second = one.outcome, other.outcome
    if first is None or second is None or {first.problem, second.problem} != {"classification"}:
        return None
    mine = {
        id_: (str(first.labels[t]), bool(r)) for id_, t, r in zip(first.ids, first.targets, first.right, strict=True)
    }
    pairs = [
        (mine[id_][1], bool(right))
        for id_, target, right in zip(second.ids, second.targets, second.right, strict=True)
        if id_ in mine and mine[id_][0] == str(second.labels[target])
    ]
    if not pairs or one.facts.get("data") != other.facts.get("data"):
        return None
    ours, theirs = np.array(pairs, bool).T
    only = (int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))
    return count(len(pairs)), count(only[0]), count(only[1]), p_value(mcnemar(ours, theirs))


def _costs(proved: Sequence[RunView]) -> Markup | None:
    metrics = {view.receipt.metric for view in proved if view.receipt}
    if len(metrics) != 1 or len(proved) < 2:
        return None
    best = _best(proved)
    spots = [
        Point(
            view.name,
            sum(view.seconds.values()),
            _value(view),
            "chosen" if any(view is one for one in best) else kind_of(""),
        )
        for view in proved
        if not math.isnan(_value(view))
    ]
    return costs("run-costs", next(iter(metrics)), spots) if spots else None


def _differences(views: Sequence[RunView]) -> Markup | None:
    """Settings, versions and machine facts in which the runs differ."""
    rows: list[list[Child]] = []
    for part, title in (("config", "setting"), ("versions", "version"), ("machine", "machine")):
        tables = [view.mapping(part) for view in views]
        for key in dict.fromkeys(key for found in tables for key in found):
            values = [_plain(found.get(key)) for found in tables]
            if len(set(values)) > 1:
                rows.append([join(key, tag("small", title)), *(name(value, 40) for value in values)])
    if not rows:
        return tag("p", "Settings, versions and machines are the same.")
    return table("Only what differs is listed.", ("What", *(view.name for view in views)), rows)


def _plain(value: Any) -> str:
    return "not set" if value is None else str(value)
