"""Where everything came from: weights, data, and what it takes to do it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from headstart.report.charts import shares
from headstart.report.figures import count, duration, portion, tick
from headstart.report.markup import Child, Markup, clip, details, facts, identifier, join, name, table, tag
from headstart.report.view import STEPS, RunView
from headstart.types import Exclusion, LedgerRow

__all__ = ["data", "reproduce", "weights"]

MOST_TENSORS = 400
MOST_EXCLUDED = 200
OPEN_EXCLUDED = 15
STATUS = {
    "copied": "taken from the source as they are",
    "reshaped": "taken from the source, changed to fit",
    "fresh": "made for this task",
    "unused": "in the source, not in the target",
}


def weights(view: RunView) -> Markup | None:
    """The ledger: which share of the weights was copied, reshaped or made new."""
    ledger = view.ledger
    if ledger is None or not ledger.rows:
        return tag("p", "No ledger is stored in this run: nothing has been initialized yet.", class_="missing")
    parts = [(status, ledger.share(status)) for status in ("copied", "reshaped", "fresh")]
    tensors = Counter[str](row.status for row in ledger.rows)
    sizes: Counter[str] = Counter()
    for row in ledger.rows:
        sizes[row.status] += row.parameters
    rows = [
        (
            status,
            meaning,
            count(tensors[status]),
            count(sizes[status]),
            "" if status == "unused" else portion(ledger.share(status)),
        )
        for status, meaning in STATUS.items()
    ]
    frozen = [row for row in ledger.target if row.frozen]
    rows.append(
        (
            "frozen",
            "of these, left as initialized; the others were trained",
            count(len(frozen)),
            count(sum(row.parameters for row in frozen)),
            portion(ledger.share("frozen")),
        )
    )
    summed = table(
        "Every tensor of the model is accounted for.",
        ("Status", "Meaning", "Tensors", "Parameters", "Share"),
        rows,
        numbers=(2, 3, 4),
    )
    listed = [_tensor(row) for row in ledger.rows[:MOST_TENSORS]]
    shown = (
        f"The first {count(MOST_TENSORS)} of {count(len(ledger.rows))} tensors."
        if len(ledger.rows) > MOST_TENSORS
        else "All tensors."
    )
    full = table(shown, ("Tensor", "Status", "Shape", "Rule", "Reason", "SHA-256"), listed)
    return join(
        shares("ledger", "Share of the model's parameters", parts),
        summed,
        details("Tensor by tensor", full, printed=False),
    )


def data(view: RunView) -> Markup | None:
    """What was read, how it was split, what was guessed and what was left out."""
    if "read" not in view.done and view.split is None:
        return tag("p", "The data have not been read yet.", class_="missing")
    rows: list[tuple[Child, Child]] = [
        (str(part).replace("_", " ").capitalize(), _value(number)) for part, number in view.counts.items()
    ]
    if view.split is not None:
        parts = {
            "Train": view.split.train,
            "Validation": view.split.validation,
            "Test": view.split.test,
            "Unlabeled": view.split.unlabeled,
        }
        rows = [row for row in rows if row[0] not in parts] + [
            (title, f"{count(len(part))} rows") for title, part in parts.items() if len(part)
        ]
        rows.append(("How it was split", view.split.how))
    notes = (
        join(tag("h3", "Worth knowing"), tag("ul", (tag("li", clip(note, 600)) for note in view.notes[:100])))
        if view.notes
        else None
    )
    return join(facts(rows), notes, tag("h3", "Left out"), _excluded(view.excluded))


def reproduce(view: RunView) -> Markup | None:
    """The command, settings, versions, machine and hashes."""
    command = view.facts.get("command")
    words = [str(part) for part in command] if isinstance(command, list) else []
    if words and PurePath(words[0]).name in {"headstart", "__main__.py"}:
        words[0] = "headstart"
    shown = tag("pre", tag("code", clip(shlex.join(words), 4000)), tabindex=0) if words else None
    asked = shown or tag("p", "The command is not stored in this run.", class_="missing")
    found = [
        ("Data", view.facts.get("data")),
        ("Bundle", view.ship.get("bundle")),
        ("SHA-256 of the weights", view.ship.get("sha256")),
    ]
    hashes = facts([(term, tag("code", clip(str(value), 300))) for term, value in found if value])
    tables = (
        _mapping("Time of each step.", "Step", "Time", _times(view)),
        _mapping("Settings.", "Setting", "Value", view.mapping("config")),
        _mapping("Versions.", "Package", "Version", view.mapping("versions")),
        _mapping("Machine.", "What", "Which", view.mapping("machine")),
    )
    return join(
        tag(
            "p",
            "On a CPU, the same command, data, versions and thread count give the same weights.",
        ),
        asked,
        hashes,
        tag("div", tables, class_="columns"),
    )


def _times(view: RunView) -> dict[str, str]:
    """Step -> time, in the order of the job; steps of other versions last."""
    order = [*(step for step in STEPS if step in view.seconds), *(step for step in view.seconds if step not in STEPS)]
    return {step: duration(view.seconds[step]) for step in order}


def _tensor(row: LedgerRow) -> tuple[Child, ...]:
    status = f"{row.status}, frozen" if row.frozen else row.status
    reason = clip(row.reason, 160) if row.reason else ""
    hashed = tag("code", row.sha256) if row.sha256 else ""
    return identifier(row.tensor), status, row.size, clip(row.rule, 160), reason, hashed


def _excluded(rows: tuple[Exclusion, ...]) -> Markup:
    if not rows:
        return tag("p", "Nothing was left out.")
    cells = [(identifier(row.id), clip(row.reason, 300)) for row in rows[:MOST_EXCLUDED]]
    listed = table("Examples left out together with their labels.", ("Example", "Reason"), cells)
    rest = len(rows) - len(cells)
    more = tag("p", f"and {count(rest)} more.") if rest else None
    if len(rows) <= OPEN_EXCLUDED:
        return listed
    return join(
        tag("p", f"{count(len(rows))} examples were left out together with their labels."),
        details("Their names and reasons", listed, more),
    )


def _mapping(caption: str, first: str, second: str, rows: Mapping[str, Any]) -> Markup | None:
    if not rows:
        return None
    return table(caption, (first, second), [(name(str(key)), _value(value)) for key, value in list(rows.items())[:100]])


def _value(value: Any) -> Child:
    if isinstance(value, bool) or value is None:
        return "not set" if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return count(value) if isinstance(value, int) else tick(value)
    if isinstance(value, Mapping):
        return clip(", ".join(f"{key}: {item}" for key, item in value.items()), 200)
    return clip(str(value), 200)
