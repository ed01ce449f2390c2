"""The audit: what is wrong with the data, each thing with names, how bad it is and what to do.

It looks at test rows too, so a fit runs it after everything is chosen and proved: nothing is decided by it.

::

    audit         everything, on one table
    pictures.py   copies among images
    wording.py    copies among texts, encoding, language, length
    labels.py     labels that do not look like their examples
    findings.py   what was seen, as findings
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from headstart import data
from headstart.audit import findings, labels, pictures, wording
from headstart.backbones.source import Source
from headstart.data.labels import is_unlabeled
from headstart.evaluate import metrics
from headstart.features import Embedder
from headstart.modalities import truncated
from headstart.store import Remember, afresh
from headstart.types import (
    Audit,
    Dataset,
    Examples,
    Exclusion,
    Finding,
    FloatArray,
    IndexArray,
    Receipt,
    Split,
    Suspect,
)

__all__ = ["audit"]

CHECKED = (
    "unreadable, truncated and huge inputs", "exact copies", "copies with changes", "copies across splits",
    "copies with different labels", "groups across splits", "tiny classes", "classes in one split only",
    "labels that look wrong", "outliers",
)  # fmt: skip
OF_TEXTS = ("empty texts", "encoding", "language", "length", "truncation")


def audit(
    dataset: Dataset,
    excluded: tuple[Exclusion, ...],
    split: Split,
    source: Source,
    layer: str,
    seed: int,
    receipt: Receipt | None,
    embedder: Embedder,
    remember: Remember = afresh,
) -> Audit:
    """Looks for everything that may be wrong with labelled data.

    Args:
        dataset: The table.
        excluded: What reading left out.
        split: Whose parts copies must not cross.
        source: Whose embeddings tell what is near; frozen.
        layer: Which of its embeddings.
        seed: Decides the folds of the probe that judges labels.
        receipt: Of the run, for its scores without leaking test rows; None: there is none.
        embedder: Keeps the embeddings; after a fit nothing is computed again.
        remember: Keeps what was seen for the next run on the same table.

    Raises:
        DataError: If an image has become unreadable.
    """
    if receipt is not None and receipt.proof == "off":
        dataset, split = _closed(dataset, split)
    eyes = _Eyes(dataset, split, source, layer, seed, embedder, remember)
    leaking = eyes.leaking
    found = [
        *findings.unusable(excluded),
        *findings.classes(dataset, split),
        *findings.copies(dataset, split, eyes.exact, eyes.near),
        *findings.groups(dataset, split),
        *findings.labels(dataset.task, eyes.suspects),
        *findings.outliers(eyes.names(eyes.rows), eyes.distances),
    ]
    texts = dataset.task.modality == "text"
    if texts:
        cut = truncated(source, dataset.examples.inputs)
        found += findings.texts(dataset.examples.ids, dataset.examples.inputs, cut, source.card.input.max_tokens)
    return Audit(
        findings=tuple(sorted(found, key=_badness)),
        examples=len(dataset.examples),
        source=source.name,
        checked=(*CHECKED, *(OF_TEXTS if texts else ())),
        suspects=eyes.suspects,
        leaking=leaking,
        without_leaking=_without(receipt, leaking, dataset) if receipt else {},
    )


def _closed(dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """The table without its test rows, for runs that never open them."""
    table = dataset.examples
    kept = np.setdiff1d(np.arange(len(table)), split.test)
    examples = replace(
        table,
        inputs=tuple(table.inputs[row] for row in kept),
        ids=tuple(table.ids[row] for row in kept),
        digests=tuple(table.digests[row] for row in kept),
        targets=table.targets[kept],
        groups=None if table.groups is None else tuple(table.groups[row] for row in kept),
    )
    parts = {name: np.searchsorted(kept, getattr(split, name)) for name in ("train", "validation", "unlabeled")}
    return replace(dataset, examples=examples, given=None), replace(split, test=kept[:0], **parts)


def _badness(finding: Finding) -> int:
    return ("serious", "look", "note").index(finding.severity)


def _without(receipt: Receipt, leaking: tuple[str, ...], dataset: Dataset) -> dict[str, dict[str, float]]:
    """Arm -> metrics on the test rows that do not leak; empty where none leaks, or every row does."""
    names, targets = set(leaking), receipt.targets
    scores = {}
    for arm in receipt.arms:
        kept = np.array([name not in names for name in arm.predictions.ids], bool)
        if targets is not None and len(targets) == len(kept) and 0 < kept.sum() < len(kept):
            scores[arm.name] = dict(metrics(arm.predictions.logits[kept], targets[kept], dataset.task.problem))
    return scores


@dataclass(frozen=True)
class _Eyes:
    """What is seen in one table through one source; each thing looked at once."""

    dataset: Dataset
    split: Split
    source: Source
    layer: str
    seed: int
    embedder: Embedder
    remember: Remember

    @cached_property
    def rows(self) -> IndexArray:
        """Labelled rows: those with embeddings."""
        return np.flatnonzero(~is_unlabeled(self.dataset.examples.targets))

    @cached_property
    def embeddings(self) -> FloatArray:
        """Of `rows`."""
        return _directions(self.dataset.examples, self.rows, self.source, self.layer, self.embedder)

    @cached_property
    def exact(self) -> list[tuple[int, int]]:
        """Pairs of rows of equal content, each with the first that has it."""
        first: dict[str, int] = {}
        digests = enumerate(self.dataset.examples.digests)
        return [(first[digest], row) for row, digest in digests if first.setdefault(digest, row) != row]

    @cached_property
    def near(self) -> list[tuple[int, int]]:
        """Pairs of rows of the same picture or wording but not of equal content."""
        seen = (self.dataset.examples, self.rows, self.source, self.layer)
        return list(self.remember("copies", _near, *seen, given=(self.embedder,)))

    @cached_property
    def leaking(self) -> tuple[str, ...]:
        """Names of test rows with a copy outside the test."""
        tested = set(self.split.test.tolist())
        families = findings.families([*self.exact, *self.near])
        torn = [family for family in families if not tested.issuperset(family)]
        return self.names(sorted(tested.intersection(row for family in torn for row in family)))

    @cached_property
    def suspects(self) -> tuple[Suspect, ...]:
        """Labels that look wrong."""
        if len(self.rows) < findings.FEW:
            return ()
        seen = (self.dataset, self.rows, self.source, self.layer, self.seed)
        return tuple(self.remember("suspects", _suspects, *seen, given=(self.embedder,)))

    @cached_property
    def distances(self) -> FloatArray:
        """Of `rows`: mean cosine distance to the few nearest others."""
        return findings.loneliness(self.embeddings)

    def names(self, rows: IndexArray | list[int]) -> tuple[str, ...]:
        return tuple(self.dataset.examples.ids[row] for row in rows)


def _directions(examples: Examples, rows: IndexArray, source: Source, layer: str, embedder: Embedder) -> FloatArray:
    """Embeddings around their mean: those of one source mostly point the same way."""
    found = embedder.embed(source, examples, rows)[layer]
    return np.asarray(found - found.mean(0))


def _near(
    examples: Examples, labelled: IndexArray, source: Source, layer: str, embedder: Embedder
) -> tuple[tuple[int, int], ...]:
    """Pairs of labelled rows of the same picture or wording but not of equal content."""
    distinct = {digest: row for row, digest in reversed(list(enumerate(examples.digests)))}
    rows = [row for row in labelled.tolist() if distinct[examples.digests[row]] == row]
    inputs = [examples.inputs[row] for row in rows]
    if examples.modality == "image":
        pairs = pictures.copies(pictures.thumbnails(inputs))
    else:
        directions = _directions(examples, labelled, source, layer, embedder)
        pairs = wording.copies(inputs, directions[np.searchsorted(labelled, rows)])
    return tuple((rows[one], rows[other]) for one, other in pairs)


def _suspects(
    dataset: Dataset, rows: IndexArray, source: Source, layer: str, seed: int, embedder: Embedder
) -> tuple[Suspect, ...]:
    """Labels of these rows that look wrong to a probe that was not told them."""
    examples, whole = dataset.examples, data.split(replace(dataset, given=None), seed, test_share=0)
    names = tuple(examples.ids[row] for row in rows)
    directions = _directions(examples, rows, source, layer, embedder)
    return tuple(labels.suspects(dataset.task, names, examples.targets[rows], directions, whole.folds)[0])
