"""Ship the chosen arm: one model as a bundle of data, every weight accounted for."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.exporters import bundle as bundles
from headstart.exporters.card import model_card
from headstart.features import Embedder
from headstart.initialization import finish
from headstart.store import plain
from headstart.types import Arm, Conformal, Examples, Exclusion, Ledger, Receipt, SourceCard, Task

if TYPE_CHECKING:
    from headstart.backbones.source import Source

__all__ = ["golden_embeddings", "golden_samples", "ship"]

SAMPLES = 4
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please cancel my order, it has not arrived yet!",
    "42",
    "Ein kurzer Satz, with two languages and a number: 3.14.",
)


def ship(
    task: Task,
    source: Source,
    arm: Arm,
    ledger: Ledger,
    precision: str,
    receipt: Receipt,
    excluded: tuple[Exclusion, ...],
    data: str,
    folder: Path,
    embedder: Embedder,
) -> dict[str, Any]:
    """Writes the bundle of ``arm`` to ``folder``.

    The golden inputs are made up, so that a bundle never carries the user's data.

    Args:
        task: What was learned.
        source: Gives facts, weights and tokenizer.
        arm: What ships.
        ledger: Where the weights started, see `headstart.initialization.begin`.
        precision: What the embedding engine ran in; used again where the machine has it.
        receipt: The evidence, for the model card.
        excluded: Examples left out, for the model card.
        data: Name of the data, for the model card.
        folder: The bundle's folder; an older bundle there is replaced.
        embedder: Embeds the golden inputs.

    Returns:
        ``ledger``, and ``weights_sha256`` of the written weights.

    Raises:
        Diverged: If a weight is not finite.
        ResourceError: If the disk is full.
    """
    card, weights, samples = source.card, source.tensors(), golden_samples(source.card)
    account = finish(ledger, arm)
    tensors = {f"backbone.{name}": value for name, value in weights.items()}
    golden = {**samples, "logits": arm.head.logits(golden_embeddings(source, samples, embedder)[arm.layer])}
    bundles.write(
        folder,
        config=_config(task, card, arm, precision, receipt.conformal),
        tensors={**tensors, "head.weight": arm.head.weight, "head.bias": arm.head.bias},
        golden=golden,
        card=model_card({**_facts(task, card, arm, receipt, excluded, data), "ledger": account.summary}),
        assets=source.assets(),
        documents={
            "ledger.json": dataclasses.asdict(account),
            "receipt.json": _evidence(receipt),
        },
    )
    return {"ledger": account, "weights_sha256": bundles.read(folder).manifest["files"]["model.safetensors"]["sha256"]}


def golden_samples(card: SourceCard) -> dict[str, NDArray[np.uint8]]:
    """Made-up inputs: ``pixels`` (4, size, size, 3), or texts as ``text.0`` .. UTF-8 bytes."""
    if card.modality == "text":
        return {f"text.{i}": np.frombuffer(text.encode(), np.uint8) for i, text in enumerate(SENTENCES)}
    waves = np.linspace(0, 6, card.input.size)
    shades = [
        np.sin(waves[:, None] * (i + 1) + channel) * np.cos(waves[None, :] * (channel + 1))
        for i in range(SAMPLES)
        for channel in range(3)
    ]
    pixels = ((np.stack(shades) + 1) * 127.5).reshape(SAMPLES, 3, card.input.size, card.input.size)
    return {"pixels": np.ascontiguousarray(pixels.transpose(0, 2, 3, 1).astype(np.uint8))}


def golden_embeddings(
    source: Source, samples: Mapping[str, NDArray[np.uint8]], embedder: Embedder
) -> dict[str, NDArray[np.float32]]:
    """Every layer's embeddings of the golden inputs in float32: the same on every machine, to 1e-3."""
    from PIL import Image

    inputs = [Image.fromarray(pixels) for pixels in samples["pixels"]] if "pixels" in samples else _texts(samples)
    digests = tuple(
        hashlib.sha256(f"golden {i}".encode() + _bytes(one)).hexdigest()[:32] for i, one in enumerate(inputs)
    )
    ids = tuple(f"golden {i}" for i in range(len(inputs)))
    table = Examples(source.card.modality, tuple(inputs), ids, digests, np.zeros(len(inputs)))
    return embedder.embed(source, table, np.arange(len(inputs)), precision="float32")


def _texts(samples: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    return [samples[f"text.{i}"].tobytes().decode() for i in range(sum(name.startswith("text.") for name in samples))]


def _bytes(example: Any) -> bytes:
    return example.encode() if isinstance(example, str) else bytes(example.tobytes())


def _config(task: Task, card: SourceCard, arm: Arm, precision: str, sets: Conformal | None) -> dict[str, Any]:
    facts = ("name", "title", "provider", "licence", "trained_on", "weights_sha256", "parameters", "revision")
    return {
        "problem": task.problem,
        "modality": task.modality,
        "metric": task.metric,
        **bundles.label_maps(task.labels),
        "architecture": dict(card.architecture),
        "preprocessing": dataclasses.asdict(card.input),
        "layer": arm.layer,
        "dim": card.dim,
        "precision": precision,
        "temperature": arm.head.temperature,
        "method": arm.method,
        "head": {"kind": arm.head.kind, "penalty": arm.head.penalty},
        "source": {name: getattr(card, name) for name in facts},
        **({"conformal": {"level": sets.level, "threshold": sets.threshold}} if sets else {}),
    }


def _evidence(receipt: Receipt) -> dict[str, Any]:
    """The receipt as plain JSON without its per-example arrays, which stay in the run."""
    kept = {f.name: getattr(receipt, f.name) for f in dataclasses.fields(receipt) if f.name not in ("arms", "targets")}
    arms = [
        {k: getattr(arm, k) for k in ("name", "source", "method", "seconds", "validation", "test")}
        for arm in receipt.arms
    ]
    return dict(plain({**kept, "arms": arms}))


def _facts(
    task: Task, card: SourceCard, arm: Arm, receipt: Receipt, excluded: tuple[Exclusion, ...], data: str
) -> dict[str, Any]:
    return {
        "title": f"{data}: {card.title}, {arm.method}",
        "task": dataclasses.asdict(task),
        "source": dataclasses.asdict(card),
        "receipt": _evidence(receipt),
        "method": arm.method,
        "layer": arm.layer,
        "data": {"name": data},
        "excluded": [dataclasses.asdict(one) for one in excluded],
        "versions": runtime.versions(),
    }
