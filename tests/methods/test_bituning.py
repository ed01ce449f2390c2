"""Bi-Tuning's loss along the batch, by the formula of the paper written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.methods.bituning import contrastive_cross_entropy


def test_classes_pick_their_examples_out_of_the_batch():
    rng = np.random.default_rng(0)
    embeddings, weight, bias = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    targets, tau = [0, 1, 1, 0, 1], 0.5
    keys = [np.append(h, 1) / np.linalg.norm(np.append(h, 1)) for h in embeddings]
    classes = [np.append(w, b) / np.linalg.norm(np.append(w, b)) for w, b in zip(weight, bias, strict=True)]
    losses = []
    for label in targets:
        everything = sum(math.exp(classes[label] @ key / tau) for key in keys)
        own = [math.exp(classes[label] @ keys[row] / tau) / everything for row in range(5) if targets[row] == label]
        losses.append(-np.mean(np.log(own)))
    tensors = (torch.from_numpy(array).float() for array in (embeddings, weight, bias))
    found = contrastive_cross_entropy(*tensors, torch.tensor(targets), tau)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)
