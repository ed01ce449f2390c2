"""Cached states: the suffix of a network gives from them what the whole network gives from the examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.backbones import build
from headstart.methods.prefix import States

BERT = {
    "family": "bert", "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 16, "type_vocab_size": 1, "layer_norm_eps": 1e-12,
}  # fmt: skip


class Images:
    """Six noisy images; the augmentation is a mirror."""

    sizes = np.ones(6, np.int64)

    def batch(self, positions, rng):
        images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))[torch.from_numpy(positions)]
        return images if rng is None else images.flip(3)


class Texts:
    """Six texts of two to four tokens, padded to the longest of a batch."""

    sizes = np.array([2, 3, 4, 2, 3, 4])

    def batch(self, positions, rng):
        lengths = self.sizes[positions]
        columns = np.arange(lengths.max())
        ids = (positions[:, None] + columns) % 19 + 1
        return {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(columns < lengths[:, None])}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build({"family": "timm", "name": "efficientnet_lite0"}).eval()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within what bfloat16 keeps of every state."""
    assert (found.float() - expected.float()).norm() < 0.05 * expected.float().norm()


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 6])
def test_states_of_images(network, cut):
    states = States(Images(), network.prefix(cut), views=2, seed=0)
    rows = np.array([4, 1])
    close(network.suffix(cut)(states.batch(rows, None).float()), network(Images().batch(rows, None)))
    mirrored = network(Images().batch(rows, np.random.default_rng(0)))
    views = [network.suffix(cut)(states.batch(rows, np.random.default_rng(seed)).float()) for seed in range(8)]
    plain = network(Images().batch(rows, None))
    for row in (0, 1):
        nearer = [bool((v[row] - mirrored[row]).norm() < (v[row] - plain[row]).norm()) for v in views]
        assert set(nearer) == {True, False}


@torch.no_grad()
def test_states_of_texts_of_any_length_in_any_company():
    torch.manual_seed(0)
    network = build(BERT).eval()
    states = States(Texts(), network.prefix(2), views=1, seed=0)
    for rows in (np.array([0, 3]), np.array([5, 0, 1]), np.array([2])):
        hidden, mask = states.batch(rows, None)
        assert (mask is None) == (len(set(Texts.sizes[rows])) == 1)
        close(network.suffix(2)((hidden.float(), mask)), network(Texts().batch(rows, None)))
