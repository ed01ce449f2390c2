"""Drawings stay inside their frame and say in words what they show."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.report.axes import Axis, linear_ticks, text, ticks_in
from headstart.report.charts import Interval, Point, costs, intervals, shares
from headstart.report.heatmap import LEVELS, confusion_matrix, level

numbers = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-9)


@given(numbers, numbers)
def test_ticks_are_few_and_inside(one: float, other: float) -> None:
    low, high = ticks_in([one, other])
    assert low < high
    slack = 1e-6 * (high - low) + 1e-11
    ticks = linear_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    assert all(low - slack <= tick <= high + slack for tick in ticks)


def test_scales_map_ends_to_ends() -> None:
    assert [Axis(2, 4, 10, 110).at(x) for x in (2, 3, 4)] == [10, 60, 110]
    assert [Axis(1, 100, 0, 2, log=True).at(x) for x in (1, 10, 100)] == [0, 1, 2]


def test_forest_plot_puts_values_on_their_side_of_zero() -> None:
    rows = [Interval("over a", 0.1, 0.05, 0.15, "+10", True), Interval("over b", -0.1, -0.3, 0.1, "−10")]
    drawn = intervals("f", "Gain", rows, str, ("worse", "better"))
    zero = float(re.search(r'x1="([\d.]+)" x2="[\d.]+" y1="[\d.]+" y2="[\d.]+" class="zero"', drawn)[1])  # type: ignore[index]
    good = float(re.search(r'<rect x="([\d.]+)"[^>]*mark strong', drawn)[1]) + 6  # type: ignore[index]
    bad = float(re.search(r'<circle cx="([\d.]+)"', drawn)[1])  # type: ignore[index]
    assert bad < zero < good
    assert "over a: +10; over b: −10" in drawn


@pytest.mark.parametrize("seconds", [(0.0, 0.0), (0.0, 7200.0), (1e-9, 1e9)])
def test_costs_can_be_nothing_or_huge(seconds: tuple[float, float]) -> None:
    points = [Point("a", seconds[0], 0.5, "majority"), Point("b", seconds[1], 0.5, "chosen")]
    drawn = costs("c", "accuracy", points)
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_labels_of_crowded_arms_do_not_overlap() -> None:
    drawn = costs("c", "accuracy", [Point(f"arm{n}", 1.0, 0.9, "transfer") for n in range(12)])
    lines = [float(y) for y in re.findall(r'<text x="693" y="([\d.]+)"', drawn)]
    assert len(lines) == 12
    assert min(np.diff(sorted(lines))) >= 14
    assert max(lines) <= float(re.search(r'viewBox="0 0 960 ([\d.]+)"', drawn)[1])  # type: ignore[index]


def test_matrix_draws_what_happened_only() -> None:
    drawn = confusion_matrix("m", np.array([[5, 0], [2, 3]]), ("yes", "no"))
    assert drawn.count('class="cell') == 3
    assert "given no, predicted yes: 2 (40% of the row)" in drawn
    assert "8 of 10 test rows" in drawn


def test_matrix_colours_cover_the_shares_in_order() -> None:
    steps = [level(share) for share in (0.001, 0.05, 0.2, 0.5, 1.0)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, LEVELS - 1)


def test_long_labels_are_cut_and_kept_as_a_hint() -> None:
    assert text(0, 0, "short", room=100) == '<text x="0" y="0">short</text>'
    long = text(0, 0, "x" * 99, room=100)
    assert "<title>" in long
    assert long.endswith("x…</text>")


def test_shares_of_nothing_are_drawn() -> None:
    assert "fresh: 0.0%" in shares("s", "Share", [("copied", 1.0), ("reshaped", 0.0), ("fresh", 0.0)])
