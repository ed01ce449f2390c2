"""Every rule of the table keeps the contract of `headstart.initialization`."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn

from headstart.initialization import DEFAULT, RULES
from headstart.initialization.engine import initialize

CLASSES = ("one", "two", "three")
TOLD = {"labels": (CLASSES, CLASSES), "vocabulary": (Tokenizer(WordLevel({w: i for i, w in enumerate(CLASSES)})),) * 2}
"""What the rules are told that need names on both sides."""
pytestmark = pytest.mark.parametrize("name", sorted(RULES))


def rule(name: str) -> Any:
    return RULES[name](*TOLD.get(name, ()))


def network(seed: int) -> Any:
    torch.manual_seed(seed)
    body = {"tokens": nn.Embedding(3, 8), "stem": nn.Conv2d(3, 8, 4, 4), "blocks": nn.ModuleList([nn.Linear(8, 8)] * 2)}
    return nn.ModuleDict({**body, "head": nn.Linear(8, 3)})


def test_is_called_by_its_name_and_needs_to_be_told_nothing_or_names(name: str) -> None:
    assert rule(name).name == name
    assert (name in DEFAULT) == (name not in TOLD)
    assert RULES[name].__doc__


def test_keeps_no_state(name: str) -> None:
    one = rule(name)
    if is_dataclass(one):
        assert replace(one) == one
    else:
        assert not vars(one)


def test_leaves_equal_models_equal(name: str) -> None:
    target, source = network(0), network(1)
    initialize(target, source, ["name", rule(name)])
    theirs = source.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in target.state_dict().items())


def test_alone_it_explains_only_what_it_pairs_and_changes_nothing_else(name: str) -> None:
    target, source = network(0), network(1)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    ledger = initialize(target, source, [rule(name)], least=0)
    fresh = {row.tensor for row in ledger.target if row.status == "fresh"}
    assert all(torch.equal(target.state_dict()[key], before[key]) for key in fresh)
    assert all(row.rule.split(" + ")[0] == name for row in ledger.target if row.tensor not in fresh)
