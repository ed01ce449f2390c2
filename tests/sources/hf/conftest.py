"""Tiny models with random weights, saved by the transformers library itself in Hugging Face layout."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
from pathlib import Path

import pytest

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", ":", *"abcdefghijklmnopqrstuvwxyz")
BERT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
DISTANCES = {"relative_attention": True, "pos_att_type": "p2c|c2p", "position_biased_input": False}
MODERN = {**BERT, **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)}
DISTIL = {"vocab_size": len(WORDS), "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "pad_token_id": 0}
TEXTS = {
    "bert": ("BertForMaskedLM", BERT),
    "roberta": ("RobertaForSequenceClassification", BERT),
    "xlm-roberta": ("XLMRobertaModel", BERT),
    "camembert": ("CamembertForTokenClassification", BERT),
    "distilbert": ("DistilBertForMaskedLM", DISTIL),
    "mpnet": ("MPNetForMaskedLM", BERT),
    "deberta": ("DebertaForMaskedLM", {**BERT, **DISTANCES}),
    "deberta-v2": (
        "DebertaV2ForMaskedLM",
        {**BERT, **DISTANCES, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    ),
    "modernbert": ("ModernBertForMaskedLM", {**MODERN, "local_attention": 4, "global_attn_every_n_layers": 2}),
}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
DINO = {name: value for name, value in VIT.items() if name != "intermediate_size"}
CONV = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2}
NAMED = {"id2label": {0: "cat", 1: "dog", 2: "owl"}, "label2id": {"cat": 0, "dog": 1, "owl": 2}}
TOWERS = {"vision_config": VIT, "text_config": {**BERT, "max_position_embeddings": 16}}
IMAGES = {
    "vit": ("ViTForImageClassification", {**VIT, **NAMED}),
    "dinov2": ("Dinov2Model", DINO),
    "dinov2_with_registers": ("Dinov2WithRegistersForImageClassification", DINO),
    "convnext": ("ConvNextForImageClassification", {**CONV, **NAMED}),
    "convnextv2": ("ConvNextV2Model", CONV),
    "clip": ("CLIPModel", TOWERS),
    "clip_vision_model": ("CLIPVisionModelWithProjection", VIT),
    "siglip": ("SiglipModel", TOWERS),
    "siglip_vision_model": ("SiglipVisionModel", VIT),
}
PROCESSOR = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3}


def save_model(kind: str, folder: Path, seed: int = 0) -> None:
    """A model of this type with random weights, as the library saves it."""
    import torch

    from headstart._torchvision import make_importable

    make_importable()
    transformers = importlib.import_module("transformers")
    name, settings = (TEXTS | IMAGES)[kind]
    model_class = getattr(transformers, name)
    torch.manual_seed(seed)
    config = model_class.config_class(**settings)
    model = model_class(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter.data, std=0.3)
    model.save_pretrained(folder)


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of single words, with a begin and an end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))


def make_modules(folder: Path, pooling: str = "cls", normalise: bool = True, prompts: dict | None = None) -> None:
    """What makes a folder one of sentence-transformers, in the form of its earlier releases."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    places = ["", "1_Pooling", "2_Normalize"]
    rows = [
        {"idx": i, "name": str(i), "path": places[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    (folder / "1_Pooling").mkdir()
    flags = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken", "max": "max_tokens"}
    modes = {f"pooling_mode_{flag}": name == pooling for name, flag in flags.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False}))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """``models(kind)``: a folder of that model type, made once; not to be changed."""
    base, made = tmp_path_factory.mktemp("models"), {}

    def make(kind: str) -> Path:
        if kind not in made:
            folder = made[kind] = base / kind
            save_model(kind, folder)
            if kind in TEXTS:
                save_tokenizer(folder)
            else:
                (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"crop_pct": 1.0}))
        return made[kind]

    return make


@pytest.fixture(scope="session")
def save_modules():
    """`make_modules`."""
    return make_modules


@pytest.fixture
def model(models, tmp_path):
    """``model(kind)``: a copy of such a folder that a test may damage."""

    def make(kind: str) -> Path:
        return shutil.copytree(models(kind), tmp_path / kind)

    return make


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """``hub_cache(folder, "org/name", commit)``: puts a folder into a cache laid out as the hub does it."""
    root = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(root))

    def put(folder: Path, name: str, commit: str = "0123456789" * 4) -> Path:
        home = root / f"models--{name.replace('/', '--')}"
        snapshot = home / "snapshots" / commit
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            blob = home / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, blob)
            link = snapshot / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / "main").write_text(commit)
        return snapshot

    return put
