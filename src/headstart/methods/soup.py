"""A model soup: the average of the weights of several trainings that began at the same probe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.calibration import temperature
from headstart.methods import Context, FromProbe
from headstart.types import Arm, LinearHead, Predictions

__all__ = ["Soup"]

MEMBERS = 3
"""Trainings that are averaged."""
STRIDE = 7919
"""From the seed of one training to that of the next."""


class Soup(FromProbe):
    """The uniform soup of Wortsman et al. 2022 over seeds: one model to ship, at the price of several to train."""

    name = "soup"

    def run(self, context: Context) -> Arm:
        """Trains the members, each within its share of the seconds, and averages backbones and heads.

        Raises:
            Diverged: If a training leaves the finite numbers.
            ResourceError: If memory or the disk is full.
        """
        begin = time.perf_counter()
        seconds = None if context.seconds is None else context.seconds / MEMBERS
        members = [
            super(Soup, self).run(replace(context, seed=(context.seed + STRIDE * number) % 2**32, seconds=seconds))
            for number in range(MEMBERS)
        ]
        first, own = members[0], context.source.tensors()
        names = sorted({name for member in members for name in member.tensors})
        tensors = {name: _mean([member.tensors.get(name, own[name]) for member in members]) for name in names}
        weight, bias = (_mean([getattr(member.head, part) for member in members]) for part in ("weight", "bias"))
        head = LinearHead(self.name, weight, bias, first.head.temperature)
        souped = replace(first, seed=context.seed, head=head, tensors=tensors, seconds=time.perf_counter() - begin)
        return souped if context.like else _calibrated(souped, context)


def _mean(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Whole numbers (counters of batch norms) are those of the first member."""
    if values[0].dtype.kind != "f":
        return values[0]
    return np.asarray(np.mean(values, axis=0, dtype=np.float64), np.float32)


def _calibrated(arm: Arm, context: Context) -> Arm:
    """The arm with the temperature and the predictions of its validation rows, where there are any."""
    rows = context.split.validation
    if not len(rows):
        return replace(arm, validation=Predictions((), np.zeros((0, context.task.outputs))))
    embeddings = context.embedder.embed(context.source.tuned(arm.tensors), context.examples, rows)[arm.layer]
    logits = arm.head.logits(embeddings)
    heat = temperature(logits, context.examples.targets[rows], context.task.problem)
    return replace(
        arm, head=replace(arm.head, temperature=heat), validation=Predictions(context.ids(rows), logits / heat)
    )
