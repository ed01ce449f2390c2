from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.data.roles import Asked, choose, choose_input
from headstart.data.table import Table, row_names
from headstart.errors import DataError

NAMES = ["red", "blue"] * 5
TEXTS = [f"this is the text of number {n}" for n in range(10)]
SHORT = [f"s{n}" for n in range(10)]


def table(splits: list[str] | None = None, base: Path | None = None, **columns: list[Any]) -> Table:
    count = len(next(iter(columns.values())))
    return Table("data.csv", columns, row_names(count), base or Path(), splits)


@pytest.mark.parametrize(
    ("columns", "source", "label"),
    [
        ({"text": TEXTS, "label": NAMES}, "text", "label"),
        ({"id": SHORT, "Label": NAMES, "Review": TEXTS}, "Review", "Label"),
        ({"title": SHORT, "content": TEXTS, "category": NAMES}, "content", "category"),
        ({"label_text": NAMES, "label": [0, 1] * 5, "text": TEXTS}, "text", "label"),
        ({"utterance": TEXTS, "intent": NAMES, "score": NAMES}, "utterance", "intent"),
        ({"question": TEXTS, "y": NAMES}, "question", "y"),
        ({"foo": TEXTS, "bar": NAMES}, "foo", "bar"),
        ({"bar": NAMES, "foo": TEXTS, "id": SHORT, "score": [1, 2] * 5}, "foo", "score"),
        ({"foo": TEXTS, "number": list(range(10)), "kind": NAMES}, "foo", "kind"),
        ({"image-path": ["a.png", "b.jpg"] * 5, "class": NAMES}, "image-path", "class"),
        ({"whatever": ["a.png", "b.jpg"] * 5, "class": NAMES}, "whatever", "class"),
        ({"text": [1.5] * 10, "notes": TEXTS, "label": NAMES}, "notes", "label"),
    ],
)
def test_roles_are_guessed_and_said(columns: dict[str, list[Any]], source: str, label: str) -> None:
    rows = choose(table(**columns), Asked())
    assert f"'{source}'" in rows.notes[0]
    assert f"'{label}' as the label; set them with --input and --label." in rows.notes[0]
    assert rows.labels == columns[label]


def test_said_in_these_words() -> None:
    rows = choose(table(text=TEXTS, label=NAMES), Asked())
    said = "Reading column 'text' as the text and 'label' as the label; set them with --input and --label."
    assert rows.notes == (said,)


def test_columns_asked_for() -> None:
    many = table(text=TEXTS, label=NAMES, other=SHORT, kind=NAMES[::-1], user=["u", None] * 5, fold=["dev", ""] * 5)
    rows = choose(many, Asked("other", "kind", "user", "fold"))
    assert rows.inputs == SHORT
    assert rows.labels == NAMES[::-1]
    assert rows.splits == ["validation", ""] * 5
    assert rows.groups is not None
    assert rows.groups[0] == rows.groups[2] == "u"
    assert len(set(rows.groups)) == 6  # rows without a group are groups of their own
    assert choose(many, Asked(label="text")).labels == TEXTS
    assert choose(many, Asked(input="label")).inputs == NAMES


@pytest.mark.parametrize("role", ["input", "label", "group", "split"])
def test_unknown_column_lists_the_columns(role: str) -> None:
    with pytest.raises(DataError, match=r"data\.csv has no column 'txt'; did you mean 'text'\? Columns: text, label\."):
        choose(table(text=TEXTS, label=NAMES), Asked(**{role: "txt"}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"a": [1, 2], "label": ["x", "y"]},
            "no column of data.csv holds texts or paths of images. Columns: a, label.",
        ),
        (
            {"text": ["a", "b"]},
            "cannot tell which column of data.csv is the label: it is not among them. Columns: text",
        ),
        ({"text": TEXTS, "p": NAMES, "q": NAMES}, "is the label: it could be 'p', 'q'. Columns"),
        ({"text": TEXTS, "p": SHORT, "q": list(range(10))}, "is the label: it is not among them"),
        ({"text": [["a"], ["b"]], "label": ["x", "y"]}, "no column of data.csv holds texts"),
    ],
)
def test_roles_that_cannot_be_guessed(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        choose(table(**columns), Asked())
    assert message in str(caught.value)


def test_columns_that_cannot_play_the_role() -> None:
    with pytest.raises(DataError, match="'text' cannot be both the input and the label"):
        choose(table(text=TEXTS, label=NAMES), Asked("text", "text"))
    with pytest.raises(DataError, match="column 'tokens' of data.csv does not hold texts"):
        choose(table(tokens=[["a"]] * 10, label=NAMES), Asked("tokens"))
    with pytest.raises(DataError, match="holds paths of images"):
        choose(table(text=TEXTS, label=NAMES), Asked(), "image")


def test_split_column() -> None:
    names = ["train", "TEST", "val", None, " dev "] * 2
    rows = choose(table(text=TEXTS, label=NAMES, Split=names), Asked())
    assert rows.splits == ["train", "test", "validation", "", "validation"] * 2
    assert any("'Split' as the split; set it with --split" in note for note in rows.notes)
    strange = table(text=TEXTS, label=NAMES, split=["0", "1"] * 5)
    rows = choose(strange, Asked())
    assert rows.splits is None
    assert any("'split' is not used for splitting: it holds '0', '1'" in note for note in rows.notes)
    with pytest.raises(DataError, match="holds '0', '1', which name no split. Valid: train, validation"):
        choose(strange, Asked(split="split"))


def test_splits_of_the_table_itself_win_unless_a_column_is_named() -> None:
    both = table(["train"] * 10, text=TEXTS, label=NAMES, split=["test", "train"] * 5)
    assert choose(both, Asked()).splits == ["train"] * 10
    assert choose(both, Asked(split="split")).splits == ["test", "train"] * 5


def test_a_column_named_split_may_play_another_role() -> None:
    rows = choose(table(text=TEXTS, split=NAMES), Asked(label="split"))
    assert rows.splits is None
    assert rows.labels == NAMES


def test_image_paths_start_from_the_table(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    rows = choose(table(base=tmp_path, image=["one", "/two.png", " ", None], label=["x", "y"] * 2), Asked())
    assert rows.modality == "image"
    assert rows.inputs == [tmp_path / "one", Path("/two.png"), None, None]
    assert rows.ids == ["row 1", "row 2", "row 3", "row 4"]
    assert choose(table(file=["some words", "x" * 5000], label=["x", "y"]), Asked()).modality == "text"


def test_input_alone() -> None:
    assert choose_input(table(label=NAMES, text=TEXTS), None, None, set()) == ("text", "text")
    assert choose_input(table(label=NAMES), None, None, set()) == ("label", "text")
    assert choose_input(table(n=[1, 2]), "n", "text", set()) == ("n", "text")
