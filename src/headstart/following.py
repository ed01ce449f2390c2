"""What all processes of a fit but the first do: take part in its trainings. They rank, write and say nothing."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from headstart import data, parallel, sources
from headstart.config import FitConfig, resolve
from headstart.errors import Diverged, HeadstartError, ResourceError
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.modalities import pipeline_of, suited
from headstart.outcome import Silent
from headstart.store import cache_folder
from headstart.training import Training
from headstart.transfer import read_examples

__all__ = ["follow"]


def follow(examples: Any, toml: Path | None = None, **settings: Any) -> None:
    """Trains along with the first process until it is done, or gone.

    It reads the same data, and each training's key tells whether both prepared the same. Ctrl-C and SIGTERM
    are left to the first process, which ends its step and saves.

    Args:
        examples: As for `headstart.fit`.
        toml: A file with a ``[fit]`` table of settings.
        settings: Fields of `headstart.config.FitConfig`.

    Raises:
        HeadstartError: If this process cannot do what the first one does.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    crew: _Crew | None = None
    while True:
        try:
            job, _ = parallel.receive()
        except ResourceError:  # the first process said why it ended
            return
        if job is None:
            return
        crew = crew or _Crew(examples, resolve(settings, toml))
        crew.train(job)


class _Crew:
    """The data and sources as the first process has them."""

    def __init__(self, examples: Any, config: FitConfig) -> None:
        dataset = read_examples(examples, config, Silent())
        self.task, self.table = dataset.task, dataset.examples
        split = data.split(dataset, config.seed, config.test_share)
        found = [suited(one, self.table, split.train) for one in sources.candidates(config.source, self.task.modality)]
        self.sources = {source.fingerprint: source for source in found}
        self.embedder = Embedder(pipeline_of, cache_folder())

    def train(self, job: dict[str, Any]) -> None:
        """Takes part in one training; see `Training.job`."""
        source = self.sources.get(job["source"])
        if source is None:
            raise HeadstartError("a process of this fit has other sources than the first one")
        teacher = self.sources.get(job["teacher"])
        more = {"notes": job["notes"], "teacher": teacher, "augment": job["augment"]}
        context = Context(self.task, self.table, job["split"], source, self.embedder, job["seed"], **more)
        with contextlib.suppress(Diverged):  # the first process meets it too, and says so
            Training(METHODS[job["method"]]().suited(context), context).follow(job)
