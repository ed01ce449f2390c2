"""What depends on the kind of input: decoding, batching, and the classical baseline to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.registry import Registry
from headstart.types import Examples, IndexArray

if TYPE_CHECKING:
    from headstart.backbones.source import Source
    from headstart.features import Pipeline

__all__ = ["BASELINES", "PIPELINES", "pipeline_of", "suited", "truncated"]

PIPELINES = Registry(
    "modality",
    {"image": "headstart.modalities.image:ImagePipeline", "text": "headstart.modalities.text:TextPipeline"},
)
BASELINES = Registry(
    "baseline",
    {
        "image": "headstart.modalities.image_baseline:make",
        "text": "headstart.modalities.text_baseline:make",
        "majority": "headstart.modalities.majority:make",
    },
)
"""Modality (or ``majority``) -> ``make(task, seed)``, see `headstart.classical.Baseline`."""


def pipeline_of(source: Source) -> Pipeline:
    """The preprocessing of a source, as its card and assets say; of a user's own module, its function."""
    if source.card.architecture.get("family") == "module":
        from headstart.backbones.module import known
        from headstart.modalities.own import OwnPipeline

        name = source.card.architecture.get("name")
        if own := known(name).preprocess:
            return OwnPipeline(str(name), source.card.modality, own)
    return PIPELINES[source.card.modality](source.card.input, source.assets())  # type: ignore[no-any-return]


def suited(source: Source, examples: Examples, rows: IndexArray) -> Source:
    """The source fed at the input size that fits these rows; texts have only one."""
    if source.card.modality != "image":
        return source
    from headstart.modalities.image import suited as suited_size

    return source.with_input(suited_size(source.card.input, examples, rows))


def truncated(source: Source, texts: Sequence[str]) -> IndexArray:
    """How many tokens of each text this source does not see, (N,)."""
    from headstart.modalities.text import TextPipeline

    pipeline = pipeline_of(source)
    return pipeline.beyond(texts) if isinstance(pipeline, TextPipeline) else np.zeros(len(texts), np.int64)
