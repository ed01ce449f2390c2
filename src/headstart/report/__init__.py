"""Run folder -> one self-contained HTML file. Never imports torch.

::

    view.py         what the run folder holds, missing parts as None
    outcomes.py     test predictions beside their targets, counted
    verdict.py      the top of the page, and the evidence
    learning.py     learning curves, labels saved
    comparison.py   arms and sources
    behaviour.py    right and wrong
    gallery.py      previews of single examples
    scatter.py      the map of the embeddings
    trust.py        calibration, abstention, conformal sets
    findings.py     what the audit found
    provenance.py   weights, data, reproduction
    page.py         the frame; SECTIONS is the page's order
    several.py      several runs on one page
    charts.py  lines.py  heatmap.py  axes.py    vector drawings
    race.py         a ranking as a drawing of its own
    markup.py  figures.py             HTML and numbers
    style.css       looks: light, dark, print

A new section is one function ``RunView -> Markup | None`` and one line in ``page.SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.types import Ranking

__all__ = ["compare", "plot_ranking", "write"]


def write(run: Path, target: Path | None = None) -> Path:
    """Writes the report of a run, finished or not, and returns its path.

    Args:
        run: The run folder.
        target: The file; None: ``report.html`` in the run folder.

    Raises:
        UsageError: If the folder is not a run.
        ResourceError: If the disk is full.
    """
    from headstart.report.page import render
    from headstart.report.view import load

    return _written(target or run / "report.html", render(load(run)))


def compare(runs: Sequence[Path], target: Path | None = None) -> Path:
    """Writes one page about several runs and returns its path.

    Args:
        runs: The run folders.
        target: The file; None: ``comparison.html`` beside the first run.

    Raises:
        UsageError: If a folder is not a run.
        ResourceError: If the disk is full.
    """
    from headstart.report.several import render_comparison
    from headstart.report.view import load

    views = [load(run) for run in runs]
    return _written(target or runs[0].resolve().parent / "comparison.html", render_comparison(views))


def _written(target: Path, page: str) -> Path:
    from headstart.store import write_atomic

    with write_atomic(target) as temporary:
        temporary.write_bytes(page.encode("utf-8"))
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
