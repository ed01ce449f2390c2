"""How far the shipped model can be trusted: calibration, abstention, and sets with a promise."""

from __future__ import annotations

import numpy as np

from headstart.report.behaviour import ABSENT
from headstart.report.charts import calibration as calibration_chart
from headstart.report.figures import count, percent, plain
from headstart.report.lines import Series, curves
from headstart.report.markup import Markup, details, join, table, tag
from headstart.report.outcomes import Outcome
from headstart.report.view import RunView

__all__ = ["calibration"]

ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Shares of rows that the abstention table names."""
STEPS = 60
"""Points of the abstention curve."""


def calibration(view: RunView) -> Markup | None:
    """Whether probabilities mean what they say, what abstaining buys, and sets that keep a promise."""
    outcome = view.outcome
    if outcome is None:
        return tag("p", ABSENT, class_="missing") if view.task is None or view.task.problem != "regression" else None
    if outcome.problem == "regression":
        return _sets(view)
    bins = outcome.bins()
    sure, right = float(outcome.confidence.mean()), float(outcome.right.mean())
    lean = (
        "about as sure as it should be"
        if abs(sure - right) < 0.01
        else "too sure"
        if sure > right
        else "less sure than it could be"
    )
    said = tag(
        "p",
        "The expected calibration error (ECE) is ",
        tag("strong", percent(bins.error)),
        ": the average gap between how sure the model was and how often it was right. "
        f"It was {percent(sure)} sure on average and right {percent(right)} of the time, "
        f"so it is on the whole {lean}.",
    )
    rows = [
        (percent(c), percent(a), count(n))
        for c, a, n in zip(bins.confidence, bins.correct, bins.size.tolist(), strict=True)
    ]
    listed = table(
        "The bins of the curve.", ("How sure, on average", "Share that was right", "Decisions"), rows, numbers=(0, 1, 2)
    )
    drawn = tag(
        "div",
        calibration_chart("reliability", bins),
        tag("div", said, _warmed(view), details("The curve as a table", listed)),
        class_="pair",
    )
    return join(drawn, _abstention(view, outcome), _sets(view))


def _warmed(view: RunView) -> Markup | None:
    """What the temperature changed."""
    found = view.receipt.calibration if view.receipt else None
    if found is None:
        return None
    return tag(
        "p",
        f"Before its temperature of {plain(found.temperature)} the error was {percent(found.ece_before)}, "
        f"after it {percent(found.ece)}. The temperature was set without test rows.",
    )


def _abstention(view: RunView, outcome: Outcome) -> Markup | None:
    """Accuracy against the share of rows that is answered, the surest first."""
    if outcome.problem != "classification" or len(outcome) < 2:
        return None
    found = view.receipt.calibration if view.receipt else None
    if found is not None and len(found.coverage) > 1:
        shares, right = np.asarray(found.coverage, np.float64), np.asarray(found.accuracy, np.float64)
    else:
        order = np.argsort(-outcome.confidence, kind="stable")
        shares = np.arange(1, len(order) + 1) / len(order)
        right = outcome.right[order].cumsum() / np.arange(1, len(order) + 1)
    at = [int(np.argmin(np.abs(shares - share))) for share in ANSWERED]
    rows = [(percent(shares[k], 0), percent(right[k])) for k in dict.fromkeys(at)]
    kept = np.unique(np.linspace(len(shares) // 20, len(shares) - 1, min(STEPS, len(shares))).astype(int))
    drawn = curves(
        "abstention",
        "Accuracy by share of rows answered",
        "; ".join(f"{answered} answered: {correct} right" for answered, correct in rows),
        [Series("shipped model", [(float(shares[k]), float(right[k])) for k in kept], strong=True)],
        (lambda value: percent(value, 0), lambda value: percent(value, 0)),
        ("share of rows that is answered, the surest first", "share of the answers that is right"),
        marked=False,
    )
    said = tag("p", "A model that may say “ask a person” when it is unsure is right more often on the rest.")
    listed = table("What abstaining buys.", ("Rows answered", "Of these right"), rows, numbers=(0, 1))
    return join(tag("h3", "Leaving the unsure ones to a person"), said, drawn, details("The curve as a table", listed))


def _sets(view: RunView) -> Markup | None:
    """Split-conformal sets or intervals."""
    found = view.receipt.conformal if view.receipt else None
    if found is None:
        return None
    numeric = view.task is not None and view.task.problem == "regression"
    what = "an interval around the value" if numeric else "a set of labels"
    said = [
        f"Instead of one answer the model can give {what} that holds the truth in {percent(found.level, 0)} of cases. "
    ]
    if found.coverage is not None:
        ends = f" (95% interval {percent(found.low)} to {percent(found.high)})" if found.low is not None else ""
        said.append(f"On the test rows it did so in {percent(found.coverage)}{ends}. ")
    if found.size is not None:
        said.append(
            f"The interval is {plain(found.size)} wide. "
            if numeric
            else f"The set has {plain(found.size)} labels on average. "
        )
    said.append(f"It was set by {count(found.rows)} rows outside the test (split conformal prediction).")
    return join(tag("h3", "Answers with a promise"), tag("p", said))
