"""What the shipped model does on test rows: where it is right and where it errs."""

from __future__ import annotations

from headstart.report.charts import values
from headstart.report.figures import count, percent, plain, signed
from headstart.report.gallery import Card, cards, gallery
from headstart.report.heatmap import confusion_matrix
from headstart.report.markup import Child, Markup, details, facts, identifier, join, name, table, tag
from headstart.report.outcomes import LabelRow, Mistake, Outcome
from headstart.report.view import RunView

__all__ = ["ABSENT", "errors"]

MOST_CLASSES = 40
"""Above, the matrix cannot be read and the most confused pairs stand for it."""
MOST_LABELS = 500
OPEN_LABELS = 30
PAIRS = 15
MISTAKES = 20
SHOWN = 12
"""Mistakes shown with their example."""
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
    caption = (
        "The largest errors."
        if numeric
        else "Wrong predictions the model was surest of: a mistake of the model, or of the label."
    )
    shown = [mistake for mistake in found if cards(view, [mistake.id])][:SHOWN]
    head = tag("h3", "Worst mistakes")
    if not shown:
        return join(head, _mistakes(found, caption, numeric))
    terms = ("True value", "Predicted", "Error") if numeric else ("Given", "Predicted", "How sure")
    drawn = [
        Card(each.id, list(zip(terms, (name(each.given), name(each.predicted), _size(each, numeric)), strict=True)))
        for each in shown
    ]
    traced = tag("p", f"{view.attribution}.", class_="above") if view.attribution else None
    rest = details("All of these as a table", _mistakes(found, caption, numeric))
    return join(
        head, tag("p", caption, class_="above"), traced, gallery(view, drawn, "Worst mistakes", traced=True), rest
    )


def _size(mistake: Mistake, numeric: bool) -> str:
    return signed(plain(mistake.size)) if numeric else percent(mistake.size)


def _mistakes(found: list[Mistake], caption: str, numeric: bool) -> Markup:
    rows = [(identifier(one.id), name(one.given), name(one.predicted), _size(one, numeric)) for one in found]
    columns = (
        ("Example", "True value", "Predicted value", "Error")
        if numeric
        else ("Example", "Given label", "Predicted label", "How sure")
    )
    return table(caption, columns, rows, numbers=(1, 2, 3) if numeric else (3,))
