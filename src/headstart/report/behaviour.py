"""What the shipped model does on test rows: right, wrong, and how sure it was."""

from __future__ import annotations

from headstart.report.charts import calibration as calibration_chart
from headstart.report.charts import values
from headstart.report.figures import count, percent, plain, signed
from headstart.report.heatmap import confusion_matrix
from headstart.report.markup import Child, Markup, details, facts, identifier, join, name, table, tag
from headstart.report.outcomes import LabelRow, Outcome
from headstart.report.view import RunView

__all__ = ["calibration", "errors"]

MOST_CLASSES = 40
"""Above, the matrix cannot be read and the most confused pairs stand for it."""
MOST_LABELS = 500
OPEN_LABELS = 30
PAIRS = 15
MISTAKES = 20
ABSENT = "The run holds no per-example test predictions with their targets, so this cannot be shown."


def errors(view: RunView) -> Markup | None:
    """Where the model is right and where it errs, down to examples."""
    outcome = view.outcome
    if outcome is None:
        return tag("p", ABSENT, class_="missing")
    if outcome.problem == "regression":
        return join(tag("div", values("values", outcome), _residuals(outcome), class_="pair"), _worst(view, outcome))
    matrix = None
    if outcome.problem == "classification" and len(outcome.labels) <= MOST_CLASSES:
        counts = outcome.confusion()
        matrix = join(tag("h3", "Confusion matrix"), confusion_matrix("confusion", counts, outcome.labels))
    pairs = _pairs(outcome) if outcome.problem == "classification" else None
    return join(matrix, pairs, tag("h3", "By label"), _labels(outcome), _worst(view, outcome))


def calibration(view: RunView) -> Markup | None:
    """Whether the probabilities mean what they say; nothing for regression."""
    outcome = view.outcome
    if outcome is None:
        return tag("p", ABSENT, class_="missing") if view.task is None or view.task.problem != "regression" else None
    if outcome.problem == "regression":
        return None
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
    return tag(
        "div",
        calibration_chart("reliability", bins),
        tag("div", said, details("The curve as a table", listed)),
        class_="pair",
    )


def _residuals(outcome: Outcome) -> Markup:
    rows: list[tuple[Child, Child]] = [
        (term, signed(plain(size)) if "bias" in term else plain(size)) for term, size in outcome.summary().items()
    ]
    return tag(
        "div",
        tag("h3", "Errors, predicted minus true"),
        facts([("Test rows", count(len(outcome))), *rows], "facts narrow"),
    )


def _pairs(outcome: Outcome) -> Markup:
    found = outcome.confused(PAIRS)
    if not found:
        return tag("p", f"All {count(len(outcome))} test rows are right: there is nothing to confuse.")
    totals = {row.label: row.given for row in outcome.by_label()}
    rows = []
    for given, predicted, size in found:
        label = outcome.labels[given]
        rows.append(
            (
                name(label),
                name(outcome.labels[predicted]),
                count(size),
                f"{percent(size / max(1, totals[label]), 0)} of {count(totals[label])}",
            )
        )
    wrong = int((~outcome.right).sum())
    caption = f"The most frequent of {count(wrong)} mistakes."
    listed = table(
        caption, ("Given label", "Predicted label", "Test rows", "Share of the given label"), rows, numbers=(2, 3)
    )
    return join(tag("h3", "Most confused pairs"), listed)


def _labels(outcome: Outcome) -> Markup:
    rows = outcome.by_label()
    columns = ("Label", "Test rows", "Predicted", "Precision", "Recall", "F1")

    def listed(part: list[LabelRow], caption: str) -> Markup:
        cells = [
            (name(r.label), count(r.given), count(r.predicted), percent(r.precision), percent(r.recall), percent(r.f1))
            for r in part
        ]
        return table(caption, columns, cells, numbers=range(1, 6))

    most = f"{count(len(rows))} labels, the one found least first."
    if len(rows) <= OPEN_LABELS:
        return listed(rows, most)
    rest = rows[OPEN_LABELS:MOST_LABELS]
    beyond = f" The first {count(MOST_LABELS)} are shown." if len(rows) > MOST_LABELS else ""
    return join(
        listed(rows[:OPEN_LABELS], most + beyond),
        details(f"{count(len(rest))} more labels", listed(rest, "The other labels.")),
    )


def _worst(view: RunView, outcome: Outcome) -> Markup | None:
    found = outcome.mistakes(MISTAKES)
    if not found:
        return None
    numeric = outcome.problem == "regression"
    rows: list[tuple[Child, ...]] = []
    for mistake in found:
        shown = view.texts.get(mistake.id)
        example = (
            join(name(shown, 160), tag("small", identifier(mistake.id)))
            if isinstance(shown, str)
            else identifier(mistake.id)
        )
        size = signed(plain(mistake.size)) if numeric else percent(mistake.size)
        rows.append((example, name(mistake.given), name(mistake.predicted), size))
    caption = (
        "The largest errors."
        if numeric
        else "Wrong predictions the model was surest of: a mistake of the model, or of the label."
    )
    columns = (
        ("Example", "True value", "Predicted value", "Error")
        if numeric
        else ("Example", "Given label", "Predicted label", "How sure")
    )
    return join(tag("h3", "Worst mistakes"), table(caption, columns, rows, numbers=(1, 2, 3) if numeric else (3,)))
