"""A run folder as the report reads it: what is there, and None for what is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from headstart import store
from headstart.errors import UsageError
from headstart.report.outcomes import Outcome
from headstart.types import (
    Arm,
    ArmResult,
    Audit,
    Exclusion,
    Exhibit,
    Exhibition,
    Ledger,
    Map,
    Ranking,
    Receipt,
    Split,
    Task,
)

__all__ = ["STEPS", "RunView", "kind_of", "load"]

STEPS = ("read", "split", "rank", "initialize", "adapt", "prove", "audit", "exhibit", "ship")
"""The stored steps the report is made of, in the order of the job."""
KINDS = ("majority", "scratch", "baseline")

T = TypeVar("T")


@dataclass(frozen=True)
class RunView:
    """What a run folder holds; every part may be missing."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """``run.json``: command, config, versions, machine, data, seconds."""
    done: tuple[str, ...] = ()
    """Names of the finished steps."""
    task: Task | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    excluded: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    split: Split | None = None
    ranking: Ranking | None = None
    arms: tuple[Arm, ...] = ()
    receipt: Receipt | None = None
    ledger: Ledger | None = None
    ship: Mapping[str, Any] = field(default_factory=dict)
    audit: Audit | None = None
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)
    """Example id -> its preview, for the few the run keeps one of."""
    map: Map | None = None
    attribution: str = ""
    """How the marks on previews were computed."""

    @cached_property
    def chosen(self) -> ArmResult | None:
        """The arm that ships, with its measurements."""
        arms = self.receipt.arms if self.receipt else ()
        return next((arm for arm in arms if self.receipt and arm.name == self.receipt.chosen), None)

    @cached_property
    def outcome(self) -> Outcome | None:
        """What the chosen arm did on each test row."""
        return Outcome.of(self.task, self.chosen, self.receipt.targets if self.receipt else None)

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Step -> what it took."""
        return {step: spent for step, spent in self.mapping("seconds").items() if isinstance(spent, (int, float))}

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A table of ``run.json``; empty where there is none."""
        return _as(dict, self.facts.get(name)) or {}


def kind_of(arm: str) -> str:
    """``majority``, ``scratch``, ``baseline`` or ``transfer``, from the name of an arm."""
    return next((kind for kind in KINDS if kind in arm.lower()), "transfer")


def load(folder: Path) -> RunView:
    """Reads a run folder, whatever of it is finished.

    Raises:
        UsageError: If the folder is not a run.
    """
    try:
        facts = _as(dict, json.loads((folder / "run.json").read_text("utf-8"))) or {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} is not a run folder (no readable run.json). Give the folder that fit wrote with --out."
        ) from error
    found = {name: store.read_step(folder, name) for name in STEPS}
    read, ship = (_as(dict, found[name]) or {} for name in ("read", "ship"))
    shown = _as(Exhibition, found["exhibit"])
    return RunView(
        name=folder.resolve().name,
        facts=facts,
        done=tuple(name for name, result in found.items() if result is not None),
        task=_as(Task, read.get("task")),
        counts=_as(dict, read.get("counts")) or {key: read[key] for key in ("rows",) if key in read},
        excluded=_all(Exclusion, read.get("excluded")),
        notes=_all(str, read.get("notes")),
        split=_as(Split, found["split"]),
        ranking=_as(Ranking, found["rank"]),
        arms=_all(Arm, found["adapt"]),
        receipt=_as(Receipt, found["prove"]),
        ledger=_as(Ledger, ship.get("ledger")) or _as(Ledger, found["initialize"]),
        ship=ship,
        audit=_as(Audit, found["audit"]),
        exhibits=dict(shown.examples) if shown else {},
        map=shown.map if shown else None,
        attribution=shown.attribution if shown else "",
    )


def _as(kind: type[T], value: Any) -> T | None:
    return value if isinstance(value, kind) else None


def _all(kind: type[T], value: Any) -> tuple[T, ...]:
    return tuple(item for item in value if isinstance(item, kind)) if isinstance(value, tuple) else ()
