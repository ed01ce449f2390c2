"""Previews, maps, and what predictions rest on."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart import data, exhibition, heads, sources
from headstart.attribution import picture_heat, word_weights
from headstart.features import Embedder, made
from headstart.modalities import pipeline_of
from headstart.types import (
    Arm,
    ArmResult,
    Audit,
    Examples,
    LinearHead,
    Predictions,
    Receipt,
    Split,
    Suspect,
    Task,
)

NOTHING = np.zeros(0, np.int64)


def arm_of(head: LinearHead, layer: str = "last") -> Arm:
    return Arm("probe", "s", "probe", 0, 0.0, layer, head, Predictions((), np.zeros((0, 2))))


def receipt_of(logits: np.ndarray, targets: np.ndarray, ids: tuple[str, ...]) -> Receipt:
    result = ArmResult("probe", "s", "probe", 0.0, {}, {}, Predictions(ids, logits))
    return Receipt("helped", "", "probe", "accuracy", (), (result,), {}, None, "", targets=targets)


def test_the_surest_mistakes_come_first() -> None:
    task = Task("classification", "text", ("a", "b"), "accuracy")
    logits = np.array([[3.0, 0], [0, 1], [0, 4], [2, 0]])
    receipt = receipt_of(logits, np.array([0, 0, 0, 1]), ("w", "x", "y", "z"))
    assert exhibition.worst(task, receipt) == ["y", "z", "x"]
    numbers = receipt_of(np.array([[1.0], [5.0], [2.0]]), np.array([1.0, 1.0, 4.0]), ("w", "x", "y"))
    assert exhibition.worst(replace(task, problem="regression", labels=()), numbers, 1) == ["x"]
    flags = np.array([[True, False], [True, True]])
    several = receipt_of(np.array([[1.0, -1], [-3, 1]]), flags, ("w", "x"))
    assert exhibition.worst(replace(task, problem="multilabel"), several) == ["x"]
    assert exhibition.worst(task, receipt_of(logits[:0], NOTHING, ())) == []


def test_previews_are_small_and_never_the_whole() -> None:
    big = Image.effect_noise((2000, 1000), 80).convert("RGB")
    shown = exhibition.preview(Task("classification", "image", ("a",), "accuracy"), big)
    head, _, body = shown.picture.partition(",")
    assert head == "data:image/webp;base64"
    assert len(body) < 20_000
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (144, 72)
    text = exhibition.preview(Task("classification", "text", ("a",), "accuracy"), "word " * 1000)
    assert "".join(text.words) == ("word " * 1000)[:280]
    gone = exhibition.preview(Task("classification", "image", ("a",), "accuracy"), Path("/nowhere/at/all.jpg"))
    assert gone.picture == ""


@pytest.fixture(scope="module")
def reader() -> tuple[Task, Examples, Arm]:
    """A probe of football against cooking."""
    texts = [f"{a} {b}" for a in ("yesterday the", "they say the", "my own", "no") for b in ("striker", "goalkeeper")]
    texts += [f"{a} {b}" for a in ("yesterday the", "they say the", "my own", "no") for b in ("soup", "butter")]
    table = replace(data.table_of(texts, "text"), targets=np.repeat([0, 1], 8))
    (source,) = sources.candidates("wordllama", "text")
    values = Embedder(pipeline_of, None).embed(source, table, np.arange(16))["last"]
    found = heads.best(values, table.targets, np.arange(16) % 4, "classification", 2)
    return Task("classification", "text", ("football", "cooking"), "accuracy"), table, arm_of(found.head)


def test_the_word_that_decides_weighs_most(reader: tuple[Task, Examples, Arm]) -> None:
    task, _, arm = reader
    (source,) = sources.candidates("wordllama", "text")
    pieces = [("yesterday ", "my ", "goalkeeper"), ("no ", "butter ", "they ", "say"), ("soup",)]
    first, second, single = word_weights(task, source, arm, pieces, Embedder(pipeline_of, None))
    assert (int(np.argmax(first)), max(first)) == (2, 1.0)
    assert (int(np.argmax(second)), len(second)) == (1, 4)
    assert single == ()


def test_an_exhibition_shows_what_the_report_speaks_of(reader: tuple[Task, Examples, Arm]) -> None:
    task, table, arm = reader
    (source,) = sources.candidates("wordllama", "text")
    test = np.array([0, 1, 8, 9])
    ids = tuple(table.ids[row] for row in test)
    receipt = receipt_of(np.array([[0.0, 2], [2, 0], [0, 2], [0, 2]]), table.targets[test], ids)
    split = Split(np.setdiff1d(np.arange(16), test), NOTHING, test, NOTHING, "", np.arange(12) % 3)
    audit = Audit((), 16, "wordllama", (), (Suspect(table.ids[5], "football", "cooking", 0.1),))
    made = [
        exhibition.exhibit(task, table, split, source, arm, receipt, audit, 0, Embedder(pipeline_of, None))
        for _ in range(2)
    ]
    assert set(made[0].examples) == {ids[0], table.ids[5]}
    assert len(made[0].examples[ids[0]].weights) == len(made[0].examples[ids[0]].words)
    assert made[0].examples[table.ids[5]].weights == ()
    assert made[0].map is not None
    assert sorted(made[0].map.parts) == ["test"] * 4 + ["train"] * 12
    assert np.array_equal(made[0].map.points, made[1].map.points)
    assert np.isfinite(made[0].map.points).all()


def test_heat_is_the_weighted_feature_map_of_a_network_that_averages(photo_folder: Path) -> None:
    import torch

    (source,) = sources.candidates("efficientnet-lite0", "image")
    source = source.with_input(replace(source.card.input, size=96))
    inputs = sorted(photo_folder.rglob("*.png"))[::12]
    weight = np.random.default_rng(0).normal(size=(3, source.card.dim)).astype(np.float32)
    arm = arm_of(LinearHead("ridge", weight, np.zeros(3, np.float32)))
    heat = picture_heat(source, arm, inputs)
    assert heat is not None
    assert heat.shape == (3, 3, 3)
    backbone = source.backbone()
    (_, batch), *_ = map(made, pipeline_of(source).parts(inputs))
    with torch.no_grad():
        state = backbone.prefix(len(backbone.stages))(batch).numpy()
    decided = (state.mean((2, 3)) @ weight.T).argmax(1)
    expected = np.maximum(np.einsum("nchw,nc->nhw", state, weight[decided]), 0)
    expected /= np.maximum(expected.max((1, 2), keepdims=True), 1e-12)
    assert np.allclose(heat, expected, atol=1e-3)
    assert picture_heat(source, replace(arm, layer="mean"), inputs) is None


def test_heat_of_a_transformer_is_at_the_tokens_before_its_last_attention(photo_folder: Path, tmp_path: Path) -> None:
    """Against gradients of the library's own whole network; the class token alone is read, and has no place."""
    import torch

    from headstart._torchvision import make_importable

    make_importable()
    import timm
    from timm.models._hub import save_for_hf

    torch.manual_seed(0)
    library = timm.create_model("vit_tiny_patch16_224", num_classes=2).eval()
    with torch.no_grad():
        for block in library.blocks:  # random weights hardly attend: here the places differ
            block.attn.qkv.weight.mul_(8)
    folder = tmp_path / "vit"
    folder.mkdir()
    save_for_hf(library, folder, safe_serialization=True)
    source = sources.resolve(f"timm:{folder}", "image")
    inputs = sorted(photo_folder.rglob("*.png"))[::12]
    weight = np.random.default_rng(0).normal(size=(3, source.card.dim)).astype(np.float32)
    heat = picture_heat(source, arm_of(LinearHead("ridge", weight, np.zeros(3, np.float32))), inputs)
    assert heat is not None
    assert heat.shape == (3, 14, 14)

    kept: list[torch.Tensor] = []
    library.blocks[-2].register_forward_hook(lambda _module, _given, tokens: kept.append(tokens))
    (_, batch), *_ = map(made, pipeline_of(source).parts(inputs))
    pooled = library.forward_head(library.forward_features(batch), pre_logits=True)
    (slope,) = torch.autograd.grad((pooled @ torch.from_numpy(weight).T).max(1).values.sum(), kept[0])
    places, slopes = kept[0].detach()[:, 1:], slope[:, 1:]
    expected = (places * slopes.mean(1, keepdim=True)).sum(2).clamp_min(0).reshape(3, 14, 14)
    expected = expected / expected.amax((1, 2), keepdim=True)
    assert float(expected.std()) > 0.05
    assert np.allclose(heat, expected.numpy(), atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_plane_tells_classes_apart_that_principal_components_do_not(classes: int) -> None:
    rng = np.random.default_rng(3)
    targets = np.arange(240) % classes
    embeddings = rng.normal(size=(240, 30)) * np.linspace(12, 1, 30)
    embeddings[:, 20:24] += 9 * np.eye(4)[targets]
    learned = rng.random(240) < 0.7
    points, method = exhibition.plane(embeddings, targets, learned)
    assert "apart best" in method

    def nearest_is_alike(places: np.ndarray) -> float:
        far = np.linalg.norm(places[~learned][:, None] - places[learned][None], axis=2)
        return float((targets[learned][far.argmin(1)] == targets[~learned]).mean())

    assert nearest_is_alike(points) > nearest_is_alike(embeddings[:, :2]) + 0.2
    plain, said = exhibition.plane(embeddings, rng.normal(size=240), learned)
    assert "principal components" in said
    assert plain.shape == (240, 2)
    assert not exhibition.plane(np.ones((9, 5)), targets[:9], learned[:9])[0].any()
