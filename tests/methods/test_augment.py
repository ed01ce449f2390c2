"""Augmentation can be turned off, for every method and for cached states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headstart.methods import METHODS
from headstart.modalities.image import ImageFeed


@pytest.mark.parametrize("name", ["full", "prefix", "scratch"])
@pytest.mark.parametrize("augment", [True, False])
def test_examples_are_varied_unless_that_is_turned_off(suite, monkeypatch, name, augment):
    varied = []
    batch = ImageFeed.batch

    def seen(self, positions, rng):
        varied.append(rng is not None)
        return batch(self, positions, rng)

    monkeypatch.setattr(ImageFeed, "batch", seen)
    method = METHODS[name]()
    method.settings = replace(method.settings, epochs=1.0, least_steps=1, batch=10)
    method.run(replace(suite.photo_context(), augment=augment))
    assert any(varied) is augment
    if name == "prefix":
        assert len(varied) == (4 if augment else 1)  # views of thirty examples
