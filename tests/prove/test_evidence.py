"""How often the proof is right where the truth is known: the simulations of benchmarks/evidence.py, fewer of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from headstart import stats
from headstart.prove import protocol


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "evidence.py"
    spec = importlib.util.spec_from_file_location("evidence", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["evidence"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rows", [60, 120])
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_nothing_gained_is_rarely_called_helped_and_intervals_cover(evidence, rows, metric):
    count = evidence.held_out(rows, 0.0, 0.25, metric, 400)
    assert stats.wilson(count.helped, count.trials)[1] <= 0.05
    assert count.covered / count.trials >= 0.93


@pytest.mark.parametrize("rows", [60, 194])
def test_a_negative_transfer_of_the_printed_size_is_called_as_often_as_printed(evidence, rows):
    printed = stats.detectable_gain(rows)
    count = evidence.held_out(rows, -printed, 0.25, "accuracy", 300)
    assert stats.wilson(count.negative, count.trials)[1] >= 0.8
    assert count.negative / count.trials >= 0.74
    assert count.helped == 0


def test_cross_validation_with_the_choice_among_four_sources_inside_is_not_fooled(evidence):
    count, truth, _ = evidence.crossed(60, (0.8,) * 5, 120)
    assert abs(truth) < 0.03
    assert count.helped / count.trials <= 0.05
    assert count.covered / count.trials >= 0.93


@pytest.mark.parametrize(("rows", "discordant"), [(60, 0.5), (300, 0.25)])
def test_cross_validation_calls_a_negative_transfer_of_the_printed_size_as_often_as_printed(evidence, rows, discordant):
    printed = stats.detectable_gain_repeated(rows, 5, 3, discordant)
    count = evidence.turns(rows, -printed, discordant, 1000)
    assert count.negative / count.trials >= 0.78
    assert count.helped == 0
    assert evidence.turns(rows, 0.0, discordant, 1000).helped <= 35


def test_cross_validation_with_models_fitted_inside_calls_a_negative_transfer_of_the_printed_size(evidence):
    count, truth, discordant = evidence.crossed(120, (0.4, 0.8), 60)
    assert discordant == pytest.approx(protocol.DISAGREEING, abs=0.03)
    assert truth == pytest.approx(-stats.detectable_gain_repeated(120, 5, 3, protocol.DISAGREEING), abs=0.03)
    assert count.negative / count.trials >= 0.75
    assert count.helped == 0
