"""The tables of families."""

from __future__ import annotations

import pytest

from headstart.backbones import FAMILIES
from headstart.errors import UsageError
from headstart.exporters import EXPORTERS
from headstart.heads import HEADS
from headstart.methods import METHODS
from headstart.modalities import BASELINES, PIPELINES
from headstart.registry import Registry
from headstart.scores import SCORES
from headstart.sources import PROVIDERS

FAMILY_TABLES = [FAMILIES, EXPORTERS, HEADS, METHODS, BASELINES, PIPELINES, SCORES, PROVIDERS]


@pytest.mark.parametrize("table", FAMILY_TABLES, ids=lambda table: table.family)
def test_every_entry_imports(table):
    assert len(table)
    for name in table:
        assert callable(table[name]) or hasattr(table[name], "fit")


@pytest.mark.parametrize("table", FAMILY_TABLES, ids=lambda table: table.family)
def test_an_unknown_name_lists_the_valid_ones(table):
    with pytest.raises(UsageError, match=", ".join(sorted(table))):
        table["nothing of the kind"]


def test_a_foreign_entry_point_adds_but_never_replaces(monkeypatch):
    class Point:
        def __init__(self, name, value):
            self.name, self.value = name, value

    points = [Point("pi", "evil:pi"), Point("e", "math:e")]
    monkeypatch.setattr("headstart.registry.entry_points", lambda group: points if group == "headstart.number" else [])
    table = Registry("number", {"pi": "math:pi"})
    assert sorted(table) == ["e", "pi"]
    assert table["pi"] == pytest.approx(3.14159, abs=1e-4)
    assert table["e"] == pytest.approx(2.71828, abs=1e-4)
