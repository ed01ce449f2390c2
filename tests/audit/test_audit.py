"""The audit of whole tables: every planted fault is found by name, and nothing of a run hangs on it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import audit, data, sources, transfer
from headstart.audit import findings
from headstart.evaluate import metrics
from headstart.features import Embedder
from headstart.modalities import pipeline_of
from headstart.types import ArmResult, Audit, Exclusion, Predictions, Receipt, Split

TEXTS = {
    "cooking": [
        "the soup needs more salt and pepper",
        "dough rises overnight in the cold",
        "butter burns fast in a pan",
    ],
    "football": ["the striker scored in the last minute", "our keeper saved a penalty", "the referee saw the foul"],
    "weather": ["it rains in the north again today", "the storm brought hail and wind", "frost comes late at night"],
}
OPENINGS = ["I think that", "Yesterday we heard", "Do you know whether", "Everyone says", "They told me", "Listen:"]


def rows() -> list[list[str]]:
    """Text, label, split, group: fine but for what `planted` adds."""
    made = []
    for number, opening in enumerate(OPENINGS):
        part = "test" if number > 3 else "train"
        pairs = [(label, ending) for label, endings in TEXTS.items() for ending in endings]
        made += [[f"{opening} {ending}", label, part, f"g{number}"] for label, ending in pairs]
    return made


def write(path: Path, table: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["text", "label", "split", "group"], *table])
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, list[list[str]]]:
    table = rows()
    sound = len(table)
    table += [
        [table[0][0], "cooking", "test", "g0"],  # an exact copy in the test, and a torn group
        [table[1][0].upper() + "!", "cooking", "test", "g5"],  # the same words
        [table[4][0], "weather", "train", "g1"],  # a copy with another label
        ["a rare thing that happened once in a while", "rare", "train", "g2"],
        ["nobody was shown what this is in training", "unseen", "test", "g4"],
        ["the cafÃ© was closed in the morning", "cooking", "train", "g0"],
        ["Ich weiß nicht, ob der Ofen heiß ist und wann das Brot fertig ist", "cooking", "train", "g0"],
        ["long " * 1500, "weather", "train", "g0"],
        ["", "weather", "train", "g0"],
        ["no label here", "", "train", "g0"],
    ]
    path = write(tmp_path_factory.mktemp("audit") / "planted.csv", table)
    return transfer.audit(path, source="wordllama", group="group"), table[sound:]


def found(told: Audit, kind: str) -> Any:
    return next(one for one in told.findings if one.kind == kind)


def test_copies_across_splits_are_named(planted: tuple[Audit, list[list[str]]]) -> None:
    told, _ = planted
    assert told.leaking == ("row 55", "row 56")
    one = found(told, "copies across splits")
    assert (one.severity, one.count) == ("serious", 2)
    assert ("row 1", "row 55") in one.examples
    assert ("row 2", "row 56") in one.examples
    assert "1 of them with exactly the same content" in one.sentence
    assert told.findings[0].severity == "serious"


@pytest.mark.parametrize(
    ("kind", "name", "severity"),
    [
        ("copies with different labels", "row 57", "serious"),
        ("groups across splits", "g0", "serious"),
        ("classes without training rows", "row 59", "serious"),
        ("tiny classes", "rare", "look"),
        ("damaged encoding", "row 60", "look"),
        ("other languages", "row 61", "look"),
        ("odd lengths", "row 62", "look"),
        ("truncated texts", "row 62", "look"),
        ("empty texts", "row 63", "look"),
        ("rows without a label", "row 64", "note"),
        ("classes without test rows", "rare", "note"),
    ],
)
def test_planted_faults_are_named(planted: tuple[Audit, list[list[str]]], kind: str, name: str, severity: str) -> None:
    one = found(planted[0], kind)
    assert one.severity == severity
    assert any(name in names for names in one.examples)
    assert one.count >= len(one.examples)
    assert one.advice
    assert one.sentence[0].isupper() or one.sentence[0].isdigit()


def test_sound_data_raise_no_serious_doubt(tmp_path: Path) -> None:
    told = transfer.audit(write(tmp_path / "sound.csv", rows()), source="wordllama")
    assert [one.kind for one in told.findings if one.severity == "serious"] == []
    assert told.leaking == ()
    assert "truncation" in told.checked


def looked_at(path: Path, proof: str) -> tuple[Audit, Receipt]:
    """The audit after a proof whose only arm gets the first half of the test rows right."""
    dataset = data.read(path)
    split = data.split(dataset, seed=0)
    targets = dataset.examples.targets[split.test]
    logits = np.eye(3)[np.where(np.arange(len(targets)) < len(targets) // 2, targets, (targets + 1) % 3)]
    ids = tuple(dataset.examples.ids[row] for row in split.test)
    arm = ArmResult("probe", "wordllama", "probe", 0.0, {}, metrics(logits, targets, "classification"),
                    Predictions(ids, logits))  # fmt: skip
    receipt = Receipt("helped", "", "probe", "accuracy", (), (arm,), {}, None, "", targets=targets, proof=proof)
    (source,) = sources.candidates("wordllama", "text")
    embedder = Embedder(pipeline_of, None)
    return audit.audit(dataset, dataset.excluded, split, source, "last", 0, receipt, embedder), receipt


def test_the_score_is_told_without_leaking_rows(tmp_path: Path) -> None:
    table = rows()
    table += [[table[row][0], table[row][1], "test", "g"] for row in (0, 3, 7)]
    found, receipt = looked_at(write(tmp_path / "leaking.csv", table), "full")
    assert found.leaking == ("row 55", "row 56", "row 57")
    before, after = receipt.arms[0].test, found.without_leaking["probe"]
    assert (before["n"], after["n"]) == (21, 18)
    assert (before["accuracy"], after["accuracy"]) == (pytest.approx(10 / 21), pytest.approx(10 / 18))


def test_where_nothing_was_proved_the_test_rows_stay_closed(tmp_path: Path) -> None:
    table = rows()
    table += [[table[0][0], "weather", "test", "g"], ["the cafÃ© was closed", "cooking", "test", "g"]]
    path = write(tmp_path / "closed.csv", table)
    opened, closed = looked_at(path, "full")[0], looked_at(path, "off")[0]
    assert {"copies across splits", "copies with different labels", "damaged encoding"} <= kinds(opened)
    assert not {"copies across splits", "copies with different labels", "damaged encoding"} & kinds(closed)
    assert closed.examples == sum(row[2] == "train" for row in table)
    assert not closed.leaking
    assert not closed.without_leaking


def kinds(found: Audit) -> set[str]:
    return {one.kind for one in found.findings}


def test_what_reading_left_out_is_sorted_by_what_is_wrong() -> None:
    reasons = {
        "a.jpg": "60000 x 60000 pixels; the limit is 100 megapixels",
        "b.jpg": "damaged image file (image file is truncated (12 bytes not processed))",
        "c.jpg": "file does not exist",
        "d": "empty text",
        "e": "no label",
        "f": "class 'x' is not in the training rows",
    }
    told = findings.unusable(tuple(Exclusion(name, reason) for name, reason in reasons.items()))
    assert {one.kind: one.examples for one in told} == {
        "huge inputs": (("a.jpg",),),
        "truncated inputs": (("b.jpg",),),
        "unreadable inputs": (("c.jpg",),),
        "empty texts": (("d",),),
        "rows without a label": (("e",),),
        "classes without training rows": (("f",),),
    }


def test_families_join_through_others() -> None:
    assert findings.families([(5, 3), (1, 2), (3, 9), (8, 9)]) == [[1, 2], [3, 5, 8, 9]]


def test_the_lonely_one_is_an_outlier() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(60, 16)) * 0.2 + np.eye(16)[0]
    embeddings[17] = -3 * np.eye(16)[3]
    (one,) = findings.outliers([str(row) for row in range(60)], findings.loneliness(embeddings))
    assert one.examples == (("17",),)
    assert findings.outliers(["a", "b"], findings.loneliness(embeddings[:2])) == []


def test_images_in_a_table_of_splits(photo_folder: Path, tmp_path: Path) -> None:
    dataset = data.read(photo_folder)
    split = Split(np.arange(30), np.zeros(0, int), np.arange(30, 36), np.zeros(0, int), "", np.arange(30) % 5)
    told = findings.copies(dataset, split, [(0, 35)], [(3, 31), (4, 5)])
    across = next(one for one in told if one.kind == "copies across splits")
    assert across.count == 2
    assert "1 of them" in across.sentence
    assert {one.kind for one in told} >= {"exact copies", "copies with changes", "copies with different labels"}
