"""What a person at a terminal sees: progress on stderr, results on stdout."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from headstart.outcome import Fit, Listener
    from headstart.types import Audit, RankedSource, Ranking, Receipt

__all__ = [
    "Progress",
    "listener",
    "printable",
    "show_audit",
    "show_doctor",
    "show_error",
    "show_facts",
    "show_fit",
    "show_metrics",
    "show_plan",
    "show_predictions",
    "show_ranking",
    "show_sources",
    "wrapped",
]

DOING = {
    "read": "reading",
    "split": "splitting",
    "rank": "ranking sources",
    "initialize": "initializing",
    "adapt": "adapting",
    "prove": "proving",
    "audit": "auditing",
    "exhibit": "preparing report",
    "ship": "shipping",
}
COLOUR = {"helped": "green", "no evidence": "yellow", "negative transfer": "red"}
SEVERITY = {"serious": ("SERIOUS", "bold red"), "look": ("look", "bold yellow"), "note": ("note", "bold")}
NAMED = 4
"""Examples a finding names at a terminal."""
NUMBER = re.compile(r"-?[\d,.]+(e[+-]\d+)?( M)?|nan|-?inf|-|")
NARROWEST = 24
"""Columns left for the last cell of a row, however wide the others are."""
LONGEST = 300
"""Characters of a text that a terminal shows."""


def printable(text: str) -> str:
    r"""The text on one line, with control characters spelled out: data must not steer a terminal.

    >>> print(printable("a\tb\x1b[2J"))
    a\tb\x1b[2J
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def wrapped(text: str, width: int) -> list[str]:
    """Lines broken between words only: a path longer than a line stays whole, so that it can be copied."""
    return textwrap.wrap(text, max(NARROWEST, width), break_long_words=False, break_on_hyphens=False) or [""]


class _Page:
    """A stream that lines are printed to; they are wrapped only where a terminal would break them."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        from rich.console import Console

        self.console: Console = Console(
            file=stream or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self.width = self.console.width if self.console.is_terminal else None
        """Columns of the terminal; None: not a terminal, nothing is wrapped."""

    def line(self, text: str = "", style: str | None = None, indent: int = 0) -> None:
        """Prints a sentence, its further lines under its first."""
        text = printable(text)
        for part in wrapped(text, self.width - indent) if self.width else [text]:
            self.console.print(" " * indent + part, style=style)

    def raw(self, text: str) -> None:
        """Prints the text as it is, on a line of its own: a path, a command to copy."""
        self.console.print(printable(text))

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", whole: Container[str] = ()
    ) -> None:
        """Aligned columns, numbers to the right; only the last is wrapped, but for the cells in ``whole``."""
        from rich.cells import cell_len

        cells = [[printable(cell) for cell in row] for row in rows]
        columns = list(zip(head, *cells, strict=True))
        widths = [max(map(cell_len, column)) for column in columns]
        right = [all(map(NUMBER.fullmatch, column[1:])) for column in columns]
        lead = sum(widths[:-1]) + 2 * len(widths[:-1])
        if title:
            self.line(title)
        for number, row in enumerate([list(head), *cells] if any(head) else cells):
            padding = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
            full = [p + c if r else c + p for c, p, r in zip(row, padding, right, strict=True)]
            first = "".join(f"{cell}  " for cell in full[:-1])
            broken = self.width and not right[-1] and row[-1] not in whole
            last = wrapped(row[-1], (self.width or 0) - lead) if broken else [full[-1]]
            style = "bold" if any(head) and not number else None
            self.console.print((first + last[0]).rstrip(), style=style)
            for part in last[1:]:
                self.console.print(" " * lead + part)


class Progress:
    """Sentences, steps and a progress bar on stderr; a context that takes the bar off the screen at its end."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._page = _Page(sys.stderr)
        texts = [TextColumn(what, markup=False) for what in ("{task.description}", "{task.fields[count]}")]
        columns = (texts[0], BarColumn(), texts[1], TimeElapsedColumn())
        self._bar = Bar(*columns, console=self._page.console, transient=True, disable=self._page.width is None)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, sentence: str) -> None:
        """Prints the sentence."""
        for part in sentence.splitlines():
            self._page.line(part.strip(), indent=2)

    def step(self, name: str, seconds: float | None) -> None:
        """Shows that the step goes on; prints it when it has ended."""
        self._clear()
        if name in DOING and seconds is None:
            self._tasks[name] = self._bar.add_task(DOING[name], total=None, count="")
        elif name in DOING:
            self._page.line(f"{DOING[name]:<16} {seconds:6.1f} s", style="dim")

    def progress(self, what: str, done: int, total: int) -> None:
        """Moves the bar of this work."""
        if what not in self._tasks:
            self._clear()
            self._tasks[what] = self._bar.add_task(what, total=total, count="")
        self._bar.update(self._tasks[what], completed=done, total=total, count=f"{done:,}/{total:,}")

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks.clear()


