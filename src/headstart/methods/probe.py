"""The frozen probe: a calibrated linear head on the source's embeddings, in closed form or nearly so."""

from __future__ import annotations

import time

from headstart import heads
from headstart.methods import Context
from headstart.types import Arm, FloatArray, IndexArray, Predictions

__all__ = ["Probe"]


class Probe:
    """The layer and the head on it with the lowest out-of-fold loss.

    The source is not changed, so the arm is safe at any number of labels (Kornblith et al. 2019,
    "Do Better ImageNet Models Transfer Better?", linear evaluation).
    """

    def run(self, context: Context) -> Arm:
        """A probe of ``context.source``.

        Raises:
            DataError: If the embeddings or targets cannot be used.
        """
        begin = time.perf_counter()
        task, examples, split = context.task, context.examples, context.split
        layers = context.embedder.embed(context.source, examples, split.train)
        targets = examples.targets[split.train]
        layer, found = heads.best_layer(layers, targets, split.folds, task.problem, task.outputs)
        validation = _predictions(context, split.train, found.out_of_fold)
        if len(split.validation):
            held_out = context.embedder.embed(context.source, examples, split.validation)[layer]
            validation = _predictions(context, split.validation, found.head.logits(held_out) / found.head.temperature)
        return Arm(
            name=f"probe of {context.source.name}",
            source=context.source.name,
            method="probe",
            seed=context.seed,
            seconds=time.perf_counter() - begin,
            layer=layer,
            head=found.head,
            validation=validation,
        )


def _predictions(context: Context, rows: IndexArray, logits: FloatArray) -> Predictions:
    return Predictions(tuple(context.examples.ids[row] for row in rows), logits)
