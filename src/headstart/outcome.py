"""What a ``fit`` gives back: the run's records, and the one JSON object that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.store import plain, read_step
from headstart.types import Audit, Exclusion, Ledger, Ranking, Receipt

if TYPE_CHECKING:
    from headstart.inference import Model

__all__ = ["Fit", "Listener", "Silent", "audit_json", "plain", "ranking_json"]


class Listener(Protocol):
    """Who is told how the work goes; the command line shows it, Python is silent by default."""

    def say(self, sentence: str) -> None:
        """Something worth knowing before the work goes on."""

    def step(self, name: str, seconds: float | None) -> None:
        """A step begins (None) or has ended."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Examples done of a longer work."""


class Silent:
    """A listener that tells nobody."""

    def say(self, sentence: str) -> None:
        """Nothing."""

    def step(self, name: str, seconds: float | None) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Fit:
    """The result of one ``fit``.

    Attributes:
        run: The run folder; running the same again reuses its finished steps.
        bundle: The shipped model, for `headstart.load`.
        report: The HTML report.
        receipt: The evidence: every arm on the same test rows, the gain and the verdict.
        ranking: Every source with its score, or the reason why it has none.
        excluded: Examples that were left out, by name.
        notes: What was guessed or is worth knowing.
        seconds: Step -> seconds in this call.
    """

    run: Path
    bundle: Path
    report: Path
    receipt: Receipt
    ranking: Ranking
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """``helped``, ``no evidence`` or ``negative transfer``."""
        return self.receipt.verdict

    @cached_property
    def ledger(self) -> Ledger:
        """Where every weight of the shipped model came from; prints as a table."""
        return read_step(self.run, "ship")["ledger"]  # type: ignore[index,no-any-return]

    @cached_property
    def model(self) -> Model:
        """The shipped model, loaded from the bundle."""
        from headstart.inference import load

        return load(self.bundle)

    def json(self) -> dict[str, Any]:
        """Everything but the per-example predictions, as plain JSON."""
        receipt = self.receipt
        chosen = next(arm for arm in receipt.arms if arm.name == receipt.chosen)
        shown = ("name", "source", "method", "seconds", "validation", "test")
        arms = [{key: getattr(arm, key) for key in shown} for arm in receipt.arms]
        document = {
            "run": str(self.run),
            "bundle": str(self.bundle),
            "report": str(self.report),
            "verdict": receipt.verdict,
            "sentence": receipt.sentence,
            "source": chosen.source,
            "method": chosen.method,
            "metric": receipt.metric,
            "test": chosen.test,
            "arms": arms,
            "gain": asdict(receipt.gains[0]) if receipt.gains else None,
            "gains": [asdict(gain) for gain in receipt.gains],
            "detectable_gain": receipt.detectable_gain,
            "proof": receipt.proof,
            "protocol": receipt.protocol,
            "not_measured": receipt.not_measured,
            "scratch_twin": receipt.scratch_twin,
            "learning": receipt.learning,
            "calibration": receipt.calibration,
            "conformal": receipt.conformal,
            "counts": receipt.counts,
            "seconds": self.seconds,
            "ranking": ranking_json(self.ranking),
            "excluded": [asdict(one) for one in self.excluded],
            "notes": [*self.notes, *receipt.notes],
        }
        return plain(document)  # type: ignore[no-any-return]

    def _repr_html_(self) -> str:
        """The verdict, for a notebook."""
        places = f"bundle <code>{escape(str(self.bundle))}</code>, report <code>{escape(str(self.report))}</code>"
        return f"<p><b>{escape(self.verdict)}</b>: {escape(self.receipt.sentence)}</p><p>{places}</p>"


def ranking_json(ranking: Ranking) -> list[dict[str, Any]]:
    """The rows of a ranking, best first, as plain JSON."""
    return [plain(asdict(row)) for row in ranking.rows]


def audit_json(found: Audit) -> dict[str, Any]:
    """Every finding, the worst first, and every suspect label, as plain JSON."""
    return plain(asdict(found))  # type: ignore[no-any-return]
