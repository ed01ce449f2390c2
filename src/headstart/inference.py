"""A loaded bundle that predicts, and embeddings of any source from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import calibration, conformal, data, evaluate, runtime
from headstart.errors import BundleRefused, DataError
from headstart.exporters import bundle as bundles
from headstart.features import Embedder, run_backbone
from headstart.modalities import pipeline_of
from headstart.outcome import Listener, Silent
from headstart.ship import golden_embeddings
from headstart.sources.bundle import source_of
from headstart.store import cache_folder
from headstart.types import FloatArray, LinearHead, Task

if TYPE_CHECKING:
    from headstart.backbones import Source

__all__ = ["Model", "embed", "load", "predictions"]

TOLERANCE = 1e-3
"""Largest difference of a golden logit to the recorded one, as a share of the largest logit."""


def load(bundle: str | Path) -> Model:
    """The model of a bundle folder. Nothing in the folder is executed.

    Raises:
        BundleRefused: If the folder breaks a rule, named in the message.
    """
    return Model(bundles.read(Path(bundle)))


def embed(source: str | Source, examples: Sequence[Any], cache: bool = True) -> NDArray[np.float32]:
    """Embeddings ``(N, D)`` float32 of texts, image paths or PIL images by a frozen source.

    Args:
        source: A name (see ``headstart sources``) or a source object.
        examples: N texts, or N image paths or PIL images.
        cache: Keep the rows on disk and take them from there the next time.

    Raises:
        UsageError: If the source is unknown or cannot be used here.
        DataError: If an example cannot be read; names it.
    """
    from headstart.sources import resolve

    chosen = resolve(source) if isinstance(source, str) else source
    table = data.table_of(examples, chosen.card.modality)
    embedder = Embedder(pipeline_of, cache_folder() if cache else None)
    return (
        embedder.embed(chosen, table, np.arange(len(table)))["last"]
        if len(table)
        else np.empty((0, chosen.card.dim), np.float32)
    )


class Model:
    """A bundle in memory; `load` makes it.

    Attributes:
        task: Problem, labels and metric.
        source: The backbone's source, with the weights of the bundle.
    """

    def __init__(self, bundle: bundles.Bundle) -> None:
        self._bundle = bundle
        config = bundle.config
        self.task = Task(config["problem"], config["modality"], bundle.labels, config["metric"])
        weights = {name: tensor.numpy() for name, tensor in bundles.tensors(bundle).items()}
        self.source = source_of(bundle, weights)
        self._layer = str(config["layer"])
        fast = config.get("precision") == "bfloat16" and runtime.fast_bfloat16()
        self._precision = "bfloat16" if fast else "float32"
        self._pipeline = pipeline_of(self.source)
        runtime.use_threads()
        self._backbone = self.source.backbone()
        if self._layer not in self._backbone.layers:
            raise BundleRefused(f"the bundle's layer '{self._layer}' is none of {', '.join(self._backbone.layers)}")
        if self._backbone.dim != config["dim"]:
            raise BundleRefused(f"the bundle's dim is {config['dim']}, its architecture gives {self._backbone.dim}")
        self._head = _head(bundle, weights, self._backbone.width(self._layer))

    def logits(self, inputs: Sequence[Any], on_progress: Callable[[str, int, int], None] | None = None) -> FloatArray:
        """Calibrated logits ``(N, outputs)`` of texts, image paths or PIL images.

        Args:
            inputs: N of them.
            on_progress: Called with (what, done, total) after every batch.

        Raises:
            DataError: If an input cannot be read; names it.
        """
        if isinstance(inputs, (str, Path)):
            inputs = [inputs]
        found = np.zeros((len(inputs), self.task.outputs), np.float32)
        parts, done = self._pipeline.parts(inputs), 0
        for positions, layers in run_backbone(self._backbone, parts, runtime.device(), self._precision):
            found[positions] = self._head.logits(layers[self._layer])
            if on_progress:
                on_progress("predicting", done := done + len(positions), len(inputs))
        return found / self._head.temperature

    def predict_proba(self, inputs: Sequence[Any]) -> FloatArray:
        """Probabilities ``(N, C)`` in the order of ``task.labels``; multilabel: one a label.

        Raises:
            DataError: For a regression bundle, or an input that cannot be read.
        """
        if self.task.problem == "regression":
            raise DataError("a regression bundle has no probabilities; use predict")
        return calibration.probabilities(self.logits(inputs), self.task.problem)

    def predict(self, inputs: Sequence[Any]) -> list[str] | list[tuple[str, ...]] | FloatArray:
        """Labels, tuples of labels (multilabel), or values ``(N,)`` (regression)."""
        logits = self.logits(inputs)
        return logits[:, 0] if self.task.problem == "regression" else self.labels_of(logits)

    def labels_of(self, logits: FloatArray) -> list[str] | list[tuple[str, ...]]:
        """The label of each row of calibrated logits; multilabel: all labels above one half."""
        if self.task.problem == "multilabel":
            return [tuple(label for label, on in zip(self.task.labels, row, strict=True) if on) for row in logits > 0]
        return [self.task.labels[i] for i in logits.argmax(1)]

    def sets_of(self, logits: FloatArray) -> list[tuple[str, ...]] | None:
        """Labels of each row that together hold the true one in 90% of the cases, the likeliest first.

        None where the bundle has no threshold for them: `headstart.conformal` says when. For regression see
        `interval`.
        """
        sets = self._bundle.config.get("conformal")
        if sets is None or self.task.problem != "classification":
            return None
        chances = calibration.probabilities(logits, self.task.problem)
        inside = conformal.members(chances, float(sets["threshold"]))
        order = np.argsort(-chances, axis=1, kind="stable")
        return [tuple(self.task.labels[i] for i in ranked if row[i]) for ranked, row in zip(order, inside, strict=True)]

    @property
    def interval(self) -> float | None:
        """Half the width of the interval around a regression's value that holds the true one in 90% of the cases."""
        sets = self._bundle.config.get("conformal")
        return float(sets["threshold"]) if sets and self.task.problem == "regression" else None

    def evaluate(self, source: Any, listener: Listener | None = None, **roles: Any) -> dict[str, Any]:
        """Metrics on labelled data, with ``n``; rows of a ``test`` split where the data name one.

        Args:
            source: Data as `headstart.fit` takes them.
            listener: Is told what was guessed, and how the work goes.
            roles: ``input``, ``label``, ``split`` columns.

        Raises:
            DataError: If the data cannot be used, or hold labels the model does not know.
        """
        tell = listener or Silent()
        table, excluded = data.read_labelled(source, self.task, say=tell.say, **roles)
        logits = self.logits(table.inputs, tell.progress)
        found = evaluate.metrics(logits, table.targets, self.task.problem)
        return {"test": found, "excluded": [{"id": one.id, "reason": one.reason} for one in excluded]}

    def verify(self) -> float:
        """Predicts the golden inputs again in float32.

        Returns:
            Largest difference to the recorded logits, as a share of the largest of them.

        Raises:
            BundleRefused: If it is above 1e-3: this machine does not compute what was proved.
        """
        golden = bundles.golden(self._bundle)
        recorded = golden.pop("logits")
        found = self._head.logits(golden_embeddings(self.source, golden, Embedder(pipeline_of, None))[self._layer])
        if found.shape != recorded.shape:
            raise BundleRefused(f"the golden logits have the shape {recorded.shape}, the model gives {found.shape}")
        difference = float(np.abs(found - recorded).max() / max(1e-6, float(np.abs(recorded).max())))
        if not difference <= TOLERANCE:
            raise BundleRefused(
                f"the golden predictions differ by {difference:.2g}, allowed is {TOLERANCE}: "
                "the bundle, or the libraries on this machine, do not compute what was proved"
            )
        return difference


