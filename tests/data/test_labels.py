from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from headstart.data.labels import default_metric, encode, encode_known, guess_problem, is_unlabeled
from headstart.errors import DataError
from headstart.types import Task


def test_classes_are_texts_in_numeric_order() -> None:
    encoded = encode(["10", "9", 9, 1.0, "1.0", "-2", True], None, "classification")
    assert encoded.labels == ("-2", "1", "10", "9", "True")  # not all are numbers
    encoded = encode(["10", "9", 9, 1.0, "1.0", "-2"], None)
    assert encoded.labels == ("-2", "1", "9", "10")
    assert encoded.targets.tolist() == [3, 2, 2, 1, 1, 0]
    assert encoded.targets.dtype == np.int64
    assert encode(["b", " a ", "a"], None).labels == ("a", "b")
    assert encode(["01", "1", "1.50"], None, "classification").labels == ("01", "1", "1.50")


def test_one_and_text_one_are_one_class_and_it_is_said() -> None:
    encoded = encode([1, "1", 2, 1.0], None)
    assert encoded.labels == ("1", "2")
    assert any("read as one class: '1'." in note for note in encoded.notes)
    assert not any("one class" in note for note in encode(["1", "2"], None).notes)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["a", "b"], "classification"),
        ([0, 1] * 50, "classification"),
        (list(range(77)) * 2, "classification"),
        (list(range(1000)), "regression"),
        (list(range(20)), "classification"),
        ([i / 7 for i in range(1, 40)], "regression"),
        ([str(i / 7) for i in range(1, 40)], "regression"),
        ([0.5, 1.0, 1.5, 2.0] * 30, "classification"),
        ([0.0, 1.0, 2.0] * 30, "classification"),
        ([0.1, 0.2, 0.3, 0.4], "regression"),
        ([*(i / 7 for i in range(40)), "unknown"], "classification"),
        ([["a"], ["b", "c"]], "multilabel"),
        ([True, False], "classification"),
        ([("a",), ()], "multilabel"),
        ([np.array(["a"])], "multilabel"),
    ],
)
def test_the_problem_is_guessed(values: list[Any], problem: str) -> None:
    assert guess_problem(values) == problem


def test_validation_and_test_labels_decide_nothing() -> None:
    values = ["0", "1"] * 30 + [str(i / 7) for i in range(60)]
    encoded = encode(values, ["train"] * 60 + ["test"] * 60)
    assert encoded.problem == "classification"
    assert encoded.labels == ("0", "1")


def test_missing_labels() -> None:
    encoded = encode(["a", "", None, math.nan, "b", " "], ["", "train", "test", "validation", "", "test"])
    assert encoded.targets.tolist() == [0, -1, -1, -1, 1, -1]
    assert encoded.reasons == (None, None, "no label", None, None, "no label")
    numbers = encode([0.5, None, 1.5, "nan"], ["", "", "", "test"], "regression")
    assert is_unlabeled(numbers.targets).tolist() == [False, True, False, True]
    assert numbers.reasons == (None, None, None, "no label")
    assert encode([1, 2, "nan"], None).labels == ("1", "2")
    assert encode(["x", "y", "nan"], None).labels == ("nan", "x", "y")


def test_classes_of_no_training_row_are_left_out_loudly() -> None:
    encoded = encode(["a", "b", "c", "c", "d"], ["train", "", "test", "validation", "test"])
    assert encoded.labels == ("a", "b")
    assert encoded.reasons[2:] == (
        "class 'c' is not in the training rows",
        "class 'c' is not in the training rows",
        "class 'd' is not in the training rows",
    )
    assert any("no training row has (3 of 'c', 'd')" in note for note in encoded.notes)


def test_tiny_classes_are_named() -> None:
    encoded = encode(["a", "a", "b", "c"], ["", "", "", ""])
    assert "Classes with a single training example: 'b', 'c'." in encoded.notes
    assert encoded.reasons == (None,) * 4


def test_regression() -> None:
    encoded = encode(["1.5", 2, "-3e2", "inf", "abc", None], None, "regression")
    np.testing.assert_array_equal(encoded.targets[[0, 1, 2, 5]], [1.5, 2, -300, np.nan])
    assert encoded.targets.dtype == np.float64
    assert encoded.labels == ()
    assert encoded.reasons[3:] == ("label 'inf' is not a finite number", "label 'abc' is not a finite number", None)


