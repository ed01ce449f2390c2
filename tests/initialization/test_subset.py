"""A target smaller than its source: which layers, which units, which heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.errors import UsageError
from headstart.initialization import DEFAULT, RULES
from headstart.initialization.engine import initialize
from headstart.initialization.scene import evenly


def test_evenly_is_increasing_and_in_range():
    for source in range(1, 40):
        for target in range(1, source + 1):
            found = evenly(source, target)
            assert len(found) == len(set(found)) == target
            assert found == sorted(found)
            assert 0 <= found[0] <= found[-1] < source


@pytest.mark.parametrize(("layers", "expected"), [("even", [0, 2, 5]), ("first", [0, 1, 2])])
def test_a_shallower_target_takes_layers_in_their_order(vit, layers, expected):
    source, target = vit(), vit(1, depth=3)
    ledger = initialize(target, source, [RULES["depth"](layers=layers), *DEFAULT[1:]])
    ours, theirs = target.state_dict(), source.state_dict()
    for name, value in ours.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[1] = str(expected[int(parts[1])])
        assert torch.equal(value, theirs[".".join(parts)])
    assert ledger.share("copied") == 1
    kept = {str(number) for number in expected}
    assert {row.tensor.split(".")[1] for row in ledger.unused} == {"0", "1", "2", "3", "4", "5"} - kept
    assert {(row.rule, row.reason) for row in ledger.unused} == {("depth", "its layer is left out")}


def test_a_narrower_target_takes_the_same_units_along_the_residual_stream_and_whole_heads(vit):
    """24 units in 6 heads of 4, to 12 units in 3 heads of 4."""
    source, target = vit(), vit(1, embed_dim=12, num_heads=3)
    ledger = initialize(target, source)
    assert ledger.share("reshaped") + ledger.share("copied") == 1
    ours, theirs = target.state_dict(), source.state_dict()
    stream, hidden, heads = evenly(24, 12), evenly(96, 48), evenly(6, 3)
    for i in range(6):
        at = f"blocks.{i}."
        assert torch.equal(ours[at + "norm1.weight"], theirs[at + "norm1.weight"][stream])
        qkv = theirs[at + "attn.qkv.weight"].reshape(3, 6, 4, 24)[:, heads][..., stream].reshape(36, 12)
        assert torch.equal(ours[at + "attn.qkv.weight"], qkv)
        bias = theirs[at + "attn.qkv.bias"].reshape(3, 6, 4)[:, heads].reshape(36)
        assert torch.equal(ours[at + "attn.qkv.bias"], bias)
        proj = theirs[at + "attn.proj.weight"][stream].reshape(12, 6, 4)[:, heads].reshape(12, 12)
        assert torch.equal(ours[at + "attn.proj.weight"], proj)
        assert torch.equal(ours[at + "attn.proj.bias"], theirs[at + "attn.proj.bias"][stream])
        assert torch.equal(ours[at + "mlp.fc1.weight"], theirs[at + "mlp.fc1.weight"][hidden][:, stream])
        assert torch.equal(ours[at + "mlp.fc2.weight"], theirs[at + "mlp.fc2.weight"][stream][:, hidden])
    assert torch.equal(ours["pos_embed"], theirs["pos_embed"][..., stream])
    assert torch.equal(ours["cls_token"], theirs["cls_token"][..., stream])
    assert torch.equal(ours["patch_embed.proj.weight"], theirs["patch_embed.proj.weight"][stream])


def test_narrower_heads_take_units_within_each_head(vit):
    """6 heads of 4 to 6 heads of 2: the source says how many heads it has."""
    source, target = vit(), vit(1, embed_dim=12, num_heads=6)
    initialize(target, source)
    inner, stream = evenly(4, 2), evenly(24, 12)
    qkv = source.state_dict()["blocks.0.attn.qkv.weight"].reshape(3, 6, 4, 24)[:, :, inner][..., stream]
    assert torch.equal(target.state_dict()["blocks.0.attn.qkv.weight"], qkv.reshape(36, 12))


def test_from_tensors_alone_heads_are_taken_to_be_as_wide_as_the_targets(vit):
    source = vit()
    one, other = vit(1, embed_dim=12, num_heads=3), vit(1, embed_dim=12, num_heads=3)
    initialize(one, source)
    initialize(other, {name: value.numpy() for name, value in source.state_dict().items()})
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_more_heads_than_the_source_has_are_not_made_up(vit):
    source, target = vit(num_heads=2), vit(1, embed_dim=12, num_heads=6)
    with pytest.raises(UsageError, match="fresh in the target"):
        initialize(target, source)
    ledger = initialize(target, source, least=0)
    assert {row.status for row in ledger if "qkv" in row.tensor and row.status != "unused"} == {"fresh"}


def test_everything_at_once(vit):
    source = vit()
    target = vit(1, embed_dim=12, num_heads=3, depth=2, img_size=64, patch_size=16, in_chans=1)
    ledger = initialize(target, source)
    rows = {row.tensor: row.rule for row in ledger.target}
    assert ledger.share("fresh") == 0
    assert rows["patch_embed.proj.weight"] == "name + channels + patches + width"
    assert rows["blocks.1.attn.qkv.weight"] == "depth + width"
    assert rows["pos_embed"] == "name + width"


def test_what_was_tried_in_vain_says_so(vit):
    source, target = vit(), vit(1, depth=3, mlp_ratio=5)
    ledger = initialize(target, source, least=0)
    row = next(row for row in ledger.unused if row.tensor == "blocks.2.mlp.fc1.weight")
    assert row.reason.startswith("blocks.1.mlp.fc1.weight is fresh: no rule makes 120 × 24")


def test_linear_layers_become_convolutions_and_back():
    for source, target in ((nn.Linear(6, 8), nn.Conv2d(6, 4, 1)), (nn.Conv2d(6, 8, 1), nn.Linear(6, 4))):
        ledger = initialize(target, source)
        assert torch.equal(target.weight.flatten(), source.weight[::2].flatten())
        assert [row.rule for row in ledger] == ["name + pointwise + width", "name + width"]


def bert(**changes):
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertForSequenceClassification

    facts = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 6}
    sizes = {"intermediate_size": 48, "max_position_embeddings": 32}
    torch.manual_seed(len(changes))
    return BertForSequenceClassification(BertConfig(**(facts | sizes | changes)))


def test_transformers_heads_layers_and_positions():
    source = bert(num_labels=3)
    target = bert(hidden_size=12, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=16, num_labels=5)
    ledger = initialize(target, source)
    rows = {row.tensor: row for row in ledger.target}
    assert {name for name, row in rows.items() if row.status == "fresh"} == {"classifier.weight", "classifier.bias"}
    ours, theirs = target.state_dict(), source.state_dict()
    at, heads, stream = "bert.encoder.layer.{}.attention.", evenly(6, 3), evenly(24, 12)
    query = theirs[at.format(3) + "self.query.weight"].reshape(6, 4, 24)[heads][..., stream].reshape(12, 12)
    assert torch.equal(ours[at.format(1) + "self.query.weight"], query)
    dense = theirs[at.format(3) + "output.dense.weight"][stream].reshape(12, 6, 4)[:, heads].reshape(12, 12)
    assert torch.equal(ours[at.format(1) + "output.dense.weight"], dense)
    positions = "bert.embeddings.position_embeddings.weight"
    assert torch.equal(ours[positions], theirs[positions][:16, stream])
    assert rows[positions].rule == "name + positions + width"
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(ours[words], theirs[words][:, stream])


def test_longer_texts_begin_with_the_positions_there_are():
    source, target = bert(num_labels=3), bert(max_position_embeddings=40, num_labels=5)
    name = "bert.embeddings.position_embeddings.weight"
    before = target.state_dict()[name].clone()
    row = next(row for row in initialize(target, source) if row.tensor == name)
    after = target.state_dict()[name]
    assert torch.equal(after[:32], source.state_dict()[name])
    assert torch.equal(after[32:], before[32:])
    assert (row.status, row.taken) == ("reshaped", 0.8)


def test_another_vocabulary_is_never_sliced_by_width():
    source, target = bert(num_labels=3), bert(vocab_size=30, num_labels=5)
    ledger = initialize(target, source, least=0)
    assert next(row.status for row in ledger if row.tensor == "bert.embeddings.word_embeddings.weight") == "fresh"


def test_a_head_of_fewer_classes_is_fresh():
    source = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 9))
    target = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    before = target[1].weight.clone()
    ledger = initialize(target, source, heads=["1"])
    assert torch.equal(target[1].weight, before)
    assert ledger.share("fresh") == pytest.approx(27 / 99)


def test_convolutional_stages_of_fewer_channels():
    from timm.models.resnet import BasicBlock, ResNet

    source = ResNet(BasicBlock, (2, 3, 2, 2), num_classes=0, channels=(16, 16, 32, 32), stem_width=16)
    target = ResNet(BasicBlock, (2, 2, 2, 2), num_classes=0, channels=(8, 8, 16, 16), stem_width=16)
    ledger = initialize(target, source, heads=[])
    assert ledger.share("fresh") == 0
    weight, there = target.state_dict()["layer2.1.conv2.weight"], source.state_dict()["layer2.2.conv2.weight"]
    assert torch.equal(weight, there[evenly(16, 8)][:, evenly(16, 8)])


@pytest.fixture
def one_thread():
    """Threads cost more than they save on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_subset_of_a_trained_source_learns_faster_than_random_weights(one_thread):
    """Handwritten digits, 8 × 8 pixels: after 30 steps a half as deep and wide target has the lower loss, thrice."""
    from sklearn.datasets import load_digits
    from timm.models.vision_transformer import VisionTransformer

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)

    def make(seed, **changes):
        torch.manual_seed(seed)
        settings = {"img_size": 8, "patch_size": 2, "in_chans": 1, "embed_dim": 32, "depth": 4, "num_heads": 4}
        return VisionTransformer(**(settings | {"num_classes": 10} | changes))

    def train(model, steps, seed, begin, end):
        draw = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for _ in range(steps):
            rows = torch.randint(begin, end, (32,), generator=draw)
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(images[1400:]), labels[1400:]))

    source = make(0)
    train(source, 300, 0, 0, 1000)
    for seed in (1, 2, 3):
        small = {"embed_dim": 16, "num_heads": 2, "depth": 2}
        subset, random = make(seed, **small), make(seed, **small)
        assert initialize(subset, source).share("fresh") == 0
        losses = [train(model, 30, seed, 1000, 1400) for model in (subset, random)]
        print("subset, random:", losses)
        assert losses[0] < losses[1] - 0.1
