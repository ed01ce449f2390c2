"""The ledger of a fit's target: the source's backbone as it is, a head for the task, and what adapting changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headstart.initialization.rules.labels import shared_rows
from headstart.store import sha256_array
from headstart.types import Arm, Ledger, LedgerRow, Task

if TYPE_CHECKING:
    from headstart.backbones.source import Source

__all__ = ["begin", "finish"]


def begin(task: Task, source: Source, remember: Callable[..., Any]) -> Ledger:
    """Where every tensor of the target starts: the backbone from the source, the head fresh.

    Loads no deep-learning library: `Source.backbone` refuses weights that do not fit the
    architecture one to one, so the source's tensors are the backbone's.

    Args:
        task: Decides the head's shape.
        source: Gives the backbone.
        remember: `headstart.store.remember`, so that every source is read and hashed once.
    """
    copied = remember("ledger", _copied, source)
    known = remember("shared-classes", _shared, source, task.labels)
    outputs = task.outputs
    reason = f"a new head for {outputs} {'output' if outputs == 1 else 'outputs'}"
    if known:
        reason += f"; the source's own head knows {known} of these classes by name"
    head = [
        LedgerRow(f"head.{name}", "fresh", shape, "none", reason)
        for name, shape in (("weight", (outputs, source.card.dim)), ("bias", (outputs,)))
    ]
    unused = [LedgerRow(name, "unused", (), "source", why) for name, why in source.unused.items()]
    return Ledger((*copied, *head, *unused))


def _copied(source: Source) -> tuple[LedgerRow, ...]:
    return tuple(_row(name, value, source) for name, value in source.tensors().items())


def _row(name: str, value: NDArray[Any], source: Source) -> LedgerRow:
    origin = source.origins.get(name)
    rule = "renamed" if origin else "name"
    reason = f"{origin} in {source.name}, same shape" if origin else f"same name and shape in {source.name}"
    names = (origin or name,)
    return LedgerRow(f"backbone.{name}", "copied", tuple(value.shape), rule, reason, names, sha256=sha256_array(value))


def _shared(source: Source, labels: tuple[str, ...]) -> int:
    """How many of the task's classes the source's own head has under the same name."""
    head = source.head()
    return len(shared_rows(head.classes, labels)) if head else 0


def finish(ledger: Ledger, arm: Arm) -> Ledger:
    """The ledger of what ships: the head as it was fitted, tensors that adapting changed told as such, others frozen.

    Args:
        ledger: What `begin` gave.
        arm: What ships; a tensor it holds unchanged counts as frozen.
    """
    before = {row.tensor: row.sha256 for row in ledger}
    tuned = {f"backbone.{name}": sha256_array(value) for name, value in arm.tensors.items()}
    how = f"tuned on the training rows by {arm.method}"
    changed = {name: (how, sha256) for name, sha256 in tuned.items() if sha256 != before[name]}
    fitted = f"fitted to the training rows by the {arm.head.kind} head"
    head = {"head.weight": arm.head.weight, "head.bias": arm.head.bias}
    rows = (replace(row, shape=head[row.tensor].shape) if row.tensor in head else row for row in ledger)
    return Ledger(tuple(rows)).adapted(changed | {name: (fitted, sha256_array(value)) for name, value in head.items()})
