"""Folders in Hugging Face layout: every model type gives what its own library gives, every tensor accounted for."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from headstart import sources
from headstart.features import made
from headstart.modalities import pipeline_of
from headstart.sources.hf.weights import PREFIXES

TEXTS = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta", "deberta-v2", "modernbert")
IMAGES = (
    "vit",
    "dinov2",
    "dinov2_with_registers",
    "convnext",
    "convnextv2",
    "clip",
    "clip_vision_model",
    "siglip",
    "siglip_vision_model",
)
SENTENCES = ["a b c", "d", "query : x y z a b c d e f g", "nowhere k", "a b d"]


@torch.inference_mode()
def embedded(source, inputs):
    backbone, found = source.backbone(), np.zeros((len(inputs), source.card.dim), np.float32)
    for positions, batch in map(made, pipeline_of(source).parts(inputs)):
        found[positions] = backbone(batch)[: len(positions)]
    return found


@torch.inference_mode()
def library_texts(folder):
    """Mean of the real tokens' last hidden vectors, by the library's own tokenizer, padding and model."""
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    hidden = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    weights = tokens["attention_mask"].unsqueeze(-1)
    return ((hidden * weights).sum(1) / weights.sum(1)).numpy()


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_equal_the_library_s_own(kind, models):
    source = sources.resolve(str(models(kind)), "text")
    np.testing.assert_allclose(embedded(source, SENTENCES), library_texts(models(kind)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", IMAGES)
@torch.inference_mode()
def test_images_equal_the_library_s_own(kind, models):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    source = sources.resolve(str(models(kind)), "image")
    found = embedded(source, [Image.fromarray(one) for one in pixels])
    transformers = importlib.import_module("transformers")
    names = {"clip": "CLIPVisionModel", "clip_vision_model": "CLIPVisionModel"}
    names |= {"siglip": "SiglipVisionModel", "siglip_vision_model": "SiglipVisionModel"}
    model = getattr(transformers, names.get(kind, "AutoModel")).from_pretrained(models(kind)).eval()
    given = model((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    expected = given.last_hidden_state[:, 0] if kind == "vit" else given.pooler_output
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*TEXTS, *IMAGES])
def test_every_tensor_is_used_or_left_out_by_a_rule(kind, models):
    source, files = sources.resolve(str(models(kind))), load_file(models(kind) / "model.safetensors")
    used = {source.origins.get(name, name) for name in source.tensors()}
    assert used | set(source.unused) == set(files)
    assert not used & set(source.unused)
    assert all(source.unused.values())
    backbone = source.backbone()
    assert sum(p.numel() for p in backbone.parameters()) == source.card.parameters
    assert (backbone.dim, backbone.layers) == (source.card.dim, source.card.layers)
    sizes = {name: value.shape for name, value in backbone.model.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in source.tensors().items()} == {
        k: tuple(v) for k, v in sizes.items()
    }
    for name, value in source.tensors().items():
        np.testing.assert_array_equal(value, files[source.origins.get(name, name)].numpy())


def test_only_models_of_many_sizes_are_fed_smaller_images(models):
    fixed = {kind for kind in IMAGES if sources.resolve(str(models(kind))).card.input.fixed}
    assert fixed == {"vit", "clip", "clip_vision_model", "siglip", "siglip_vision_model"}


def test_the_table_of_prefixes_knows_every_type():
    from headstart.backbones import rules

    assert set(PREFIXES) == {*rules.TEXT, *rules.VISION}


def test_a_source_brings_its_classes(models):
    for kind in ("vit", "convnext"):
        head = sources.resolve(str(models(kind))).head()
        files = load_file(models(kind) / "model.safetensors")
        np.testing.assert_array_equal(head.weight, files["classifier.weight"].numpy())
        np.testing.assert_array_equal(head.bias, files["classifier.bias"].numpy())
        assert head.classes == ("cat", "dog", "owl")
    assert sources.resolve(str(models("roberta"))).head() is None  # its classifier is no linear map of the embedding
    assert sources.resolve(str(models("dinov2_with_registers"))).head() is None  # nor is this one, of twice the width


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0), (torch.bfloat16, 0), (torch.float64, 1e-7)])
def test_other_precisions_become_float32(dtype, tolerance, model):
    from safetensors.torch import save_file

    folder = model("bert")
    files = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(files, folder / "model.safetensors")
    source = sources.resolve(str(folder))
    for name, value in source.tensors().items():
        assert value.dtype == np.float32
        expected = files[source.origins.get(name, name)].float().numpy()
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=0)


def test_weights_in_several_files(models, tmp_path):
    transformers = importlib.import_module("transformers")
    transformers.BertForMaskedLM.from_pretrained(models("bert")).save_pretrained(tmp_path, max_shard_size="8KB")
    (tmp_path / "tokenizer.json").write_bytes((models("bert") / "tokenizer.json").read_bytes())
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    whole, parts = sources.resolve(str(models("bert"))), sources.resolve(str(tmp_path))
    for name, value in whole.tensors().items():
        np.testing.assert_array_equal(parts.tensors()[name], value)
    assert parts.card.parameters == whole.card.parameters


def test_names_of_the_first_releases(model):
    from safetensors.torch import save_file

    folder = model("bert")
    files = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in files.items()
    }
    before = sources.resolve(str(folder)).tensors()
    save_file(old, folder / "model.safetensors")
    after = sources.resolve(str(folder)).tensors()
    assert set(old) != set(files)
    assert set(after) == set(before)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_card_says_what_its_folder_says(model):
    folder = model("bert")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-4.0\n---\n# A model\n")
    card = sources.resolve(str(folder)).card
    assert (card.licence, card.title, card.provider, card.trained_on) == ("cc-by-4.0", "bert", "hf", "not stated")
    assert card.input.max_tokens == 40
    assert json.loads(json.dumps(card.architecture)) == card.architecture
