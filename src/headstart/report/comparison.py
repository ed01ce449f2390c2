"""What competed: the arms with their costs, and the sources they started from."""

from __future__ import annotations

import math
from collections.abc import Iterable

from headstart.report.charts import Interval, Point, costs, intervals
from headstart.report.figures import DASH, count, duration, fixed, measured, metric, places, plain, tick
from headstart.report.markup import Child, Markup, clip, details, join, name, table, tag
from headstart.report.verdict import rows_right
from headstart.report.view import RunView, kind_of
from headstart.types import Arm, ArmResult, RankedSource, Ranking, Receipt

__all__ = ["arms", "ranking"]

MOST_ARMS = 60
MOST_SOURCES = 200
DRAWN = 20


def arms(view: RunView) -> Markup | None:
    """Every arm on the same test rows, and what each cost."""
    if view.receipt is None:
        return _untested(view.arms)
    receipt = view.receipt
    kept = sorted(receipt.arms, key=lambda arm: _order(receipt, arm))[:MOST_ARMS]
    if not kept:
        return tag("p", "The receipt holds no arms.", class_="missing")
    names = _metrics(receipt, kept)
    rows = [_arm_row(view, receipt, arm, names) for arm in kept]
    chosen = next((at for at, arm in enumerate(kept) if arm.name == receipt.chosen), None)
    columns = ["Arm", *(_heading(each) for each in names), "Validation", "Time"]
    caption = (
        f"All arms on the same {count(receipt.counts.get('test'))} test rows; ↑ higher is better, ↓ lower is better."
    )
    return join(
        table(caption, columns, rows, numbers=range(1, len(columns)), strong=chosen),
        _more(len(receipt.arms), MOST_ARMS, "arms"),
        _costs(receipt, kept),
    )


def ranking(view: RunView) -> Markup | None:
    """The sources by score with their uncertainty; failures with their reasons."""
    found = view.ranking
    if found is None:
        return tag("p", "No ranking is stored in this run.", class_="missing")
    good = [row for row in found.rows if row.score is not None and math.isfinite(row.score)]
    bad = [row for row in found.rows if row not in good]
    tied = sum(row.tied for row in good)
    among = f", the first of {count(tied)} that these rows cannot tell apart" if tied > 1 else ""
    lead = tag(
        "p",
        f"{count(len(good))} sources were scored on {count(found.examples)} train rows; nothing was trained for it. ",
        "Higher is better. ",
        tag("strong", name(found.chosen)),
        f" was chosen{among}.",
    )
    decimals = _decimals(good)
    rows = [_source_row(row, found, decimals) for row in good[:MOST_SOURCES]]
    chosen = next((at for at, row in enumerate(good[:MOST_SOURCES]) if row.source == found.chosen), None)
    columns = (
        "Source",
        "Rank",
        f"Score ({found.score})",
        "Standard error",
        "Tied with best",
        "Parameters",
        "Licence",
        "Time",
    )
    caption = f"Sources, best first by {found.order.replace('_', ' ')}; rank: 90% interval."
    listed = table(caption, columns, rows, numbers=(1, 2, 3, 5, 7), strong=chosen) if rows else None
    return join(
        lead,
        _scores(good[:DRAWN], found, decimals),
        listed,
        _more(len(good), MOST_SOURCES, "sources"),
        _others(good[:MOST_SOURCES], found),
        _failures(bad),
    )


def _costs(receipt: Receipt, kept: list[ArmResult]) -> Markup | None:
    spots = [
        Point(arm.name, arm.seconds, value, "chosen" if arm.name == receipt.chosen else kind_of(arm.name))
        for arm in kept
        if math.isfinite(value := arm.test.get(receipt.metric, math.nan)) and math.isfinite(arm.seconds)
    ]
    if not spots:
        return None
    key = "● transfer arm, ringed: ships · ■ classical baseline · ▲ majority class · ▼ trained from scratch"
    return join(tag("h3", "Arms against cost"), tag("p", key, class_="above"), costs("costs", receipt.metric, spots))


def _order(receipt: Receipt, arm: ArmResult) -> tuple[bool, float]:
    value = arm.test.get(receipt.metric, math.nan)
    return math.isnan(value), value if metric(receipt.metric).lower_is_better else -value


def _metrics(receipt: Receipt, kept: Iterable[ArmResult]) -> list[str]:
    seen = dict.fromkeys([receipt.metric, *(each for arm in kept for each in arm.test)])
    return [each for each in seen if each != "n"][:8]


