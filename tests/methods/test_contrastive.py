"""Contrastive tuning: each mix of its weights gets a head of its own, and held-out rows choose among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart import heads, runtime, training
from headstart.calibration import log_losses, temperature
from headstart.methods import METHODS


def short():
    method = METHODS["contrastive"]()
    method.settings = replace(method.settings, epochs=3.0, least_steps=12, batch=10, rate=3e-3)
    return method


def head_on(context, arm):
    """The best head on the embeddings of the arm's backbone, and its logits of the held-out rows."""
    source, split = context.source.tuned(arm.tensors), context.split
    train, held_out = (
        context.embedder.embed(source, context.examples, rows)[arm.layer] for rows in (split.train, split.validation)
    )
    targets = context.examples.targets[split.train]
    head = heads.best(train, targets, split.folds, context.task.problem, context.task.outputs).head
    return head, head.logits(held_out)


@pytest.mark.parametrize("share", training.MIXES)
def test_the_head_is_fitted_to_the_weights_that_ship(suite, monkeypatch, share):
    monkeypatch.setattr(runtime, "fast_bfloat16", lambda: False)
    monkeypatch.setattr(training, "MIXES", (share,))
    context = suite.text_context().held_out()
    arm = short().run(context)
    assert arm.details["mix"] == share
    assert bool(arm.tensors) == (share > 0)
    head, logits = head_on(context, arm)
    np.testing.assert_allclose(arm.head.weight, head.weight, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(arm.validation.logits, logits / arm.head.temperature, rtol=1e-4, atol=1e-4)


def test_held_out_rows_choose_the_mix_and_a_training_on_all_rows_takes_it_over(suite, monkeypatch):
    context = suite.text_context()
    inner, losses = context.held_out(), {}
    targets = context.examples.targets[inner.split.validation]
    for share in training.MIXES:
        with monkeypatch.context() as patch:
            patch.setattr(training, "MIXES", (share,))
            logits = short().run(inner).validation.logits
        heat = temperature(logits, targets, "classification")
        losses[share] = float(log_losses(logits / heat, targets, "classification").mean())
    arm = short().run(inner)
    assert losses[arm.details["mix"]] == pytest.approx(min(losses.values()), abs=1e-6)
    whole = short().run(replace(context, like=arm))
    assert whole.details["mix"] == arm.details["mix"]
    assert whole.details["rows"] == len(context.split.train)
