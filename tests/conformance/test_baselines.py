"""Every entry of the table of baselines keeps its contract, for every problem."""

import numpy as np
import pytest
from PIL import Image

from headstart.modalities import BASELINES
from headstart.types import Task

ROWS = 24
WORDS = ("red apple", "green pear", "blue sky")


def example(modality, kind, number):
    if modality == "image":
        pixels = np.random.default_rng(number).integers(0, 90, (20, 30, 3), np.uint8)
        pixels[..., kind] += 150
        return Image.fromarray(pixels)
    return f"{WORDS[kind]} number {number}"


def given(name, problem):
    kinds = np.arange(ROWS) % 3
    inputs = [example(name, kind, number) for number, kind in enumerate(kinds)]
    targets = {
        "classification": kinds.astype(np.int64),
        "multilabel": np.stack([kinds == 0, kinds != 1], axis=1),
        "regression": kinds * 2.0 + 10,
    }[problem]
    labels = {"classification": ("a", "b", "c", "never"), "multilabel": ("x", "y"), "regression": ()}[problem]
    return Task(problem, "image" if name == "image" else "text", labels, "accuracy"), inputs, targets


@pytest.fixture(params=["classification", "multilabel", "regression"])
def problem(request):
    return request.param


@pytest.fixture(params=sorted(BASELINES))
def name(request):
    return request.param


def test_fit_and_logits(name, problem):
    task, inputs, targets = given(name, problem)
    made = BASELINES[name](task, 0)
    assert made.fit(inputs, targets, np.arange(ROWS) % 4) is made
    logits = made.logits(inputs[:5])
    assert logits.shape == (5, task.outputs)
    assert logits.dtype == np.float64
    assert np.isfinite(logits).all()
    assert made.out_of_fold.shape == (len(made.held_out), task.outputs)
    assert len(np.unique(made.held_out)) == ROWS
    assert np.isfinite(made.out_of_fold).all()
    assert made.logits([]).shape == (0, task.outputs)
    assert "baseline" in made.name
    assert made.title
    assert made.source
    assert made.method


def test_the_same_seed_gives_the_same_logits(name, problem):
    task, inputs, targets = given(name, problem)
    first, second = (BASELINES[name](task, 7).fit(inputs, targets).logits(inputs) for _ in range(2))
    assert (first == second).all()


def test_what_can_be_learned_is_learned(name, problem):
    task, inputs, targets = given(name, problem)
    logits = BASELINES[name](task, 0).fit(inputs, targets).logits(inputs)
    if name == "majority":
        assert (logits == logits[0]).all()
    elif problem == "classification":
        assert (logits.argmax(axis=1) == targets).all()
    elif problem == "multilabel":
        assert ((logits > 0) == targets).all()
    else:
        assert np.corrcoef(logits[:, 0], targets)[0, 1] > 0.9


def test_one_example_of_one_class(name):
    task, inputs, _ = given(name, "classification")
    made = BASELINES[name](task, 0).fit(inputs[:1], np.array([2]), np.zeros(1, np.int64))
    assert made.logits(inputs).argmax(axis=1).tolist() == [2] * ROWS
    assert len(made.held_out) == 0
