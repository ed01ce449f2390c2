"""Every method of the table keeps the contract of `headstart.methods`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart import adapt
from headstart.backbones.base import TargetModel
from headstart.backbones.source import Source
from headstart.errors import UsageError
from headstart.features import Embedder
from headstart.methods import METHODS, Context
from headstart.modalities import pipeline_of
from headstart.recipe import Group
from headstart.store import fingerprint
from headstart.tuning import Tuned
from headstart.types import Examples, InputSpec, SourceCard, SourceHead, Split, Task

TUNED = [name for name in METHODS if name != "probe"]
WORDS = ["salt", "soup", "dough", "rice", "goal", "keeper", "referee", "match", "rain", "hail", "cloud", "frost"]
BERT = {"family": "bert", "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16, "type_vocab_size": 1,
        "layer_norm_eps": 1e-12}  # fmt: skip


def tiny_source(seed: int = 0) -> Source:
    """A random two-layer encoder over a dozen words: what is tested is bookkeeping, not accuracy."""
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *WORDS])}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip
    card = SourceCard(
        name="tiny", title="Tiny", modality="text", provider="test", parameters=5_000, dim=16,
        layers=("last", "mean", "last4"),
        input=InputSpec(max_tokens=12, special_tokens=False), trained_on="nothing", licence="none", weights_sha256="0",
        architecture=BERT,
    )  # fmt: skip
    assets = {"tokenizer.json": json.dumps(tokenizer).encode()}
    return Source(card, dict, lambda: assets).from_scratch(seed)


@pytest.fixture
def context(request: pytest.FixtureRequest) -> Context:
    """Texts, or photographs where the method cannot adapt an encoder of texts."""
    method = METHODS[request.node.callspec.params["name"]]()
    found = text_context()
    if getattr(method, "obstacle", lambda _: None)(found):
        found = photo_context()
        assert method.obstacle(found) is None
    return found


def photo_context() -> Context:
    """45 noisy little pictures, and a random convolutional source with a classifier of its own."""
    rng = np.random.default_rng(0)
    texts = text_context()
    shades = np.array([(200, 60, 50), (60, 180, 70), (60, 80, 200)])[texts.examples.targets]
    pictures = (shades[:, None, None] + rng.normal(0, 30, (45, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    card = SourceCard(
        name="tiny", title="Tiny", modality="image", provider="test", parameters=360_000, dim=256, layers=("last",),
        input=InputSpec(32, (0.5,) * 3, (0.5,) * 3), trained_on="nothing", licence="none", weights_sha256="0",
        architecture={"family": "timm", "name": "test_efficientnet"},
    )  # fmt: skip
    head = SourceHead(rng.normal(size=(7, 256)).astype(np.float32), np.zeros(7, np.float32))
    source = replace(Source(card, dict).from_scratch(0), head=lambda: head)
    inputs = tuple(Image.fromarray(picture) for picture in pictures)
    return replace(texts, examples=replace(texts.examples, modality="image", inputs=inputs), source=source)


def text_context() -> Context:
    rng = np.random.default_rng(0)
    targets = np.arange(45) % 3
    texts = tuple(" ".join(rng.choice(WORDS[4 * t : 4 * t + 4], rng.integers(2, 6))) for t in targets)
    names = tuple(f"row {number}" for number in range(45))
    digests = tuple(fingerprint(name)[:32] for name in names)
    table = Examples("text", texts, names, digests, targets.astype(np.int64))
    rows = np.arange(45)
    split = Split(rows[:30], rows[:0], rows[30:], rows[:0], "by hand", rows[:30] // 3 % 5)
    task = Task("classification", "text", ("food", "football", "weather"), "accuracy")
    return Context(task, table, split, tiny_source(), Embedder(pipeline_of, None), seed=3, teacher=tiny_source(1))


def method_of(name: str, **changes: Any) -> Tuned:
    made = METHODS[name]()
    made.settings = replace(made.settings, **{"epochs": 1.0, "least_steps": 1, "batch": 10, **changes})
    return made


class Watched:
    """Notes what a method says it trains."""

    def __init__(self, method: Tuned) -> None:
        self.trained: set[str] = set()
        self.before: dict[str, torch.Tensor] = {}
        self.after: dict[str, torch.Tensor] = {}
        groups, finish = method.parameter_groups, method.finish

        def noted(model: Any) -> list[Group]:
            found = groups(model)
            names = {id(parameter): name for name, parameter in model.named_parameters()}
            self.trained = {names[id(parameter)] for group in found for parameter in group.parameters}
            self.before = {name: value.detach().clone() for name, value in model.named_parameters()}
            return found

        def seen(model: Any) -> Any:
            self.after = {name: value.detach().clone() for name, value in model.named_parameters()}
            return finish(model)

        method.parameter_groups, method.finish = noted, seen  # type: ignore[method-assign]

    @property
    def changed(self) -> set[str]:
        return {name for name, value in self.after.items() if not torch.equal(value, self.before[name])}


@pytest.mark.parametrize("name", TUNED)
def test_one_step_changes_exactly_what_the_method_says_it_trains(name: str, context: Context) -> None:
    method = method_of(name, most_steps=1, average=0, warmup=0, decay=0.1)
    watched = Watched(method)
    method.run(context)
    assert watched.trained
    assert watched.changed <= watched.trained
    assert {one for one in watched.trained - watched.changed if watched.before[one].abs().sum() > 0} == set()


@pytest.mark.parametrize("name", TUNED)
def test_a_rate_of_zero_changes_nothing(name: str, context: Context) -> None:
    method = method_of(name, rate=0.0)
    watched = Watched(method)
    method.run(context)
    assert watched.changed == set()


@pytest.mark.parametrize("name", METHODS)
def test_one_seed_gives_one_arm(name: str, context: Context) -> None:
    arms = [METHODS[name]().run(context) if name == "probe" else method_of(name).run(context) for _ in range(2)]
    facts = [fingerprint(arm.head, dict(arm.tensors), arm.layer, arm.validation) for arm in arms]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("name", METHODS)
def test_the_arm_ships_and_predicts_the_same(name: str, context: Context) -> None:
    arm = METHODS[name]().run(context) if name == "probe" else method_of(name).run(context)
    tuned = context.source.tuned(arm.tensors)
    expected = adapt.test_logits(context.examples, context.source, context.embedder, arm, context.split.test)
    state = {key: torch.from_numpy(value.copy()) for key, value in tuned.tensors().items()}
    backbone = tuned.backbone()
    assert all(torch.equal(value, state[key]) for key, value in backbone.model.state_dict().items())
    again = Embedder(pipeline_of, None).embed(tuned, context.examples, context.split.test)[arm.layer]
    np.testing.assert_array_equal(arm.head.logits(again) / arm.head.temperature, expected)


@pytest.mark.parametrize("name", TUNED)
def test_test_rows_are_never_looked_at(name: str, context: Context) -> None:
    """The test rows' texts and targets are replaced: the arm stays the same bits."""
    table, test = context.examples, set(context.split.test.tolist())
    inputs = tuple(table.inputs[0] if row in test else one for row, one in enumerate(table.inputs))
    targets = np.where(np.isin(np.arange(len(table)), list(test)), 0, table.targets)
    other = replace(context, examples=replace(table, inputs=inputs, targets=targets))
    arms = [method_of(name).run(one.held_out()) for one in (context, other)]
    assert fingerprint(arms[0].head, dict(arms[0].tensors)) == fingerprint(arms[1].head, dict(arms[1].tensors))