def listener(quiet: bool) -> AbstractContextManager[Listener]:
    """A listener for the terminal, or one that is silent."""
    from headstart.outcome import Silent

    return nullcontext(Silent()) if quiet else Progress()


def show_error(message: str) -> None:
    """An error on stderr."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for line in message.splitlines():
        print(*(wrapped(printable(line), width) if width else [printable(line)]), sep="\n", file=sys.stderr)


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def show_fit(result: Fit, name: str = "") -> None:
    """The verdict first, then what stands behind it and where to find it."""
    page, receipt = _Page(), result.receipt
    page.line()
    if name:
        page.line(name, style="bold")
    page.line(receipt.sentence, style=f"bold {COLOUR.get(receipt.verdict, '')}".strip())
    page.line()
    arms = [
        [
            arm.name,
            arm.method,
            _figure(arm.test.get(receipt.metric)),
            _figure(arm.validation.get(receipt.metric)),
            f"{arm.seconds:.1f}",
            "ships" if arm.name == receipt.chosen else "",
        ]
        for arm in receipt.arms
    ]
    title = f"{receipt.metric.replace('_', ' ')} of each arm"
    page.table(["arm", "method", "test", "validation", "seconds", ""], arms, title)
    if len(result.ranking.rows) > 1:
        page.line()
        show_ranking(result.ranking)
    page.line()
    for sentence in worth(receipt):
        page.line(sentence)
    for note in receipt.notes:
        page.line(f"note: {note}")
    if result.excluded:
        names = "; ".join(f"{one.id}: {one.reason}" for one in result.excluded[:3])
        more = "; ..." if len(result.excluded) > 3 else ""
        page.line(f"left out: {_plural(len(result.excluded), 'example')} ({names}{more}); all of them in the report")
    page.line()
    for what, path in (("bundle", result.bundle), ("report", result.report)):
        page.raw(f"{what:<6}  {path}")


def worth(receipt: Receipt) -> list[str]:
    """What labels are worth, and when not to answer, as sentences."""
    found = receipt.learning
    said = [part.sentence for part in (found.saved, *found.further, found.more) if part is not None] if found else []
    sets = receipt.conformal
    if sets is not None and sets.coverage is not None:
        what = "sets of labels" if sets.threshold <= 1 and receipt.calibration else "intervals"
        said.append(
            f"Predictions come with {what} made to hold the truth in {sets.level:.0%} of the cases: on the test rows "
            f"they held it in {sets.coverage:.0%} ({sets.low:.0%} to {sets.high:.0%}), mean size {sets.size:.3g}."
        )
    return said


def show_ranking(ranking: Ranking, plot: Path | None = None) -> None:
    """Sources best first; ties, early leavers and failures are called what they are."""
    rows = [
        [
            row.source,
            _figure(row.score),
            _figure(row.standard_error),
            _span(row.rank_low, row.rank_high),
            row.layer if row.score is not None else "-",
            f"{row.parameters / 1e6:.1f} M",
            f"{row.seconds:.1f}",
            row.error or _standing(row, ranking),
        ]
        for row in ranking.rows
    ]
    about = "score: leave-one-out log-loss, negated; rank: 90% interval"
    title = f"sources by {ranking.order.replace('_', ' ')} score on {_plural(ranking.examples, 'row')} ({about})"
    page = _Page()
    page.table(["source", "score", "s.e.", "rank", "layer", "size", "seconds", ""], rows, title)
    if plot:
        page.raw(f"plot  {plot}")


def _standing(row: RankedSource, ranking: Ranking) -> str:
    if row.source == ranking.chosen:
        return "chosen"
    if row.left:
        return f"behind after {_plural(row.rows, 'row')}"
    return "tied with the best" if row.tied else ""


def _span(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return "-"
    return f"{low}" if low == high else f"{low}-{high}"


def show_audit(found: Audit) -> None:
    """Every finding, the worst first, with the first names of each."""
    page = _Page()
    page.line(f"{_plural(found.examples, 'example')} looked at through {found.source}")
    if not found.findings:
        page.line(f"nothing found; looked for: {', '.join(found.checked)}")
    for one in found.findings:
        page.line()
        page.line(f"{SEVERITY[one.severity][0]}: {one.kind}", style=SEVERITY[one.severity][1])
        page.line(one.sentence, indent=2)
        page.line(one.advice, indent=2)
        remarks = one.remarks or ("",) * len(one.examples)
        for names, remark in list(zip(one.examples, remarks, strict=True))[:NAMED]:
            page.line(f"- {' = '.join(names)}{f': {remark}' if remark else ''}", indent=4)
        if one.count > NAMED:
            page.line("- ... (more with --json)", indent=4)


def show_plan(plan: Mapping[str, Any]) -> None:
    """What a fit would do."""
    page = _Page()
    for sentence in plan["sentences"]:
        page.line(sentence)


def show_predictions(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row an input, the input last: it is the long one. What could not be predicted follows with its reason."""
    page = _Page()
    good = [row for row in rows if "error" not in row]
    names = [_shortened(row["input"]) if page.width else row["input"] for row in good]
    files = {name for name in names if os.path.exists(name)}
    if good and "value" in good[0]:
        values = [f"{row['value']:.6g}" for row in good]
        page.table(["value", "input"], list(zip(values, names, strict=True)), whole=files)
    elif good:
        labels = [_joined(row["label"]) for row in good]
        likely = _most_likely(good, page.width)
        page.table(["prediction", "most likely", "input"], list(zip(labels, likely, names, strict=True)), whole=files)
    for row in rows:
        if "error" in row:
            page.raw(f"not predicted: {row['input']}: {row['error']}")


