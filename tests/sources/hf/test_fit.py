"""A fit from a model folder and from the cache of the hub: receipt, ledger, and a bundle with the very weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

import headstart
from headstart import sources
from headstart.cli import main
from headstart.exporters import bundle as bundles

COMMIT = "0123456789" * 4


def fitted(data, source, run, capsys):
    assert main(["fit", str(data), "--source", source, "--out", str(run), "--proof", "off", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def same_weights(source, run):
    """The bundle's backbone is the source's, bit for bit, and gives the same embeddings."""
    held, own = bundles.tensors(bundles.read(run / "bundle")), source.tensors()
    backbone = {
        name.removeprefix("backbone."): value.numpy() for name, value in held.items() if "head." not in name[:5]
    }
    assert set(backbone) == set(own)
    assert all(np.array_equal(backbone[name], value) for name, value in own.items())
    return headstart.load(run / "bundle")


def test_a_text_model_of_the_cache(models, hub_cache, topics_csv, tmp_path, capsys):
    hub_cache(models("mpnet"), "org/name", COMMIT)
    run = tmp_path / "run"
    found = fitted(topics_csv, "hf:org/name", run, capsys)
    assert found["source"] == "hf:org/name"
    model = same_weights(sources.resolve("hf:org/name"), run)
    assert model.source.card.input.prompt == ""
    assert len(model.predict(["the soup needs salt", "a b c"])) == 2
    config = json.loads((run / "bundle" / "config.json").read_text())
    assert config["source"]["revision"] == COMMIT
    ledger = json.loads((run / "bundle" / "ledger.json").read_text())["rows"]
    left = {row["tensor"] for row in ledger if row["status"] == "unused"}
    assert left == set(sources.resolve("hf:org/name").unused)
    assert any(row["rule"] == "renamed" and row["sources"][0].startswith("mpnet.") for row in ledger)


def test_a_vision_model_of_a_folder(models, photo_folder, tmp_path, capsys):
    run, folder = tmp_path / "run", str(models("dinov2"))
    assert fitted(photo_folder, folder, run, capsys)["source"] == folder
    model = same_weights(sources.resolve(folder), run)
    image = next(photo_folder.rglob("*.png"))
    assert model.predict_proba([image]).sum() == pytest.approx(1)
