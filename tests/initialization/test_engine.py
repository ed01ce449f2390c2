"""``initialize``: what it refuses, what it proves, and, for any two models, that its ledger is the whole truth."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import headstart
from headstart.backbones import build
from headstart.backbones.base import TargetModel
from headstart.errors import UsageError
from headstart.initialization import DEFAULT, Fitted, Rule
from headstart.initialization.engine import initialize
from headstart.store import sha256_array

TINY_BERT = {
    "family": "bert", "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 24, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip


def network(*names, seed=0, width=6, outputs=3):
    torch.manual_seed(seed)
    layers = [nn.Linear(4 if i == 0 else width, width) for i in range(len(names) - 1)]
    return nn.Sequential(OrderedDict(zip(names, [*layers, nn.Linear(width, outputs)], strict=True)))


def values(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_public_name():
    assert headstart.initialize is initialize


def test_our_own_targets_take_a_source_as_it_is():
    tensors = {name: value.numpy() for name, value in build(TINY_BERT).model.state_dict().items()}
    target = TargetModel(build(TINY_BERT), "last", 3)
    ledger = initialize(target, SimpleNamespace(tensors=lambda: tensors))
    assert {row.tensor for row in ledger if row.status == "fresh"} == {"head.weight", "head.bias"}
    assert not ledger.unused
    assert ledger.used == set(tensors)
    assert all(np.array_equal(target.backbone.model.state_dict()[name], value) for name, value in tensors.items())


def test_prefixes_on_either_side_do_not_matter():
    inner, outer = network("a", "b", "c"), nn.ModuleDict({"net": network("a", "b", "c", seed=1)})
    assert initialize(outer, inner).share("copied") == 1
    assert same(values(outer["net"]), values(inner))
    again = network("a", "b", "c", seed=2)
    assert initialize(again, outer).share("copied") == 1
    assert same(values(again), values(inner))


def test_too_little_is_refused_with_both_sides_and_the_target_is_left_alone():
    target, source = network("a", "b", "head", width=6), network("a", "x", "head", width=8, seed=1)
    before = values(target)
    both = r"only .*%.*fresh in the target: .*b\.weight.*unused in the source: .*x\.weight"
    with pytest.raises(UsageError, match=both):
        initialize(target, source, ["name"])
    assert same(values(target), before)
    ledger = initialize(target, source, ["name"], least=0)
    assert ledger.share("fresh") > 0.5


def test_the_head_does_not_count_against_the_backbone():
    target, source = network("a", "head", outputs=900), network("a", "head", outputs=3, seed=1)
    ledger = initialize(target, source)
    assert ledger.share("fresh") > 0.9
    with pytest.raises(UsageError, match="backbone"):
        initialize(target, source, heads=[])


def test_other_names_are_matched_by_order_and_said_not_to_be_proved():
    target, source = network("a", "b", "c"), network("x", "y", "z", seed=1)
    ledger = initialize(target, source, heads=[])
    assert {row.rule for row in ledger} == {"order"}
    assert same(values(target), dict(zip(values(target), values(source).values(), strict=True)))
    assert "not compared" in str(ledger)


@pytest.mark.parametrize("prove", [torch.ones(2, 4), (torch.ones(2, 4),), {"input": torch.ones(2, 4)}])
def test_other_names_are_proved_by_equal_outputs(prove):
    target, source = network("a", "b", "c"), network("x", "y", "z", seed=1)
    ledger = initialize(target, source, heads=[], prove=prove)
    assert ledger.proof.startswith("outputs equal the source's to ")
    assert target.training
    assert source.training


def test_a_wrong_match_is_refused_by_the_proof_and_undone():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, inputs):
            return self.second(self.first(inputs).relu())

    torch.manual_seed(0)
    source, target = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), Swapped()
    before = values(target)
    with pytest.raises(UsageError, match="outputs differ from the source's by"):
        initialize(target, source, prove=torch.randn(8, 4))
    assert same(values(target), before)


def test_a_proof_may_look_at_a_part_of_the_outputs():
    target, source = network("a", "head", outputs=2), network("a", "head", outputs=3, seed=1)
    batch = torch.randn(5, 4)
    with pytest.raises(UsageError, match="differ in shape"):
        initialize(target, source, prove=batch)
    assert initialize(target, source, prove=lambda model: model.a(batch)).proof
    with pytest.raises(UsageError, match="Give a module"):
        initialize(target, values(source), prove=batch)


def test_norms_matched_by_order_keep_weights_and_biases_apart():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.beta, self.gamma = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(4))

    with pytest.raises(UsageError):
        initialize(Other(), nn.LayerNorm(4))


def test_a_rule_of_ones_own():
    class Zero(Rule):
        name = "zero"

        def fit(self, scene, pair, value):
            return Fitted(value * 0, "made zero") if pair.target.endswith("bias") else None

    target, source = network("a", "b"), network("a", "b", seed=1)
    ledger = initialize(target, source, [*DEFAULT, Zero()])
    assert not target.a.bias.any()
    assert next(row for row in ledger if row.tensor == "a.bias").rule == "name + zero"


def test_unknown_rules_are_named():
    with pytest.raises(UsageError, match="did you mean 'width'"):
        initialize(network("a"), network("a"), ["widht"])


def test_other_precisions_are_converted_and_said():
    source = network("a", "b").to(torch.bfloat16)
    target = network("a", "b", seed=1)
    ledger = initialize(target, source)
    assert torch.equal(target.a.weight, source.a.weight.float())
    assert "bfloat16 to float32" in ledger.rows[0].reason


SIZES = st.integers(1, 6)
LAYER = st.one_of(
    st.tuples(st.just("linear"), SIZES, SIZES),
    st.tuples(st.just("conv"), SIZES, SIZES, st.integers(1, 3)),
    st.tuples(st.just("patch"), SIZES, SIZES, st.integers(1, 4)),
    st.tuples(st.just("norm"), SIZES),
    st.tuples(st.just("tokens"), SIZES, SIZES),
    st.tuples(st.just("pos_embed"), st.integers(1, 12), SIZES),
    st.tuples(st.just("relative_position_bias_table"), st.sampled_from([1, 9, 12, 25, 28]), SIZES),
)
NAME = st.sampled_from(["0", "1", "2", "stem", "pos", "head", "deep"])
MODEL = st.dictionaries(NAME, st.one_of(LAYER, st.dictionaries(NAME, LAYER, min_size=1, max_size=3)), min_size=1)


def made(layers):
    if isinstance(layers, dict):
        return nn.ModuleDict({name: made(one) for name, one in layers.items()})
    kind, *sizes = layers
    if kind in ("linear", "conv", "norm", "tokens"):
        makers = {"linear": nn.Linear, "conv": nn.Conv2d, "norm": nn.BatchNorm1d, "tokens": nn.Embedding}
        return makers[kind](*sizes)
    if kind == "patch":
        return nn.Conv2d(*sizes, sizes[-1])
    holder = nn.Module()
    holder.register_parameter(kind, nn.Parameter(torch.randn(1, *sizes) if kind == "pos_embed" else torch.randn(sizes)))
    return holder


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MODEL, MODEL, st.booleans(), st.permutations(DEFAULT), st.floats(0, 1))
def test_the_ledger_is_the_whole_truth(ours, theirs, related, rules, least):
    """No tensor missing, none twice, and every value is what its row says; what is refused changes nothing."""
    target, source = made(ours), made(ours | theirs if related else theirs)
    before, given_ = values(target), values(source)
    try:
        ledger = initialize(target, source, rules, least=least)
    except UsageError as error:
        assert "fresh in the target" in str(error)  # noqa: PT017
        assert same(values(target), before)
        return
    after = values(target)
    assert [row.tensor for row in ledger.target] == list(before)
    assert sorted([*ledger.used, *(row.tensor for row in ledger.unused)]) == sorted(given_)
    for row in ledger.target:
        value = after[row.tensor]
        assert row.shape == tuple(value.shape)
        assert row.sha256 == sha256_array(value.numpy())
        assert row.rule
        assert row.reason
        if row.status == "fresh":
            assert torch.equal(value, before[row.tensor])
            assert not row.sources
        if row.status == "copied":
            assert torch.equal(value, given_[row.sources[0]])
    for row in ledger.unused:
        assert (row.shape, bool(row.reason)) == (tuple(given_[row.tensor].shape), True)
    assert sum(ledger.share(status) for status in ("copied", "reshaped", "fresh")) == pytest.approx(1)
    assert same(values(source), given_)
