"""What was seen, as findings: how many, how bad, which ones first, what to do."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from headstart.audit import wording
from headstart.types import Dataset, Exclusion, Finding, FloatArray, IndexArray, Split, Suspect, Task

__all__ = [
    *("FEW", "classes", "copies", "families", "groups", "labels", "loneliness", "outliers", "texts", "unusable"),
]

SHOWN = 20
"""Entries a finding names."""
FEW = 10
"""Labelled rows below which nothing is said of single labels or outliers."""
TINY = 5
"""Training rows below which a class is tiny: a fold cannot even hold one of them."""
LONELY = 4.0
"""Robust standard deviations of the log distance from which on an example is an outlier."""
NEIGHBOURS = 5
MAIN = 0.8
"""Share of one language from which on the others are outliers."""
BLOCK = 1024
REASONS = (
    ("huge inputs", re.compile("megapixel"), "Shrink them; they are most often exported at the wrong size."),
    ("truncated inputs", re.compile("truncated|damaged|cut"), "Copy or download them again; the files are incomplete."),
    ("empty texts", re.compile("empty text"), "Drop the rows, or find where their text went."),
    (
        "classes without training rows",
        re.compile("not in the training rows"),
        "Split the data again so that every class is learned: such rows can be neither predicted nor tested.",
    ),
    ("rows without a label", re.compile("no label|without"), "Label them, or leave them: they are not used."),
)
"""Kind, what its reasons say, and what to do; the first that fits."""
SEVERITIES: dict[str, Literal["serious", "note"]] = {
    "classes without training rows": "serious",
    "rows without a label": "note",
}
"""Of kinds of these that a person need not just look at."""


def unusable(excluded: tuple[Exclusion, ...]) -> list[Finding]:
    """What reading left out, by what is wrong with it."""
    kinds: dict[str, list[Exclusion]] = defaultdict(list)
    for one in excluded:
        kinds[next((kind for kind, says, _ in REASONS if says.search(one.reason)), "unreadable inputs")].append(one)
    advice = {kind: what for kind, _, what in REASONS}
    return [
        Finding(
            kind,
            SEVERITIES.get(kind, "look"),
            len(found),
            f"{_examples(len(found))} could not be used and {_were(len(found))} left out together with the label.",
            advice.get(kind, "Replace the files, or delete the rows that name them."),
            tuple((one.id,) for one in found[:SHOWN]),
            tuple(one.reason for one in found[:SHOWN]),
        )
        for kind, found in kinds.items()
    ]


def classes(dataset: Dataset, split: Split) -> list[Finding]:
    """Classes too small to learn, or missing on one side of the split."""
    task = dataset.task
    if task.problem == "regression":
        return []
    parts = {"train": split.train, "test": split.test}
    counts = {name: _counts(task, dataset.examples.targets[rows]) for name, rows in parts.items()}
    found = []
    tiny = [k for k in np.argsort(counts["train"], kind="stable") if 0 < counts["train"][k] < TINY]
    if tiny:
        said = f"{_things(len(tiny), 'class', 'es')} with fewer than {TINY} training rows: hardly to be learned."
        remarks = tuple(f"{counts['train'][k]} training rows" for k in tiny[:SHOWN])
        named = tuple((task.labels[k],) for k in tiny[:SHOWN])
        advice = "Collect more of these classes, merge them with a related one, or leave them out."
        found.append(Finding("tiny classes", "look", len(tiny), said, advice, named, remarks))
    untested = (counts["train"] > 0) & (counts["test"] == 0)
    if len(split.test) and untested.any():
        said = (
            f"{_things(int(untested.sum()), 'class', 'es')} without a test row: how well it is predicted is not known."
        )
        named = tuple((task.labels[k],) for k in np.flatnonzero(untested)[:SHOWN])
        advice = "Add test rows of these classes."
        found.append(Finding("classes without test rows", "note", int(untested.sum()), said, advice, named))
    return found


def _counts(task: Task, targets: np.ndarray) -> np.ndarray:
    return targets.sum(0) if task.problem == "multilabel" else np.bincount(targets, minlength=task.outputs)


def families(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows joined by pairs, each family sorted, in the order of their first rows."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = row = parent[parent[row]]
        return row

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for row in sorted(parent):
        members[root(row)].append(row)
    return sorted(members.values())


def copies(dataset: Dataset, split: Split, exact: list[tuple[int, int]], near: list[tuple[int, int]]) -> list[Finding]:
    """Copies: across splits, with different labels, and the rest."""
    place = _places(split, len(dataset.examples))
    joined = families([*exact, *near])
    sure = {row: number for number, family in enumerate(families(exact)) for row in family}
    found = [_across(dataset, place, joined, sure), *_conflicts(dataset, joined, sure)]
    for kind, pairs, what in (
        ("exact copies", exact, "the same content"),
        ("copies with changes", near, "the same picture or wording with small changes"),
    ):
        groups = families(pairs)
        extra = sum(len(family) - 1 for family in groups)
        if groups:
            said = (
                f"{_examples(extra)} repeat{'s' if extra == 1 else ''} another: {what}. Copies count twice in training."
            )
            advice = "Keep one of each, unless the repetition is meant. "
            if kind == "exact copies":
                advice += "They never cross a split that Headstart makes."
            else:
                advice += "Name them in a group column, so that no split tears them apart."
            found.append(Finding(kind, "note", extra, said, advice, _named(dataset, groups)))
    return [one for one in found if one is not None]


def _across(dataset: Dataset, place: np.ndarray, joined: list[list[int]], sure: dict[int, int]) -> Finding | None:
    """Test or validation rows that have a copy among the rows that are learned from."""
    torn = [family for family in joined if len({place[row] for row in family} - {""}) > 1]
    leaking = [row for family in torn for row in family if place[row] == "test"]
    if not torn:
        return None
    tested = int((place == "test").sum())
    same = sum(_has_twin(row, torn, sure, place) for row in leaking)
    said = (
        f"{len(leaking):,} of {tested:,} test rows ({len(leaking) / max(1, tested):.1%}) have a copy, or what looks "
        "like one, among the rows that were learned from or chosen by, "
        f"{same:,} of them with exactly the same content. "
        "Where they are copies, the model may remember instead of recognise, and the measured score is too good."
    )
    if not leaking:
        said = (
            f"{_things(len(torn), 'group')} of copies lie on both sides of train and validation: choices are too sure."
        )
    remarks = tuple(" / ".join(str(place[row]) or "unused" for row in family) for family in torn[:SHOWN])
    advice = "Remove the copies from the test, or split again with copies in one group; look at the score without them."
    severity: Literal["serious", "look"] = "serious" if same else "look"
    count = len(leaking) or len(torn)
    return Finding("copies across splits", severity, count, said, advice, _named(dataset, torn), remarks)


def _has_twin(row: int, torn: list[list[int]], sure: dict[int, int], place: np.ndarray) -> bool:
    """Whether exactly this content lies outside the test too."""
    family = next(family for family in torn if row in family)
    return any(place[other] != "test" and row in sure and sure[row] == sure.get(other) for other in family)


def _conflicts(dataset: Dataset, joined: list[list[int]], sure: dict[int, int]) -> list[Finding]:
    labelled = [[row for row in family if not _bare(dataset.examples.targets[row])] for family in joined]
    torn = [family for family in labelled if len({_label(dataset, row) for row in family}) > 1]
    if not torn:
        return []
    torn.sort(key=lambda family: not any(row in sure for row in family))
    rows = sum(map(len, torn))
    certain = any(_certain(dataset, family, sure) for family in torn)
    said = f"{_things(len(torn), 'group')} of copies ({_examples(rows)}) carry different labels; "
    said += "where the content is the same, at least one is wrong." if certain else "they may only look alike."
    severity: Literal["serious", "look"] = "serious" if certain else "look"
    advice = "Decide which label is right, or merge labels that people cannot tell apart."
    remarks = tuple(" / ".join(_label(dataset, row) for row in family) for family in torn[:SHOWN])
    return [Finding("copies with different labels", severity, rows, said, advice, _named(dataset, torn), remarks)]


def _certain(dataset: Dataset, family: list[int], sure: dict[int, int]) -> bool:
    """Whether rows of exactly the same content have different labels."""
    told: dict[int, set[str]] = defaultdict(set)
    for row in family:
        if row in sure:
            told[sure[row]].add(_label(dataset, row))
    return any(len(labels) > 1 for labels in told.values())


def groups(dataset: Dataset, split: Split) -> list[Finding]:
    """Groups with rows on both sides of the test, where the data name the splits."""
    names = dataset.examples.groups
    if names is None:
        return []
    place = _places(split, len(dataset.examples))
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for name, side in zip(names, place.tolist(), strict=True):
        sides[name][side] += 1
    torn = [name for name, found in sides.items() if found["test"] and found["train"] + found["validation"]]
    if not torn:
        return []
    torn.sort(key=lambda name: -sides[name]["test"])
    rows = sum(sides[name]["test"] for name in torn)
    said = f"{_things(len(torn), 'group')} with rows on both sides: {rows:,} test rows are not from new groups."
    advice = "Let Headstart split by the group column: leave the split column out."
    remarks = tuple(f"{sides[name]['test']} test rows" for name in torn[:SHOWN])
    named = tuple((name,) for name in torn[:SHOWN])
    return [Finding("groups across splits", "serious", rows, said, advice, named, remarks)]


def labels(task: Task, suspects: tuple[Suspect, ...]) -> list[Finding]:
    """Labels that look wrong."""
    if not suspects:
        return []
    said = f"{_examples(len(suspects))} more like another label than like the given one."
    if task.problem == "regression":
        said = f"{_examples(len(suspects))} with a value far from what the content suggests."
    advice = "Look at them, the first ones first: some are wrong, others are only hard. Correct what is wrong."
    shown = suspects[:SHOWN]
    remarks = tuple(f"given {one.given}, looks like {one.likely} ({one.chance:.1%} for the given)" for one in shown)
    if task.problem == "regression":
        remarks = tuple(f"given {one.given}, looks like {one.likely}" for one in shown)
    named = tuple((one.id,) for one in shown)
    return [Finding("labels that look wrong", "look", len(suspects), said, advice, named, remarks)]


def loneliness(embeddings: FloatArray) -> FloatArray:
    """Mean cosine distance ``(N,)`` of each row to its few nearest others; 0 where there are too few."""
    width = min(NEIGHBOURS, len(embeddings) - 1)
    if width < 1:
        return np.zeros(len(embeddings))
    flat = (embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    found = np.empty(len(flat))
    for start in range(0, len(flat), BLOCK):
        alike = flat[start : start + BLOCK] @ flat.T
        here = np.arange(len(alike))
        alike[here, start + here] = -np.inf
        found[start : start + BLOCK] = 1 - np.partition(alike, -width, axis=1)[:, -width:].mean(1)
    return np.maximum(found, 0)


def outliers(names: Sequence[str], distances: FloatArray) -> list[Finding]:
    """Examples far from every other."""
    if len(names) < FEW:
        return []
    logs = np.log(distances + 1e-3)
    centre = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - centre))) or 1.0
    far = (logs - centre) / spread
    rows = [row for row in np.argsort(-far, kind="stable") if far[row] > LONELY]
    if not rows:
        return []
    said = f"{_examples(len(rows))} unlike all others."
    advice = "See whether they belong to the task; wrong files and broken exports show up here."
    remarks = tuple(f"{far[row]:.1f} deviations from the usual distance" for row in rows[:SHOWN])
    return [Finding("outliers", "look", len(rows), said, advice, tuple((names[row],) for row in rows[:SHOWN]), remarks)]


def texts(names: Sequence[str], inputs: Sequence[Any], cut: IndexArray, limit: int) -> list[Finding]:
    """What is wrong with single texts.

    Args:
        names: N names.
        inputs: N texts.
        cut: (N,) tokens beyond the source's limit.
        limit: That limit.
    """
    bare = [row for row, text in enumerate(inputs) if not any(character.isalnum() for character in text)]
    broken = {row: what for row, text in enumerate(inputs) if (what := wording.damage(text))}
    tongues, main = _foreign(inputs)
    odd = sorted(wording.odd_lengths(inputs).tolist(), key=lambda row: -len(inputs[row]))
    long = np.argsort(-cut, kind="stable")[: int((cut > 0).sum())].tolist()
    looked = (
        (
            "texts without words",
            {row: repr(inputs[row][:40]) for row in bare},
            "without a letter or digit.",
            "Drop them, or find where their text went.",
        ),
        (
            "damaged encoding",
            broken,
            "whose letters were damaged on the way.",
            "Read the original again with the right encoding, or repair it before training.",
        ),
        (
            "other languages",
            tongues,
            f"not in {main} as the others.",
            "Check that they belong here; choose a source that was trained on every language the task has.",
        ),
        (
            "odd lengths",
            {row: f"{len(inputs[row]):,} characters" for row in odd},
            "much longer or shorter than the others.",
            "See whether several texts ran together, or a text was cut.",
        ),
        (
            "truncated texts",
            {row: f"{cut[row]:,} tokens beyond" for row in long},
            f"with more than the {limit} tokens that the source reads; the rest is not seen.",
            "Put what matters first, split long texts, or choose a source that reads more.",
        ),
    )
    return [
        Finding(
            kind,
            "look",
            len(rows),
            f"{_examples(len(rows))} {said}",
            advice,
            tuple((names[row],) for row in list(rows)[:SHOWN]),
            tuple(list(rows.values())[:SHOWN]),
        )
        for kind, rows, said, advice in looked
        if rows
    ]


def _foreign(inputs: Sequence[Any]) -> tuple[dict[int, str], str]:
    """Rows in another language than nearly all with that language, and the language of nearly all."""
    told = [wording.language(text) for text in inputs]
    known = Counter(name for name in told if name)
    main, most = known.most_common(1)[0] if known else ("", 0)
    if most < MAIN * known.total():
        return {}, main
    return {row: name for row, name in enumerate(told) if name and name != main}, main


def _places(split: Split, rows: int) -> np.ndarray:
    """Name of the split of each row; empty for none."""
    place = np.full(rows, "", dtype="<U10")
    for name in ("train", "validation", "test"):
        place[getattr(split, name)] = name
    return place


def _bare(target: Any) -> bool:
    return bool(np.ndim(target) == 0 and (target == -1 if isinstance(target, np.integer) else np.isnan(target)))


def _label(dataset: Dataset, row: int) -> str:
    target, task = dataset.examples.targets[row], dataset.task
    if task.problem == "regression":
        return f"{target:.6g}"
    if task.problem == "multilabel":
        return ", ".join(task.labels[k] for k in np.flatnonzero(target)) or "(none)"
    return str(task.labels[target])


def _named(dataset: Dataset, groups: list[list[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(dataset.examples.ids[row] for row in family[:SHOWN]) for family in groups[:SHOWN])


def _things(count: int, what: str, plural: str = "s") -> str:
    return f"{count:,} {what}{'' if count == 1 else plural}"


def _examples(count: int) -> str:
    return _things(count, "example")


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
