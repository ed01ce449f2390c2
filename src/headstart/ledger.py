"""The ledger: where every weight of a target came from, what became of it, and which source weights were left out."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["STATUSES", "Ledger", "LedgerRow", "Status"]

Status = Literal["copied", "reshaped", "fresh", "unused"]
STATUSES: tuple[Status, ...] = ("copied", "reshaped", "fresh", "unused")
PRINTED = 60
"""Tensors that a printed ledger lists; the shares above them are of all."""
REASON = 76
"""Characters of a reason in a printed ledger."""


@dataclass(frozen=True)
class LedgerRow:
    """What happened to one tensor of the target, or to one tensor of the source that was not used."""

    tensor: str
    """Its name in the target; of an unused tensor, its name in the source."""
    status: Status
    shape: tuple[int, ...]
    """Empty for a scalar, and for an unused tensor that was never read."""
    rule: str
    """Names of the rules that decided, such as ``name`` or ``name + positions``."""
    reason: str = ""
    """What they did and why, for people."""
    sources: tuple[str, ...] = ()
    """Names of the source tensors its values come from; none where they are fresh."""
    taken: float = 1.0
    """Of a copied or reshaped tensor: the share of its values that come from the source, the others being fresh."""
    frozen: bool = False
    """Whether adapting left it as it was initialized."""
    sha256: str = ""
    """First 16 hex digits of its values' hash (see `headstart.store.sha256_array`), as far as they are settled."""

    @property
    def parameters(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def size(self) -> str:
        """The shape for people."""
        return " × ".join(map(str, self.shape)) or ("" if self.status == "unused" else "scalar")


@dataclass(frozen=True)
class Ledger:
    """Every tensor of a target once, then every unused tensor of the source once.

    >>> stem = LedgerRow("stem.weight", "copied", (3, 2), "name", "same name and shape", ("stem.weight",), frozen=True)
    >>> head = LedgerRow("head.weight", "fresh", (2,), "none", "no source tensor fits")
    >>> print(Ledger((stem, head)))
    75.0% copied, 0.0% reshaped, 25.0% fresh of 8 parameters in 2 tensors; 75.0% frozen; 0 source tensors unused
    tensor       status  shape  rule  reason
    head.weight  fresh       2  none  no source tensor fits
    stem.weight  copied  3 × 2  name  same name and shape
    """

    rows: tuple[LedgerRow, ...]
    proof: str = ""
    """What showed that the initialized target does what the source does; empty where nothing was tried."""

    @property
    def target(self) -> tuple[LedgerRow, ...]:
        """The rows of the target's tensors."""
        return tuple(row for row in self.rows if row.status != "unused")

    @property
    def unused(self) -> tuple[LedgerRow, ...]:
        """The rows of the source's tensors that nothing was taken from."""
        return tuple(row for row in self.rows if row.status == "unused")

    @property
    def used(self) -> frozenset[str]:
        """Names of the source's tensors that something was taken from."""
        return frozenset(name for row in self.target for name in row.sources)

    @property
    def parameters(self) -> int:
        """Number of values in the target."""
        return sum(row.parameters for row in self.target)

    def share(self, status: str) -> float:
        """Share of the target's values that are ``copied``, ``reshaped``, ``fresh`` or ``frozen``, in [0, 1].

        Of a tensor whose values come from the source in part, the others count as fresh.
        """
        return sum(_part(row, status) for row in self.target) / max(1, self.parameters)

    @property
    def summary(self) -> str:
        """The shares in one sentence."""
        parts = ", ".join(f"{self.share(status):.1%} {status}" for status in STATUSES[:3])
        count = f"{self.parameters:,} parameters in {len(self.target):,} tensors"
        left = f"{len(self.unused):,} source tensors unused"
        frozen = f"{self.share('frozen'):.1%} frozen" if any(row.frozen for row in self.rows) else ""
        return "; ".join(part for part in (f"{parts} of {count}", frozen, left, self.proof) if part)

    def adapted(self, changed: Mapping[str, tuple[str, str]]) -> Ledger:
        """The ledger after adapting: what is not named here is frozen, unless it never had a source.

        Args:
            changed: Name of each target tensor that has other values now -> what changed them
                (``tuned by full``) and their new hash.
        """
        rows = []
        for row in self.target:
            how, sha256 = changed.get(row.tensor, ("", row.sha256))
            reason = f"{row.reason}; then {how}" if how else row.reason
            rows.append(replace(row, frozen=not how and row.status != "fresh", sha256=sha256, reason=reason))
        return replace(self, rows=(*rows, *self.unused))

    def __str__(self) -> str:
        """The shares, and the tensors as a table: what needs a look first."""
        rows = [("tensor", "status", "shape", "rule", "reason"), *map(_cells, self._listed())]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{name:<{widths[0]}}  {status:<{widths[1]}}  {shape:>{widths[2]}}  {rule:<{widths[3]}}  {reason}".rstrip()
            for name, status, shape, rule, reason in rows
        ]
        rest = [f"and {len(self.rows) - PRINTED} more"] if len(self.rows) > PRINTED else []
        return "\n".join([self.summary, *lines, *rest])

    def _repr_html_(self) -> str:
        """For notebooks: the same as a table, escaped."""
        heads = "".join(f"<th>{name}</th>" for name in ("tensor", "status", "shape", "rule", "reason"))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in self._listed()
        )
        rest = f"<p>and {len(self.rows) - PRINTED} more</p>" if len(self.rows) > PRINTED else ""
        return f"<p>{html.escape(self.summary)}</p><table><tr>{heads}</tr>{body}</table>{rest}"

    def _listed(self) -> Sequence[LedgerRow]:
        """Fresh first, then reshaped, unused and copied; within these, in the order of the rows."""
        order = {"fresh": 0, "reshaped": 1, "unused": 2, "copied": 3}
        return sorted(self.rows, key=lambda row: order[row.status])[:PRINTED]

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _part(row: LedgerRow, status: str) -> float:
    """How many of a row's values count for a status."""
    if status == "frozen":
        return row.parameters if row.frozen else 0
    if status == "fresh":
        return row.parameters * (1.0 if row.status == "fresh" else 1.0 - row.taken)
    return row.parameters * row.taken if row.status == status else 0


def _cells(row: LedgerRow) -> tuple[str, str, str, str, str]:
    reason = row.reason if len(row.reason) <= REASON else f"{row.reason[: REASON - 1]}…"
    return row.tensor, row.status, row.size, row.rule, reason