def predictions(
    model: Model,
    inputs: Sequence[str],
    column: str | None = None,
    listener: Listener | None = None,
) -> list[dict[str, Any]]:
    """One plain record an input: ``input`` and ``label`` with ``probabilities``, or ``value``, or ``error``.

    With a label comes its ``set``, with a value its ``interval``, where the bundle knows how to make them:
    they hold the truth in 90% of the cases. Records with an ``error`` come last.

    Args:
        model: A loaded bundle.
        inputs: As on the command line: files, folders, tables, texts, ``-``.
        column: Column of the tables that holds the text or image path; None: guessed.
        listener: Is told what was guessed, and how the work goes.

    Raises:
        DataError: If nothing can be read at all.
    """
    tell = listener or Silent()
    usable, names, excluded = data.read_inputs(inputs, model.task.modality, column, tell.say)
    lost: list[dict[str, Any]] = [{"input": one.id, "error": one.reason} for one in excluded]
    logits = model.logits(usable, tell.progress)
    found = _values(model, logits) if model.task.problem == "regression" else _labels(model, logits)
    return [{"input": name, **record} for name, record in zip(names, found, strict=True)] + lost


def _values(model: Model, logits: FloatArray) -> list[dict[str, Any]]:
    half = model.interval
    values = [float(row[0]) for row in logits]
    return [
        {"value": value} if half is None else {"value": value, "interval": [value - half, value + half]}
        for value in values
    ]


def _labels(model: Model, logits: FloatArray) -> list[dict[str, Any]]:
    chances, sets = calibration.probabilities(logits, model.task.problem), model.sets_of(logits)
    found = [
        {"label": label, "probabilities": dict(zip(model.task.labels, map(float, row), strict=True))}
        for label, row in zip(model.labels_of(logits), chances, strict=True)
    ]
    return found if sets is None else [{**record, "set": list(one)} for record, one in zip(found, sets, strict=True)]


def _head(bundle: bundles.Bundle, weights: dict[str, NDArray[Any]], width: int) -> LinearHead:
    outputs = max(1, len(bundle.labels))
    shapes = {"head.weight": (outputs, width), "head.bias": (outputs,)}
    for name, shape in shapes.items():
        if name not in weights or tuple(weights[name].shape) != shape:
            raise BundleRefused(f"the bundle's {name} must have the shape {shape}")
    unknown = [name for name in weights if name not in shapes and not name.startswith("backbone.")]
    if unknown:
        raise BundleRefused(f"the bundle holds tensors that belong nowhere: {', '.join(unknown[:4])}")
    kind = str(bundle.config.get("head", {}).get("kind", ""))
    return LinearHead(kind, weights["head.weight"], weights["head.bias"], float(bundle.config["temperature"]))
