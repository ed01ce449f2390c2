"""The heads that sources were trained with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart import sources
from headstart.backbones.classes import SETS, class_names
from headstart.errors import UsageError
from headstart.types import SourceHead


def test_probabilities_are_the_softmax_of_the_logits():
    head = SourceHead(np.array([[1, 0], [0, 1], [1, 1]], np.float32), np.array([0, 0, -1], np.float32))
    logits = head.logits(np.array([[1.0, 2.0], [1000.0, 0.0]]))
    np.testing.assert_allclose(logits, [[1, 2, 2], [1000, 0, 999]])
    found = head.probabilities(np.array([[1.0, 2.0], [1000.0, 0.0]]))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(found[0], np.exp([1, 2, 2]) / np.exp([1, 2, 2]).sum(), rtol=1e-6)
    np.testing.assert_allclose(found[1], [0.731059, 0, 0.268941], atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_there_is_a_name_for_every_class(name):
    assert len(class_names(name)) == SETS[name]


def test_no_set_has_no_names():
    assert class_names(None) == class_names("breeds of dogs") == ()


@torch.inference_mode()
def test_source_logits_are_those_of_the_whole_library_model():
    import timm

    source = sources.resolve("efficientnet-lite0")
    backbone, head = source.backbone(), source.head()
    assert head.classes[0] == "tench, Tinca tinca"
    state = {**source.tensors(), "classifier.weight": head.weight, "classifier.bias": head.bias}
    full = timm.create_model("tf_efficientnet_lite0").eval()
    full.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(backbone.source_logits(backbone(image)), full(image), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(head.logits(backbone(image).numpy()), full(image).numpy(), rtol=1e-4, atol=1e-4)


def test_what_has_no_head_says_so():
    source = sources.resolve("wordllama")
    assert source.head() is None
    with pytest.raises(UsageError, match="no classes of its own"):
        source.backbone().source_logits(torch.zeros(1, source.card.dim))


def test_a_tuned_or_untrained_source_has_lost_its_head():
    source = sources.resolve("efficientnet-lite0")
    assert source.with_input(source.card.input).head() is not None
    assert source.tuned({"bn1.bias": np.zeros(32, np.float32)}).head() is None
    assert source.from_scratch(0).head() is None
