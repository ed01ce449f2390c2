import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import isotonic_regression

from headstart import curves


@given(arrays(np.float64, (4, 3), elements=st.floats(-5, 5)))
def test_monotone_is_isotonic_regression(values):
    found = curves.monotone(values)
    for column in range(3):
        np.testing.assert_allclose(found[:, column], isotonic_regression(values[:, column]), atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "outputs", "found"),
    [
        (800, 4, (100, 200, 400, 800)),
        (60, 3, (8, 15, 30, 60)),
        (60, 9, (30, 60)),
        (6, 2, (6,)),
        (770, 77, (192, 385, 770)),
    ],
)
def test_sizes_hold_every_class_twice(rows, outputs, found):
    assert curves.sizes(rows, outputs) == found


@given(st.integers(0, 1000), st.integers(20, 200))
def test_nested_beginnings_hold_the_classes_in_proportion(seed, rows):
    targets = np.random.default_rng(seed).choice(3, rows, p=[0.6, 0.3, 0.1])
    order = curves.nested(targets, seed)
    assert sorted(order) == list(range(rows))
    half = np.bincount(targets[order[: rows // 2]], minlength=3)
    assert (np.abs(half - np.bincount(targets, minlength=3) / 2) <= 2).all()
    assert set(targets[order[:3]]) == set(targets)


def test_rows_for_a_level_lie_on_straight_lines_over_log_rows():
    rows, values = (100, 400), np.array([[0.5], [0.7]])
    assert curves.rows_for(np.array([0.6]), rows, values)[0] == pytest.approx(200)
    assert np.isnan(curves.rows_for(np.array([0.4]), rows, values)[0])
    assert np.isinf(curves.rows_for(np.array([0.8]), rows, values)[0])
    assert curves.rows_for(np.array([0.7]), rows, values)[0] == pytest.approx(400)


def times(transfer, other, other_rows=(100, 200, 400, 800)):
    rows = (100, 200, 400, 800)
    ratio, bound = curves.times_the_labels(
        rows, np.array(transfer)[:, None], other_rows, np.array(other, np.float64)[:, None]
    )
    return round(float(ratio[0]), 9), int(bound[0])


def test_a_curve_shifted_by_a_factor_of_four_saves_four_times_the_labels():
    log = np.log2([100, 200, 400, 800])
    ratio, bound = times(log, log - 2)
    assert ratio == pytest.approx(4)
    assert bound == 0
    inverse, _ = times(log - 2, log)
    assert inverse == pytest.approx(1 / 4)


def test_what_is_reached_with_the_fewest_labels_is_a_lower_bound():
    assert times([0.8, 0.85, 0.9, 0.92], [0.3, 0.4, 0.5, 0.6]) == (8.0, 1)
    assert times([0.3, 0.4, 0.5, 0.6], [0.8, 0.85, 0.9, 0.92]) == (0.125, -1)


def test_one_point_of_the_other_curve_is_enough():
    ratio, bound = times([0.5, 0.6, 0.7, 0.8], [0.65], (800,))
    assert ratio == pytest.approx(800 / (200 * 2**0.5))
    assert bound == 0
    assert times([0.5, 0.6, 0.7, 0.8], [0.4], (800,)) == (8.0, 1)


def test_a_power_law_is_followed_up_to_twice_the_labels():
    rows = (100, 200, 400, 800)
    law = 0.9 - 2.0 * np.asarray(rows, float) ** -0.5
    gain = curves.above(rows, law[:, None], 1600)
    assert gain[0] == pytest.approx(2.0 * (800**-0.5 - 1600**-0.5), rel=0.02)
    with pytest.raises(ValueError, match="more than twice"):
        curves.above(rows, law[:, None], 1601)
    assert curves.above(rows[:2], law[:2, None], 300) is None


def test_a_falling_curve_promises_nothing():
    assert curves.above((100, 200, 400), np.array([[0.9], [0.8], [0.7]]), 500)[0] == 0
