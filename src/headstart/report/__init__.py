"""Run folder -> one self-contained HTML file. Never imports torch.

::

    view.py         what the run folder holds, missing parts as None
    outcomes.py     test predictions beside their targets, counted
    verdict.py      the top of the page, and the evidence
    comparison.py   arms and sources
    behaviour.py    right and wrong, calibration
    provenance.py   weights, data, reproduction
    page.py         the frame; SECTIONS is the page's order
    charts.py  heatmap.py  axes.py    vector drawings
    race.py         a ranking as a drawing of its own
    markup.py  figures.py             HTML and numbers
    style.css       looks: light, dark, print

A new section is one function ``RunView -> Markup | None`` and one line in ``page.SECTIONS``.
"""

from __future__ import annotations

from pathlib import Path

from headstart.types import Ranking

__all__ = ["plot_ranking", "write"]


def write(run: Path) -> Path:
    """Writes ``report.html`` into a run folder, finished or not, and returns its path.

    Raises:
        UsageError: If the folder is not a run.
        ResourceError: If the disk is full.
    """
    from headstart.report.page import render
    from headstart.report.view import load
    from headstart.store import write_atomic

    target = run / "report.html"
    page = render(load(run)).encode("utf-8")
    with write_atomic(target) as temporary:
        temporary.write_bytes(page)
    return target


def plot_ranking(ranking: Ranking, target: Path) -> Path:
    """Draws the sources' scores against their costs into an SVG file and returns its path.

    Raises:
        ResourceError: If the disk is full.
    """
    from headstart.report.race import drawing
    from headstart.store import write_atomic

    with write_atomic(target) as temporary:
        temporary.write_bytes(drawing(ranking).encode("utf-8"))
    return target
