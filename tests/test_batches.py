"""Batches: every row once an epoch, like lengths together, and parts of whatever a model takes."""

from __future__ import annotations

import numpy as np
import torch

from headstart.backbones import build
from headstart.backbones.base import TargetModel
from headstart.batches import embedded, part_of, positions_of
from headstart.recipe import Recipe

ROWS = 40
CODES = np.arange(ROWS) % 2
SIZES = np.arange(ROWS) % 7 + 1
BERT = {
    "family": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def test_rows_of_like_length_share_a_batch_and_every_row_is_seen_once_an_epoch() -> None:
    seen = [positions_of(step, CODES, SIZES, Recipe(batch=8), 3) for step in range(6)]
    assert sorted(np.concatenate(seen[:5]).tolist()) == list(range(ROWS))
    assert np.mean([np.ptp(SIZES[rows]) for rows in seen]) < 3
    assert not np.array_equal(seen[0], seen[5])


def test_batches_of_classes_hold_each_as_often() -> None:
    rows = positions_of(0, CODES, SIZES, Recipe(batch=8, classes_a_batch=2), 3)
    assert np.bincount(CODES[rows]).tolist() == [4, 4]


def test_parts_of_whatever_a_model_takes() -> None:
    images, some = torch.arange(12.0).reshape(4, 3), np.array([0, 3])
    expected = images[[0, 3]]
    assert torch.equal(part_of(images, some), expected)
    texts = part_of({"ids": images, "mask": None}, some)
    assert torch.equal(texts["ids"], expected)
    assert texts["mask"] is None
    pair = part_of((images, None), some)
    assert torch.equal(pair[0], expected)
    assert pair[1] is None


def test_texts_of_like_length_share_a_pass_and_their_embeddings_are_those_of_one() -> None:
    model = TargetModel(build(BERT), "mean", 2).eval()
    lengths = np.array([3, 60, 2, 3, 58, 1, 0, 3])
    mask = torch.from_numpy(np.arange(60) < lengths[:, None])
    batch = {"ids": torch.arange(8 * 60).reshape(8, 60) % 50, "mask": mask}
    passed: list[tuple[int, ...]] = []
    whole = model.backbone.embeddings
    expected = whole(batch)["mean"]
    model.backbone.embeddings = lambda given: passed.append(given["ids"].shape) or whole(given)  # type: ignore[method-assign]
    found = embedded(model, batch)
    assert torch.allclose(found[lengths > 0], expected[lengths > 0], atol=1e-5)
    assert found.isfinite().all()
    assert passed == [(2, 60), (6, 3)]


def test_an_unpadded_batch_is_one_pass() -> None:
    model = TargetModel(build(BERT), "last", 2).eval()
    ids = torch.arange(12).reshape(4, 3)
    assert torch.equal(embedded(model, {"ids": ids, "mask": None}), model.backbone({"ids": ids, "mask": None}))
