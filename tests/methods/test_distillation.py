"""Distillation: what the teacher says is asked once, counts in the loss, and keeps its size at any temperature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.losses import distillation_loss
from headstart.methods import METHODS
from headstart.methods.distillation import Distillation
from headstart.methods.lpft import LPFT


def short() -> Distillation:
    method = METHODS["distillation"]()
    method.settings = replace(method.settings, epochs=1.0, least_steps=1, batch=10)
    return method


def test_the_teacher_is_asked_once(suite, monkeypatch):
    asked = []
    run = LPFT.run
    monkeypatch.setattr(LPFT, "run", lambda self, context: asked.append(context) or run(self, context))
    context = replace(suite.text_context(), seconds=60.0)
    arm = short().run(context.held_out())
    taught = arm.details["taught"]
    assert sorted(taught.ids) == sorted(context.ids(context.split.train))
    again = short().run(replace(context, like=arm))
    assert [(one.source.name, one.seconds) for one in asked] == [("tiny from scratch", 30.0)]
    assert asked[0].source.fingerprint == context.teacher.fingerprint
    assert again.details["taught"] is taught
    assert again.details["rows"] == 30


def test_another_teacher_makes_another_student(suite):
    context = suite.text_context()
    arms = [short().run(replace(context, teacher=suite.tiny_source(seed))) for seed in (1, 2)]
    assert not np.array_equal(arms[0].head.weight, arms[1].head.weight)


@pytest.mark.parametrize("problem", ["classification", "multilabel", "regression"])
def test_agreement_is_the_minimum(problem):
    outputs = 1 if problem == "regression" else 3
    taught = torch.randn(5, outputs, generator=torch.Generator().manual_seed(0))
    logits = taught.clone().requires_grad_()
    (slope,) = torch.autograd.grad(distillation_loss(logits, taught, problem, 2.0), logits)
    assert slope.abs().max() < 1e-6
    assert distillation_loss(taught + 0.5 * torch.eye(5)[:, :outputs], taught, problem, 2.0) > distillation_loss(
        taught, taught, problem, 2.0
    )


def test_gradients_keep_their_size_at_a_high_temperature():
    generator = torch.Generator().manual_seed(0)
    taught, logits = torch.randn(2, 5, 3, generator=generator)
    slopes = []
    for heat in (10.0, 100.0):
        given = logits.clone().requires_grad_()
        slopes.append(torch.autograd.grad(distillation_loss(given, taught, "classification", heat), given)[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0.1, atol=0.01)