def _heading(each: str) -> str:
    words = metric(each)
    return f"{words.title}\u00a0{'↓' if words.lower_is_better else '↑'}"


def _arm_row(view: RunView, receipt: Receipt, arm: ArmResult, names: list[str]) -> list[Child]:
    figures: list[Child] = []
    for each in names:
        right = rows_right(view, arm) if each == "accuracy" else None
        figures.append(join(measured(each, arm.test.get(each)), tag("small", right) if right else None))
    parts = [part for part in (arm.method, arm.source) if part not in ("", "none") and part not in arm.name]
    title = join(
        name(arm.name, 40),
        tag("small", [join(" · " if at else None, name(part, 32)) for at, part in enumerate(parts)]) if parts else None,
        tag("small", "● ships") if arm.name == receipt.chosen else None,
    )
    held = measured(receipt.metric, arm.validation.get(receipt.metric))
    return [title, *figures, held, duration(arm.seconds)]


def _untested(trained: tuple[Arm, ...]) -> Markup:
    if not trained:
        return tag("p", "No arm has been trained yet.", class_="missing")
    rows = [(name(arm.name), name(arm.source), name(arm.method), duration(arm.seconds)) for arm in trained[:MOST_ARMS]]
    listed = table(
        "Trained arms; none has been measured on test rows yet.",
        ("Arm", "Source", "Method", "Time"),
        rows,
        numbers=(3,),
    )
    return join(listed, _more(len(trained), MOST_ARMS, "arms"))


def _decimals(rows: list[RankedSource]) -> int:
    """Decimals at which the smallest standard error has two digits."""
    errors = [row.standard_error for row in rows if row.standard_error and math.isfinite(row.standard_error)]
    return places(min(errors)) if errors else 3


def _source_row(row: RankedSource, found: Ranking, decimals: int) -> list[Child]:
    title = join(name(row.source, 40), tag("small", "● chosen") if row.source == found.chosen else None)
    tied = "yes" if row.tied else f"no; left after {count(row.rows)} rows" if row.left else "no"
    size = f"{row.parameters / 1e6:,.1f} M" if row.parameters else DASH
    licence = name(row.licence, 28) if row.licence else DASH
    return [
        title,
        _span(row),
        fixed(row.score, decimals),
        fixed(row.standard_error, decimals),
        tied,
        size,
        licence,
        duration(row.seconds),
    ]


def _span(row: RankedSource) -> str:
    """The interval of the rank."""
    if row.rank_low is None or row.rank_high is None:
        return DASH
    low, high = count(row.rank_low), count(row.rank_high)
    return low if low == high else f"{low}–{high}"


def _scores(rows: list[RankedSource], found: Ranking, decimals: int) -> Markup | None:
    if len(rows) < 2:
        return None
    drawn = []
    for row in rows:
        score, known = float(row.score or 0), row.standard_error is not None and math.isfinite(row.standard_error)
        error = float(row.standard_error or 0) if known else 0.0
        words = fixed(score, decimals) + (f" ± {fixed(error, decimals)}" if known else "")
        drawn.append(Interval(row.source, score, score - error, score + error, words, row.source == found.chosen))
    return intervals("scores", "Score of each source, with one standard error", drawn, tick)


def _others(rows: list[RankedSource], found: Ranking) -> Markup | None:
    names = [each for each in dict.fromkeys(each for row in rows for each in row.scores) if each != found.score][:8]
    if not names:
        return None
    cells = [(name(row.source, 40), *(plain(row.scores.get(each)) for each in names)) for row in rows]
    listed = table(
        "Every other score of the same sources; higher is better.",
        ("Source", *names),
        cells,
        numbers=range(1, 1 + len(names)),
    )
    return details("Other scores", listed)


def _failures(rows: list[RankedSource]) -> Markup | None:
    if not rows:
        return None
    cells = [(name(row.source, 40), clip(row.error or "no reason stored", 300)) for row in rows[:MOST_SOURCES]]
    return join(
        tag("h3", "Sources that could not be used"), table("Left out of the ranking.", ("Source", "Reason"), cells)
    )


def _more(there: int, shown: int, what: str) -> Markup | None:
    return (
        tag("p", f"The first {count(shown)} of {count(there)} {what} are shown.", class_="above")
        if there > shown
        else None
    )
