"""Numbers as text: units, signs, rounding, and nothing for what is not a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import evaluate
from headstart.report import figures


def test_words_agree_with_the_metrics_that_decide() -> None:
    assert evaluate.METRICS.keys() <= figures.METRICS.keys()
    for name, metric in evaluate.METRICS.items():
        assert figures.METRICS[name].lower_is_better is not metric.higher_is_better
        assert figures.METRICS[name].share or not metric.share


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (figures.plain(0.41234), "0.412"),
        (figures.plain(-1234.5), "−1,234"),
        (figures.plain(123.4), "123"),
        (figures.plain(0.0), "0"),
        (figures.plain(2e-6), "2.00e−6".replace("e−6", "e−06")),
        (figures.percent(0.8734), "87.3%"),
        (figures.percent(-0.00001), "0.0%"),
        (figures.portion(0.0002), "< 0.1%"),
        (figures.portion(0.0), "0.0%"),
        (figures.portion(0.99999), "> 99.9%"),
        (figures.portion(1.0), "100.0%"),
        (figures.difference("accuracy", 0.083), "+8.3 points"),
        (figures.difference("accuracy", -0.083, unit=False), "−8.3"),
        (figures.difference("mae", -0.0123, 3), "−0.012"),
        (figures.difference_tick("accuracy", 0.2), "+20"),
        (figures.difference_tick("accuracy", 0.0), "0"),
        (figures.metric_tick("accuracy", 0.35), "35%"),
        (figures.p_value(0.0), "< 0.001"),
        (figures.p_value(0.0421), "0.042"),
        (figures.count(1234567), "1,234,567"),
        (figures.duration(0.01), "< 0.1 s"),
        (figures.duration(3.21), "3.2 s"),
        (figures.duration(9.97), "10 s"),
        (figures.duration(200), "3 min 20 s"),
        (figures.duration(7260), "2 h 1 min"),
        (figures.metric("my_own").title, "My own"),
        (figures.metric("accuracy").lower, "accuracy"),
        (figures.metric("r2").lower, "R²"),
    ],
)
def test_numbers_read_as_people_write_them(written: str, wanted: str) -> None:
    assert written == wanted


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_what_is_no_number_is_a_dash(nothing: float | None) -> None:
    made = [
        write(nothing) for write in (figures.plain, figures.percent, figures.count, figures.duration, figures.p_value)
    ]
    assert made == ["–"] * 5
    assert figures.difference("accuracy", nothing).startswith("–")
    assert figures.fixed(nothing, 2) == "–"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_can_be_written(value: float) -> None:
    for text in (figures.plain(value), figures.tick(value), figures.signed(figures.plain(value))):
        assert text
        assert "-" not in text
    assert 0 <= figures.places(value) <= 6
