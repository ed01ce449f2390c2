"""What is shown of the data: findings of the audit, previews of single examples, a map of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Audit", "Exhibit", "Exhibition", "Finding", "Map", "Suspect"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data, or may be."""

    kind: str
    """What it is, in a few words: ``copies across splits``."""
    severity: Literal["serious", "look", "note"]
    """``serious``: results cannot be trusted before it is mended; ``look``: a person should look; ``note``: no harm."""
    count: int
    """Examples (or classes) concerned."""
    sentence: str
    """What was found, and how bad it is."""
    advice: str
    """What to do."""
    examples: tuple[tuple[str, ...], ...] = ()
    """Names, the worst first, not all of them; those that belong together are in one entry."""
    remarks: tuple[str, ...] = ()
    """What is to be said of each entry of ``examples``; empty: nothing."""


@dataclass(frozen=True)
class Suspect:
    """An example whose label does not look like its content."""

    id: str
    given: str
    likely: str
    chance: float
    """Probability of the given label by a probe that did not see the example; regression: of a gap so large."""


@dataclass(frozen=True)
class Audit:
    """What is wrong with the data; nothing of the run was decided by it."""

    findings: tuple[Finding, ...]
    """The worst first."""
    examples: int
    source: str
    """The source whose embeddings were looked at."""
    checked: tuple[str, ...]
    """Kinds that were looked for."""
    suspects: tuple[Suspect, ...] = ()
    """The least likely labels first."""
    leaking: tuple[str, ...] = ()
    """Names of test rows that have a copy among the train or validation rows."""
    without_leaking: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Arm -> metrics on the test rows that do not leak; empty where none leaks."""


@dataclass(frozen=True)
class Exhibit:
    """A preview of one example, never the whole of it."""

    picture: str = ""
    """A small image as a data URI; empty for texts."""
    heat: str = ""
    """The same image with what the prediction rests on laid over it; empty where that was not computed."""
    words: tuple[str, ...] = ()
    """A text in pieces; together its beginning."""
    weights: tuple[float, ...] = ()
    """Of each piece, how much the prediction rests on it, in [-1, 1]; empty where that was not computed."""


@dataclass(frozen=True)
class Map:
    """Embeddings in two dimensions."""

    points: NDArray[np.float32]
    """(N, 2)."""
    targets: NDArray[Any]
    """Of each point: its class number, or its value; -1 or NaN: none (multilabel: none)."""
    parts: tuple[str, ...]
    """``train``, ``validation`` or ``test``."""
    method: str
    """How the plane was chosen, and how much of the spread it shows, as a sentence."""


@dataclass(frozen=True)
class Exhibition:
    """What the report shows of single examples."""

    examples: Mapping[str, Exhibit]
    """Name -> preview, for the examples the report speaks of."""
    map: Map | None
    attribution: str = ""
    """How the heat or the weights were computed, as a sentence; empty where there are none."""