@pytest.mark.parametrize("name", ["lora", "dora", "ia3", "ssf", "mixout"])
def test_merged_equals_unmerged(name: str, context: Context) -> None:
    method, outputs = method_of(name), []
    merge = method.finish

    def compared(model: Any) -> Any:
        feed = method.feed(model, context, context.split.test)
        batch = feed.batch(np.arange(1), None)
        for finish in (lambda one: one, merge):
            with torch.no_grad():
                outputs.append(finish(model.eval())(batch))
        return model

    method.finish = compared  # type: ignore[method-assign]
    method.run(context)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cotuning", "lwf", "stochnorm", "distillation"])
def test_what_a_method_cannot_adapt_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match=f"method '{name}' cannot adapt tiny"):
        METHODS[name]().run(replace(text_context(), teacher=None))


@pytest.mark.parametrize("name", [name for name in TUNED if METHODS[name].refits])
def test_a_head_that_will_not_ship_does_not_end_a_training(name: str, context: Context) -> None:
    arm = method_of(name, epochs=6.0, looks=6, patience=1).run(context.held_out())
    assert arm.details["share"] == 1.0


@torch.no_grad()
def test_a_scratch_twins_statistics_are_those_of_its_training() -> None:
    """After forty steps it says in evaluation what it said in training, whatever momentum its source was built with."""
    context = photo_context()
    model = METHODS["scratch"]().prepare(TargetModel(context.source.backbone(), "last", 3), context)
    batch = torch.randn(16, 3, 32, 32)
    told = [model.train()(batch) for _ in range(40)][-1]
    both = torch.stack([told.flatten(), model.eval()(batch).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.95
