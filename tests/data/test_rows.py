from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.rows import Rows, clean, is_missing, named, split_name, unique
from headstart.types import Exclusion


@given(st.lists(st.sampled_from(["a", "a (2)", "a (3)", "b"])))
def test_unique_names_are_unique_and_keep_the_first(names: list[str]) -> None:
    made = unique(names)
    assert len(set(made)) == len(made) == len(names)
    for name in set(names):
        assert made[names.index(name)] == name
    assert all(new.startswith(old) for new, old in zip(made, names, strict=True))


@pytest.mark.parametrize("value", [None, "", " \t\n", math.nan, np.float32("nan"), pd.NA, pd.NaT])
def test_missing(value: object) -> None:
    assert is_missing(value)
    assert split_name(value) == ""


@pytest.mark.parametrize("value", [0, False, "NA", "null", 0.0, math.inf, [], np.float32(1)])
def test_not_missing(value: object) -> None:
    assert not is_missing(value)


def test_split_names() -> None:
    assert [split_name(name) for name in ("TRAIN", " training ", "valid", "Dev", "testing")] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
    ]
    assert split_name("extra") is None
    assert split_name(3) is None


@given(st.text(st.characters(codec=None)))
def test_clean_text_can_be_encoded_and_good_text_stays(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert "\ufffd" in clean(text)
    else:
        assert clean(text) == text
    clean(text).encode()


def test_named_is_short() -> None:
    assert named([]) == ""
    assert named(range(7)) == "'0', '1', '2', '3', '4' and 2 more"


def test_keep_chooses_everywhere() -> None:
    rows = Rows("text", ["a", "b"], ["1", "2"], [0, 1], ["g", "h"], ["train", "test"], (Exclusion("0", "why"),))
    kept = rows.keep([1], [Exclusion("1", "not")])
    assert (kept.inputs, kept.ids, kept.labels, kept.groups, kept.splits) == (["b"], ["2"], [1], ["h"], ["test"])
    assert [item.id for item in kept.excluded] == ["0", "1"]
    assert Rows("text", ["a"], ["1"], [0]).keep([]).groups is None
