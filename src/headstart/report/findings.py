"""What the audit found: what is wrong with the data, how bad it is, what to do."""

from __future__ import annotations

from headstart.report.figures import count, measured, metric
from headstart.report.gallery import Card, cards, example, gallery
from headstart.report.markup import Child, Markup, clip, details, identifier, join, name, table, tag
from headstart.report.view import RunView
from headstart.types import Audit, Finding

__all__ = ["audit"]

SEVERITY = {"serious": ("▲", "Serious"), "look": ("■", "Worth a look"), "note": ("●", "For information")}
NAMED = 20
SUSPECTS = 12
PREVIEWED = 6
LABELS = "labels that look wrong"


def audit(view: RunView) -> Markup | None:
    """Findings, the worst first; nothing where no audit was made."""
    found = view.audit
    if found is None:
        return None
    serious = sum(one.severity == "serious" for one in found.findings)
    looked = f"{count(found.examples)} examples were looked at. "
    said = (
        "Nothing was found."
        if not found.findings
        else f"Findings: {count(len(found.findings))}, of them {count(serious)} serious."
    )
    return join(
        tag("p", looked, said, " None of this decided anything in the run."),
        _leaking(view, found),
        [_finding(view, one, found) for one in found.findings],
        tag("p", "Looked for: ", ", ".join(found.checked), ".", class_="above"),
    )


def _leaking(view: RunView, found: Audit) -> Markup | None:
    """The score with and without leaking test rows."""
    receipt = view.receipt
    if receipt is None or not found.without_leaking:
        return None
    rows: list[tuple[Child, ...]] = []
    for arm in receipt.arms:
        clean = found.without_leaking.get(arm.name)
        if clean is not None:
            rows.append(
                (
                    name(arm.name, 40),
                    measured(receipt.metric, arm.test.get(receipt.metric)),
                    measured(receipt.metric, clean.get(receipt.metric)),
                )
            )
    which = f"the {count(len(found.leaking))} test rows that have a copy outside the test"
    title = f"{metric(receipt.metric).title} with and without {which}."
    columns = ("Arm", f"All {count(receipt.counts.get('test'))} test rows", "Without leaking rows")
    return table(title, columns, rows, numbers=(1, 2)) if rows else None


def _finding(view: RunView, one: Finding, found: Audit) -> Markup:
    sign, words = SEVERITY.get(one.severity, ("●", one.severity))
    head = tag("h3", tag("span", sign, class_=f"sign {one.severity}", aria_hidden="true"), " ", one.kind.capitalize())
    told = tag("p", tag("strong", f"{words}. "), one.sentence, " ", one.advice)
    if one.kind == LABELS and cards(view, [suspect.id for suspect in found.suspects[:SUSPECTS]]):
        return tag("div", head, told, _suspects(view, found), class_="finding")
    remarks = one.remarks or ("",) * len(one.examples)
    rows = [
        ([tag("div", identifier(each)) for each in names[:PREVIEWED]], name(clip(remark, 160), 90) if remark else "")
        for names, remark in list(zip(one.examples, remarks, strict=True))[:NAMED]
    ]
    listed = (
        details(f"Examples ({count(len(rows))})", table(one.kind.capitalize(), ("Example", "Remark"), rows))
        if rows
        else None
    )
    return tag("div", head, told, _previews(view, one), listed, class_="finding")


def _previews(view: RunView, one: Finding) -> Markup | None:
    """Pictures of what belongs together, for findings about several examples."""
    groups = [names for names in one.examples[:PREVIEWED] if len(names) > 1 and cards(view, names)]
    if not groups:
        return None
    shown = [
        tag("li", [example(view.exhibits.get(each), each) for each in names[:3]], class_="group") for names in groups
    ]
    return tag("ul", shown, class_="groups", aria_label=f"Previews: {one.kind}")


def _suspects(view: RunView, found: Audit) -> Markup:
    shown = [
        Card(one.id, [("Given", name(one.given)), ("Looks like", name(one.likely))])
        for one in found.suspects[:SUSPECTS]
    ]
    return gallery(view, shown, "Labels that look wrong")
