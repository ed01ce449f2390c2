"""The top of the page: the verdict in a sentence, its interval, the key facts."""

from __future__ import annotations

import math

from headstart.report.charts import Interval, intervals
from headstart.report.figures import (
    DASH,
    count,
    difference,
    difference_tick,
    duration,
    measured,
    metric,
    p_value,
    percent,
    places,
)
from headstart.report.markup import Child, Markup, facts, join, name, table, tag
from headstart.report.view import STEPS, RunView
from headstart.types import ArmResult, Gain, Receipt

__all__ = ["evidence", "masthead", "rows_right"]

VERDICTS = {
    "helped": ("▲", "The transfer helped"),
    "no evidence": ("■", "No evidence that the transfer helped"),
    "negative transfer": ("▼", "The transfer did worse"),
}
STEP_WORDS = {
    "read": "Data read",
    "split": "Rows split",
    "rank": "Sources ranked",
    "initialize": "Weights initialized",
    "adapt": "Arms trained",
    "prove": "Proved on test rows",
    "audit": "Data audited",
    "exhibit": "Examples prepared for this page",
    "ship": "Bundle written",
}


def masthead(view: RunView) -> Markup:
    """The verdict, the figures behind it and the facts a reader asks for first."""
    receipt = view.receipt
    if receipt is None:
        return _unproved(view)
    sign, title = VERDICTS.get(receipt.verdict, ("■", receipt.verdict.strip().capitalize() or "No verdict"))
    slug = receipt.verdict.replace(" ", "-") if receipt.verdict in VERDICTS else "no-evidence"
    return tag(
        "header",
        _eyebrow(view),
        tag("h1", tag("span", sign, class_="sign", aria_hidden="true"), " ", title),
        tag("p", receipt.sentence, class_="lead"),
        _headlines(view, receipt),
        _forest(receipt),
        facts(_key_facts(view, receipt)),
        class_=f"verdict {slug}",
        id="verdict",
    )


def evidence(view: RunView) -> Markup | None:
    """The gains with their procedures, what the test could detect, what was not measured."""
    receipt = view.receipt
    if receipt is None:
        return tag(
            "p",
            "The proof has not run: no test row has been opened, so nothing can be said about a gain.",
            class_="missing",
        )
    rows = [
        (
            join("over ", name(gain.over)),
            metric(gain.metric).title,
            _difference(gain),
            _range(gain),
            p_value(gain.p_value),
            gain.test,
        )
        for gain in receipt.gains
    ]
    level = percent(receipt.gains[0].level, 0) if receipt.gains else "95%"
    columns = ("Gain", "Metric", "Difference", f"{level} interval", "p-value", "Procedure")
    found = table(
        "Paired differences on the same test rows; positive means the transfer is better.",
        columns,
        rows,
        numbers=(2, 3, 4),
        strong=0,
    )
    said = tag("p", _detectable(receipt))
    notes = tag("ul", (tag("li", note) for note in receipt.notes)) if receipt.notes else None
    return join(found if rows else tag("p", "No paired difference was measured.", class_="missing"), said, notes)


def rows_right(view: RunView, arm: ArmResult) -> str | None:
    """How many test rows an arm got right, as a sentence part; None where that is not a count."""
    share, rows = arm.test.get("accuracy"), _test_rows(view, arm)
    if share is None or not math.isfinite(share) or not rows:
        return None
    return f"{count(round(share * rows))} of {count(rows)}"


def _test_rows(view: RunView, arm: ArmResult) -> int:
    counted = view.receipt.counts.get("test", 0) if view.receipt else 0
    return int(arm.test.get("n") or len(arm.predictions.ids) or counted)


def _eyebrow(view: RunView) -> Markup:
    return tag("p", "Headstart report · ", name(view.name), class_="eyebrow")


def _unproved(view: RunView) -> Markup:
    steps = [
        tag(
            "li",
            tag("span", "●" if step in view.done else "○", aria_hidden="true"),
            f" {STEP_WORDS[step]}: ",
            "done" if step in view.done else "not yet",
        )
        for step in STEPS
    ]
    return tag(
        "header",
        _eyebrow(view),
        tag("h1", "No verdict yet"),
        tag(
            "p",
            "This run is not finished. Run the same command again: finished steps are kept, and this page fills up.",
            class_="lead",
        ),
        tag("ol", steps, class_="steps"),
        class_="verdict no-evidence",
        id="verdict",
    )


