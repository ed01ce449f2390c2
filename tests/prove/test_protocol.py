import numpy as np
import pytest

from headstart import prove
from headstart.prove import Plan, protocol
from headstart.types import Dataset, Examples, Split, Task

TASK = Task("classification", "text", ("a", "b"), "accuracy")
NOTHING = np.zeros(0, np.int64)


def dataset(rows, given=None):
    names = tuple(map(str, range(rows)))
    table = Examples("text", names, names, tuple(f"{i:032x}" for i in range(rows)), np.arange(rows) % 2)
    return Dataset(TASK, table, given, (), ())


def parts(train, test):
    return Split(np.arange(train), NOTHING, np.arange(train, train + test), NOTHING, "by hand")


@pytest.mark.parametrize(
    ("train", "test", "given", "folds", "repeats"),
    [
        (48, 12, False, 5, 3),
        (240, 60, False, 5, 3),
        (241, 60, False, 5, 2),
        (772, 193, False, 5, 2),
        (776, 194, False, 0, 0),
        (48, 12, True, 0, 0),
        (7, 2, False, 0, 0),
    ],
)
def test_few_rows_take_turns_where_no_test_is_given(train, test, given, folds, repeats):
    names = ("train",) * train + ("test",) * test if given else None
    how = prove.plan(dataset(train + test, names), parts(train, test), "full", 60.0)
    assert (how.folds, how.repeats, how.proof, how.budget) == (folds, repeats, "full", 60.0)


def test_a_proof_that_is_off_takes_no_turns_and_says_so():
    how = prove.plan(dataset(60), parts(48, 12), "off", None)
    assert how.folds == 0
    assert "stay unopened" in " ".join(prove.announce(TASK, parts(48, 12), how))


def test_the_sentences_before_the_work_name_what_can_be_seen_and_what_it_costs():
    said = prove.announce(TASK, parts(240, 60), Plan("full", 5, 3, budget=120.0))
    assert said[0].startswith("60 test rows are held out until the end; they can show a gain in accuracy of about 0.18")
    assert "5-fold cross-validation of all 300 rows, repeated 3 times: that can show a gain of about 0.14" in said[1]
    assert "up to 240 s" in said[2]
    quick = prove.announce(TASK, parts(1000, 400), Plan("quick"))
    assert len(quick) == 2
    assert "no model trained from scratch" in quick[1]


def test_cross_validation_can_show_smaller_gains_than_the_held_out_part():
    split = parts(240, 60)
    crossed = protocol.detectable(TASK, split, Plan("quick", 5, 3))
    assert crossed < 0.8 * protocol.detectable(TASK, split, Plan("full"))
    assert protocol.detectable(TASK, split, Plan("off")) is None


@pytest.mark.parametrize(
    ("metric", "rows", "said"),
    [
        ("accuracy", 194, "194 test rows are held out until the end; they can show a gain in accuracy of about 0.10"),
        ("rmse", 194, "how small a gain in RMSE they can show is not known beforehand"),
        ("accuracy", 3, "too few to show any gain in accuracy"),
        ("accuracy", 1, "1 test row is held out"),
        ("accuracy", 0, "nothing will be proved"),
    ],
)
def test_what_the_held_out_rows_can_show(metric, rows, said):
    task = Task("classification", "text", ("a", "b"), metric)
    assert said in prove.announce(task, parts(10, rows), Plan("full"))[0]
