"""What a person at a terminal sees: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.outcome import Fit, Silent
from headstart.types import Ranking

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "listener",
    "show_doctor",
    "show_facts",
    "show_fit",
    "show_metrics",
    "show_plan",
    "show_predictions",
    "show_ranking",
    "show_sources",
]

DOING = {
    "read": "reading",
    "split": "splitting",
    "rank": "ranking sources",
    "adapt": "adapting",
    "prove": "proving",
    "ship": "shipping",
}
COLOUR = {"helped": "green", "no evidence": "yellow", "negative transfer": "red"}


class Progress:
    """Sentences, steps and a progress bar on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._bar.start()
        self._tasks: dict[str, Any] = {}

    def say(self, sentence: str) -> None:
        """Prints the sentence."""
        self._console.print(f"  {sentence}", markup=False)

    def step(self, name: str, seconds: float | None) -> None:
        """Prints the step when it has ended."""
        if seconds is not None and name in DOING:
            self._clear()
            self._console.print(f"{DOING[name]:<16} {seconds:6.1f} s", markup=False, style="dim")

    def progress(self, what: str, done: int, total: int) -> None:
        """Moves the bar of this work."""
        if what not in self._tasks:
            self._clear()
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks.clear()

    def close(self) -> None:
        """Takes the bar off the screen."""
        self._bar.stop()


class _Quiet(Silent):
    def close(self) -> None:
        """Nothing."""


def listener(quiet: bool) -> Progress | _Quiet:
    """A listener for the terminal, or one that is silent."""
    return _Quiet() if quiet else Progress()


def _out() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _out().print(table)


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def show_fit(result: Fit, title: str | None = None) -> None:
    """The verdict first, then what stands behind it and where to find it."""
    from rich.markup import escape

    out, receipt = _out(), result.receipt
    colour = COLOUR.get(receipt.verdict, "bold")
    out.print(f"\n[bold]{escape(title)}[/bold]" if title else "")
    out.print(f"[bold {colour}]{escape(receipt.verdict)}[/]: {escape(receipt.sentence)}\n")
    _table(
        ["arm", "method", receipt.metric, "validation", "seconds"],
        [[arm.name, arm.method, _figure(arm.test.get(receipt.metric)), _figure(arm.validation.get(receipt.metric)), f"{arm.seconds:.1f}"] for arm in receipt.arms],
    )
    if len(result.ranking.rows) > 1:
        out.print()
        show_ranking(result.ranking)
    out.print()
    for note in receipt.notes:
        out.print(f"note: {escape(note)}")
    if result.excluded:
        names = ", ".join(one.id for one in result.excluded[:3])
        out.print(f"left out: {len(result.excluded)} examples ({escape(names)}{', ...' if len(result.excluded) > 3 else ''}); reasons in the report")
    for what, path in (("bundle", result.bundle), ("report", result.report)):
        out.print(f"{what:<7} {escape(str(path))}")


def show_ranking(ranking: Ranking) -> None:
    """Sources best first; ties and failures are called what they are."""
    rows = [
        [
            row.source,
            _figure(row.score),
            _figure(row.standard_error),
            row.layer if row.score is not None else "-",
            f"{row.parameters / 1e6:.1f} M",
            f"{row.seconds:.1f}",
            row.error or ("chosen" if row.source == ranking.chosen else "tied with the best" if row.tied else ""),
        ]
        for row in ranking.rows
    ]
    columns = ["source", "score", "s.e.", "layer", "parameters", "seconds", ""]
    _table(columns, rows, f"ranking by leave-one-out log-loss on {ranking.examples} training rows (higher is better)")


def show_plan(plan: Mapping[str, Any]) -> None:
    """What a fit would do."""
    for sentence in plan["sentences"]:
        _out().print(sentence, markup=False)


def show_predictions(rows: Sequence[Mapping[str, Any]]) -> None:
    """One line an input."""
    table = []
    for row in rows:
        if "error" in row:
            table.append([row["input"], "-", row["error"]])
        elif "value" in row:
            table.append([row["input"], f"{row['value']:.6g}", ""])
        else:
            label = row["label"] if isinstance(row["label"], str) else ", ".join(row["label"]) or "(none)"
            top = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:3]
            table.append([row["input"], label, "  ".join(f"{name} {value:.3f}" for name, value in top)])
    _table(["input", "prediction", "most likely"], table)


def show_metrics(found: Mapping[str, Any]) -> None:
    """Metrics with their count."""
    _table(["metric", "value"], [[name, str(value) if name == "n" else _figure(value, 4)] for name, value in found["test"].items()])
    for one in found["excluded"]:
        _out().print(f"left out: {one['id']}: {one['reason']}", markup=False)


def show_facts(facts: Mapping[str, Any]) -> None:
    """Facts of a bundle, one a line."""
    rows = [[name, ", ".join(map(str, value)) if isinstance(value, list) and value and not isinstance(value[0], dict) else str(value)] for name, value in facts.items() if name != "files"]
    _table(["fact", "value"], rows)
    _table(["file", "bytes", "sha256"], [[file["name"], str(file["size"]), file["sha256"]] for file in facts["files"]])


def show_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """Sources with their facts; what an unusable one needs."""
    table = [[row["name"], row["modality"], f"{row['parameters'] / 1e6:.1f} M", str(row["dim"]), row["licence"], row["trained_on"], row["missing"] or "usable"] for row in rows]
    _table(["source", "for", "parameters", "dim", "licence", "trained on", "here"], table)


def show_doctor(findings: Mapping[str, Any]) -> None:
    """Every check, and what to do about the failed ones."""
    machine = findings["machine"]
    _out().print(f"{machine['processor']}, {machine['threads']} threads, device {machine['device']}", markup=False)
    _table(["check", "", ""], [[one["check"], "ok" if one["ok"] else "FAILED", one["says"]] for one in findings["checks"]])
