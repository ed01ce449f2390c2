"""Rules that need names: classes of a head, tokens of a vocabulary."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from headstart.initialization import DEFAULT
from headstart.initialization.engine import initialize
from headstart.initialization.rules.labels import Labels, shared_rows
from headstart.initialization.rules.vocabulary import Vocabulary


def headed(outputs, seed):
    torch.manual_seed(seed)
    return nn.ModuleDict({"body": nn.Linear(4, 5), "head": nn.Linear(5, outputs)})


def test_rows_of_shared_classes_are_copied_and_others_stay():
    source, target = headed(4, 0), headed(3, 1)
    before = target["head"].weight.detach().clone()
    labels = Labels(["cat", "dog", "tree frog", "tench, Tinca tinca"], ["Tinca_Tinca", "horse", "CAT"])
    ledger = initialize(target, source, [*DEFAULT, labels])
    for part in ("weight", "bias"):
        got, there = getattr(target["head"], part), getattr(source["head"], part)
        assert torch.equal(got[[0, 2]], there[[3, 0]])
    assert torch.equal(target["head"].weight[1], before[1])
    row = next(row for row in ledger if row.tensor == "head.weight")
    assert (row.status, row.rule, row.reason) == (
        "reshaped", "name + labels", "same name; rows of 2 of 3 classes by name, the others fresh",
    )  # fmt: skip
    assert row.taken == pytest.approx(2 / 3)
    assert ledger.share("fresh") == pytest.approx(6 / 43)


def test_equal_shapes_do_not_mean_equal_classes():
    source, target = headed(3, 0), headed(3, 1)
    initialize(target, source, [*DEFAULT, Labels(["a", "b", "c"], ["c", "a", "b"])])
    assert torch.equal(target["head"].weight, source["head"].weight[[2, 0, 1]])


def test_heads_of_other_names_are_found():
    torch.manual_seed(0)
    source = nn.ModuleDict({"body": nn.Linear(4, 5), "out": nn.Linear(5, 3)})
    target = headed(2, 1)
    initialize(target, source, [*DEFAULT, Labels(["a", "b", "c"], ["c", "z"])])
    assert torch.equal(target["head"].weight[0], source["out"].weight[2])


def test_no_shared_class_leaves_the_head_fresh():
    source, target = headed(3, 0), headed(3, 1)
    before = target["head"].weight.detach().clone()
    ledger = initialize(target, source, [*DEFAULT, Labels(["a", "b", "c"], ["x", "y", "z"])])
    assert torch.equal(target["head"].weight, before)
    assert {row.tensor: row.status for row in ledger.target}["head.weight"] == "fresh"


def test_names_that_two_classes_have_are_not_matched():
    assert shared_rows(["crane", "crane", "ox"], ["crane", "ox"]) == {1: 2}
    assert shared_rows(["ox"], ["ox", "OX"]) == {}


def wordpiece(*tokens):
    ids = {token: row for row, token in enumerate(["[UNK]", "[CLS]", "[SEP]", "[PAD]", *tokens])}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    return tokenizer


def byte_level(*tokens):
    letters = "abcdefghijklmnopqrstuvwxyzĠ"
    ids = {token: row for row, token in enumerate(["<unk>", "<s>", "</s>", "<pad>", *letters, *tokens])}
    tokenizer = Tokenizer(models.BPE(ids, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<pad>"])
    return tokenizer


def texts(rows, seed, special=False):
    torch.manual_seed(seed)
    parts = {"word_embeddings": nn.Embedding(rows, 6), "position_embeddings": nn.Embedding(rows, 6)}
    decoder = {"decoder": nn.Linear(6, rows)} if special else {}
    return nn.ModuleDict({"embeddings": nn.ModuleDict(parts), **decoder})


def test_new_tokens_are_means_of_the_old_ones_they_are_made_of():
    old = wordpiece("rain", "##bow", "##s", "snow")
    new = wordpiece("snow", "rainbow", "rainbows", "##s", "sun")
    source, target = texts(8, 0), texts(9, 1)
    before = target["embeddings"]["word_embeddings"].weight.detach().clone()
    ledger = initialize(target, source, [*DEFAULT, Vocabulary(old, new)], least=0)
    got, there = (one["embeddings"]["word_embeddings"].weight.detach() for one in (target, source))
    assert torch.equal(got[:4], there[:4])
    assert torch.equal(got[4], there[7])
    torch.testing.assert_close(got[5], there[[4, 5]].mean(0))
    torch.testing.assert_close(got[6], there[[4, 5, 6]].mean(0))
    assert torch.equal(got[7], there[6])
    assert torch.equal(got[8], before[8])
    row = next(row for row in ledger if row.tensor == "embeddings.word_embeddings.weight")
    assert row.reason == "same name; 6 tokens copied, 2 composed of old ones, 1 fresh"
    assert (row.status, row.taken) == ("reshaped", pytest.approx(8 / 9))
    assert next(row for row in ledger if "position" in row.tensor).rule == "name + positions"


def test_an_output_layer_over_the_tokens_follows():
    old, new = wordpiece("rain", "##bow"), wordpiece("rainbow", "rain")
    source, target = texts(6, 0, special=True), texts(6, 1, special=True)
    initialize(target, source, [*DEFAULT, Vocabulary(old, new)], heads=[])
    for part in ("weight", "bias"):
        got, there = (getattr(one["decoder"], part).detach() for one in (target, source))
        torch.testing.assert_close(got[4], there[[4, 5]].mean(0))
        assert torch.equal(got[5], there[4])


def test_families_of_tokenizers_meet_by_text_and_by_role(tmp_path):
    """A word-beginning piece of one is written with a space in front by the other."""
    old, new = byte_level("Ġrain"), wordpiece("ab", "##c")
    path = tmp_path / "tokenizer.json"
    old.save(str(path))
    ids, rows = old.get_vocab(), Vocabulary(path, new).rows
    assert rows[0] == [ids["<unk>"]]
    assert [rows[1], rows[2], rows[3]] == [[ids["<s>"]], [ids["</s>"]], [ids["<pad>"]]]
    assert rows[4] == [ids["Ġ"], ids["a"], ids["b"]]
    assert rows[5] == [ids["c"]]
    back = Vocabulary(new, old).rows
    assert ids["Ġrain"] not in back
    assert back[ids["<s>"]] == [new.get_vocab()["[CLS]"]]