def _joined(label: str | Sequence[str]) -> str:
    return label if isinstance(label, str) else ", ".join(label) or "(none)"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _most_likely(rows: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """The probabilities of the likeliest labels of each row: three, or as many as leave room for the input."""
    shown = [""]
    for most in (3, 2, 1):
        tops = [sorted(row["probabilities"].items(), key=lambda item: -item[1])[:most] for row in rows]
        shown = ["  ".join(f"{label} {chance:.3f}" for label, chance in top) for top in tops]
        if width is None or max(map(len, shown)) <= width * 0.4:
            break
    return shown


def show_metrics(found: Mapping[str, Any]) -> None:
    """Metrics with their count."""
    page = _Page()
    figures = [[name, f"{value:,}" if name == "n" else _figure(value, 4)] for name, value in found["test"].items()]
    page.table(["metric", "value"], figures)
    for one in found["excluded"]:
        page.line(f"left out: {one['id']}: {one['reason']}")


def show_facts(facts: Mapping[str, Any]) -> None:
    """Facts of a bundle, one a line; then its files."""
    page = _Page()
    page.table(["fact", "value"], [pair for name in facts if name != "files" for pair in _flat(name, facts[name])])
    page.line()
    files = [[file["name"], f"{file['size']:,}", file["sha256"][:16]] for file in facts["files"]]
    page.table(["file", "bytes", "sha256 begins"], files)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    elif not isinstance(value, list):
        yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
    elif value:
        yield name, ", ".join(map(str, value))


def show_sources(rows: Sequence[Mapping[str, Any]], forms: Sequence[tuple[str, str]]) -> None:
    """Sources with their facts, what the unusable ones need, and how the unlisted ones are named."""
    page = _Page()
    facts = [
        [row["name"], row["modality"], f"{row['parameters'] / 1e6:.1f} M", row["licence"], row["trained_on"]]
        for row in rows
    ]
    page.table(["source", "for", "size", "licence", "trained on"], facts)
    for row in rows:
        if row["missing"]:
            page.line(f"not usable here: {row['name']}: {row['missing']}")
    if forms:
        page.table(["further names", "what they name"], [list(form) for form in forms])


def show_doctor(findings: Mapping[str, Any]) -> None:
    """Every check, and what to do about the failed ones."""
    page, machine = _Page(), findings["machine"]
    page.line(f"{machine['processor']}, {_plural(machine['threads'], 'thread')}, device {machine['device']}")
    checks = [["ok" if one["ok"] else "FAILED", one["check"], one["says"]] for one in findings["checks"]]
    page.table(["", "check", "finding"], checks)
