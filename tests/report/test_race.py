from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from headstart.report import plot_ranking
from headstart.types import RankedSource, Ranking

RANKING = Ranking(
    (
        RankedSource("<best> & more", -0.5, 0.1, seconds=3, tied=True, rank_low=1, rank_high=2),
        RankedSource("second", -0.55, 0.1, seconds=30, tied=True, rank_low=1, rank_high=2),
        RankedSource("one row", -1.5, float("inf"), seconds=0, left=True, rank_low=3, rank_high=3),
        RankedSource("third", None, None, error="its weights are missing"),
    ),
    "second",
    100,
)


def test_every_scored_source_is_one_mark_and_the_chosen_one_is_ringed(tmp_path: Path) -> None:
    path = plot_ranking(RANKING, tmp_path / "new" / "plot.svg")
    root = ET.fromstring(path.read_text("utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{space}circle")
    assert [one.get("class") for one in circles] == ["mark tied", "mark tied", "ring", "mark left"]
    spots = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in circles]
    assert spots[1] == spots[2]
    assert spots[0][0] < spots[1][0]
    assert spots[0][1] < spots[1][1] < spots[3][1]
    words = [one.text for one in root.iter(f"{space}text")]
    assert "<best> & more (rank 1 to 2)" in words
    assert "one row" in words


def test_the_drawing_loads_nothing(tmp_path: Path) -> None:
    text = plot_ranking(RANKING, tmp_path / "plot.svg").read_text("utf-8")
    assert not any(word in text for word in ("href", "url(", "@import", "<script"))


def test_a_single_source_can_be_drawn(tmp_path: Path) -> None:
    one = Ranking((RankedSource("only", -1e-9, 0.0, seconds=1e-9),), "only", 3)
    assert "only" in plot_ranking(one, tmp_path / "plot.svg").read_text("utf-8")
