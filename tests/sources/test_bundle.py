"""One of our own bundles is the source of the next task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headstart
from headstart import sources
from headstart.errors import BundleRefused, UsageError


def test_a_bundle_begins_the_next_task(topics_csv: Path, tmp_path: Path) -> None:
    first = headstart.fit(topics_csv, out=tmp_path / "first", source="wordllama")
    second = headstart.fit(topics_csv, out=tmp_path / "second", source=str(first.bundle))
    assert second.ranking.chosen == str(first.bundle)
    before, after = headstart.load(first.bundle), headstart.load(second.bundle)
    texts = ["where is my card", "the soup needs salt"]
    np.testing.assert_array_equal(
        before.source.tensors()["embedding.weight"], after.source.tensors()["embedding.weight"]
    )
    assert before.predict(texts) == after.predict(texts)
    assert after.verify() < 1e-5


def test_a_damaged_bundle_is_no_source(topics_csv: Path, tmp_path: Path) -> None:
    bundle = headstart.fit(topics_csv, out=tmp_path / "run", source="wordllama").bundle
    source = sources.resolve(str(bundle))
    assert source.head().classes == headstart.load(bundle).task.labels or source.head() is None
    with (bundle / "model.safetensors").open("ab") as stream:
        stream.write(b"0")
    with pytest.raises(BundleRefused, match="was refused"):
        sources.resolve(str(bundle))


def test_a_folder_without_a_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown source .*BUNDLE"):
        sources.resolve(str(tmp_path))


@pytest.mark.slow
def test_from_scratch_to_the_next_task(photo_folder: Path, tmp_path: Path) -> None:
    first = headstart.fit(photo_folder, out=tmp_path / "first", source="scratch:timm:test_resnet.r160_in1k")
    second = headstart.fit(photo_folder, out=tmp_path / "second", source=str(first.bundle))
    photo = next((photo_folder / "disc").iterdir())
    assert headstart.load(second.bundle).predict([photo])[0] in ("disc", "square", "stripes")