def _headlines(view: RunView, receipt: Receipt) -> Markup:
    tiles: list[tuple[str, str, Child]] = []
    if receipt.gains:
        gain = receipt.gains[0]
        tiles.append((f"gain over {gain.over}", _difference(gain), f"{percent(gain.level, 0)} interval {_range(gain)}"))
    if view.chosen is not None:
        right = rows_right(view, view.chosen)
        rows = f"{right} test rows right" if right else f"on {count(_test_rows(view, view.chosen))} test rows"
        tiles.append(
            (metric(receipt.metric).lower, measured(receipt.metric, view.chosen.test.get(receipt.metric)), rows)
        )
    if seconds := view.seconds:
        tiles.append(("time for the whole job", duration(sum(seconds.values())), _threads(view)))
    items = (
        tag("div", tag("dt", name(term, 44)), tag("dd", tag("strong", figure), tag("span", under)))
        for term, figure, under in tiles
    )
    return tag("dl", items, class_="headlines")


def _threads(view: RunView) -> str | None:
    threads = view.mapping("machine").get("threads")
    if not isinstance(threads, int) or not threads:
        return None
    return f"{count(threads)} processor thread{'' if threads == 1 else 's'}"


def _range(gain: Gain) -> str:
    decimals = places(gain.high - gain.low)
    return " to ".join(difference(gain.metric, end, decimals, unit=False) for end in (gain.low, gain.high))


def _difference(gain: Gain, unit: bool = True) -> str:
    return difference(gain.metric, gain.value, places(gain.high - gain.low), unit)


def _detectable(receipt: Receipt) -> str:
    if receipt.detectable_gain is None:
        return "The smallest gain that this test can detect is not known."
    size = difference(receipt.metric, receipt.detectable_gain).lstrip("+")
    return f"A true gain of {size} would be found by 80% of such tests; a smaller one more rarely."


def _drawable(gain: Gain) -> bool:
    return all(math.isfinite(x) for x in (gain.value, gain.low, gain.high))


def _forest(receipt: Receipt) -> Markup | None:
    if not receipt.gains or not _drawable(receipt.gains[0]):
        return None
    first = receipt.gains[0]
    alike = [gain for gain in receipt.gains if gain.metric == first.metric and _drawable(gain)][:12]
    rows = [
        Interval(
            f"over {gain.over}",
            gain.value,
            gain.low,
            gain.high,
            f"{_difference(gain, unit=False)} ({_range(gain)})",
            gain is first,
        )
        for gain in alike
    ]
    words = metric(first.metric)
    gained = "Reduction of" if words.lower_is_better else "Gain in"
    title = f"{gained} {words.lower}{' in points' if words.share else ''}, with {percent(first.level, 0)} interval"
    drawn = intervals(
        "gains", title, rows, lambda value: difference_tick(first.metric, value), ("transfer worse", "transfer better")
    )
    return join(tag("p", title, ". The verdict rests on the first row.", class_="above"), drawn)


def _key_facts(view: RunView, receipt: Receipt) -> list[tuple[Child, Child]]:
    counts = receipt.counts
    rows = " · ".join(f"{count(counts[part])} {part}" for part in ("train", "validation", "test") if part in counts)
    found: list[tuple[Child, Child]] = [
        (
            "What ships",
            join(name(view.chosen.method), " on ", name(view.chosen.source)) if view.chosen else name(receipt.chosen),
        )
    ]
    if view.task is not None:
        kind = f"{view.task.modality} {view.task.problem}"
        found.append(("Task", f"{kind}, {count(len(view.task.labels))} labels" if view.task.labels else kind))
    found.append(("Rows", rows or DASH))
    if view.done and "read" in view.done:
        found.append(("Left out", f"{count(len(view.excluded))} examples" if view.excluded else "nothing"))
    found.append(("Same model from scratch", receipt.scratch_twin or "not measured"))
    return found