def test_multilabel() -> None:
    encoded = encode([["b", "a"], [], None, ["a"], [1, None]], None)
    assert encoded.labels == ("1", "a", "b")
    assert encoded.targets.tolist() == [
        [False, True, True],
        [False, False, False],
        [False, False, False],
        [False, True, False],
        [True, False, False],
    ]
    assert encoded.reasons == (None, None, "no label", None, None)


@pytest.mark.parametrize(
    "values", [["a|b", "a", "c"], ["a;b", "a", "c"], ["a, b", "a", "c"], ['["a", "b"]', "a", '["c"]']]
)
def test_multilabel_texts(values: list[str]) -> None:
    encoded = encode(values, None, "multilabel")
    assert encoded.labels == ("a", "b", "c")
    assert encoded.targets.tolist() == [[True, True, False], [True, False, False], [False, False, True]]
    assert encode(["['a', 'b']", "['c']"], None, "multilabel").labels == ("a", "b", "c")


def test_multilabel_rows_with_strange_labels() -> None:
    encoded = encode([["a"], ["b"], ["a", "z"], ["b"]], ["", "", "test", "test"])
    assert encoded.labels == ("a", "b")
    assert encoded.reasons == (None, None, "class 'z' is not in the training rows", None)
    assert any(note.startswith("LEFT OUT: ") and note.endswith("(1).") for note in encoded.notes)


@pytest.mark.parametrize(
    ("values", "splits", "problem", "message"),
    [
        ([None, "", math.nan], None, None, "every label of the training rows is empty"),
        (["a", None], ["test", "train"], None, "every label of the training rows is empty"),
        (["a", "a"], None, None, "has the class 'a'; classification needs at least two"),
        (["a", "b"], ["train", "test"], None, "has the class 'a'"),
        (["a", "b"], ["test", "validation"], None, "no row is a training row"),
        (["a", "b"], None, "regression", "regression needs numbers as labels; found 'a', 'b'"),
        ([1.5, 1.5], None, "regression", "every training row has the label 1.5"),
        ([["a"], ["a"]], None, None, "every training row has the same labels"),
        ([[], []], None, None, r"same labels \(none\)"),
    ],
)
def test_labels_that_teach_nothing(values: list[Any], splits: list[str] | None, problem: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode(values, splits, problem)


def test_default_metric() -> None:
    assert default_metric("classification", np.array([0, 1, 1, 0, -1]))[0] == "accuracy"
    assert default_metric("classification", np.array([0] * 95 + [1] * 5))[0] == "balanced_accuracy"
    # the border is an effective number of 0.8 of the classes: exp(0.47) = 1.6 of 2
    assert default_metric("classification", np.array([0] * 80 + [1] * 20))[0] == "accuracy"
    assert default_metric("classification", np.array([0] * 84 + [1] * 16))[0] == "balanced_accuracy"
    assert default_metric("regression", np.array([0.5]))[0] == "r2"
    assert default_metric("multilabel", np.array([[True]]))[0] == "macro_f1"


def test_known_labels_keep_their_numbers() -> None:
    task = Task("classification", "text", ("b", "a", "1"), "accuracy")
    encoded = encode_known(["a", None, "b", 1.0], task)
    assert encoded.targets.tolist() == [1, -1, 0, 2]
    assert encoded.reasons == (None, "no label", None, None)
    with pytest.raises(DataError, match=r"model does not know: 'c'\. It knows 'b', 'a', '1'"):
        encode_known(["a", "c"], task)
    assert encode_known(["a", "a"], task).targets.tolist() == [1, 1]


def test_known_labels_of_other_problems() -> None:
    many = Task("multilabel", "text", ("b", "a"), "macro_f1")
    assert encode_known([["a"], [], "b"], many).targets.tolist() == [[False, True], [False, False], [True, False]]
    with pytest.raises(DataError, match="does not know: 'c'"):
        encode_known([["a", "c"]], many)
    numbers = encode_known([1, "inf", None], Task("regression", "text", (), "r2"))
    assert numbers.reasons == (None, "label 'inf' is not a finite number", "no label")
