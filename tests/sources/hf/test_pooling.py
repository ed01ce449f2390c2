"""What the files of sentence-transformers say: pooling, normalisation, length, prompts; and what is refused of them."""

from __future__ import annotations

import importlib
import json
import warnings

import numpy as np
import pytest
import torch

from headstart import sources
from headstart._torchvision import make_importable
from headstart.errors import BundleRefused
from headstart.features import made
from headstart.modalities import pipeline_of

SENTENCES = ["a b c", "d", "query : x y z a b c d e f g h i j k l m n", "k k", "a b d"]
PROMPTS = {"prompts": {"Question": "query : ", "passage": "p "}, "default_prompt_name": "Question"}


@torch.inference_mode()
def embedded(source):
    backbone, found = source.backbone(), np.zeros((len(SENTENCES), source.card.dim), np.float32)
    for positions, batch in map(made, pipeline_of(source).parts(SENTENCES)):
        found[positions] = backbone(batch)[: len(positions)]
    return found


def library(folder, **options):
    make_importable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("sentence_transformers")
        return module.SentenceTransformer(str(folder), device="cpu", **options).encode(SENTENCES)


@pytest.mark.parametrize(("pooling", "normalise"), [("mean", True), ("cls", False), ("last", True), ("max", False)])
def test_pooling_equals_sentence_transformers(pooling, normalise, model, save_modules):
    folder = model("bert")
    save_modules(folder, pooling, normalise)
    source = sources.resolve(str(folder))
    assert (source.card.architecture["pooling"], source.card.architecture["normalise"]) == (pooling, normalise)
    assert source.card.input.max_tokens == 12
    np.testing.assert_allclose(embedded(source), library(folder), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["mpnet", "xlm-roberta", "modernbert"])
def test_other_types_equal_sentence_transformers_with_a_prompt(kind, model, save_modules):
    folder = model(kind)
    save_modules(folder, "mean", True, PROMPTS)
    source = sources.resolve(str(folder))
    assert source.card.input.prompt == "query : "
    np.testing.assert_allclose(embedded(source), library(folder), rtol=1e-5, atol=1e-5)


def test_what_its_present_release_saves(model, save_modules, tmp_path):
    folder = model("bert")
    save_modules(folder, "max", True, PROMPTS)
    make_importable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = importlib.import_module("sentence_transformers").SentenceTransformer(str(folder), device="cpu")
        made.save(str(tmp_path / "saved"))
        expected = made.encode(SENTENCES)
    source = sources.resolve(str(tmp_path / "saved"))
    assert (source.card.architecture["pooling"], source.card.input.prompt) == ("max", "query : ")
    assert source.card.input.max_tokens == 12
    np.testing.assert_allclose(embedded(source), expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_made_for_classification_is_used_where_there_is_no_default(model, save_modules):
    folder = model("bert")
    save_modules(folder, prompts={"prompts": {"Classification": "query : ", "x": "y"}, "default_prompt_name": None})
    source = sources.resolve(str(folder))
    assert source.card.input.prompt == "query : "
    np.testing.assert_allclose(embedded(source), library(folder, default_prompt_name="Classification"), atol=1e-5)
    save_prompts = folder / "config_sentence_transformers.json"
    save_prompts.write_text(json.dumps({"prompts": {"x": "y"}}))
    assert sources.resolve(str(folder)).card.input.prompt == ""


def change(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def chain(*kinds):
    return [{"idx": i, "name": str(i), "path": f"{i}_X" if i else "", "type": kind} for i, kind in enumerate(kinds)]


ST = "sentence_transformers.models."


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (chain(f"{ST}Transformer", f"{ST}Pooling", f"{ST}Dense"), "chains Transformer, Pooling, Dense"),
        (chain(f"{ST}Transformer"), "chains Transformer; read are"),
        (chain("custom.Transformer", f"{ST}Pooling"), "the foreign 'custom.Transformer'"),
        (chain("os.system", f"{ST}Pooling"), "the foreign 'os.system'"),
        ([], "chains nothing known"),
        ({"a": 1}, "chains nothing known"),
    ],
)
def test_other_chains_of_modules_are_refused(modules, said, model, save_modules):
    folder = model("bert")
    save_modules(folder)
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BundleRefused, match=said):
        sources.resolve(str(folder))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pooling_mode_mean_tokens": True}, "pools by mean . cls. Known, one at a time: mean, cls, last, max"),
        ({"pooling_mode_cls_token": False}, "pools by none"),
        ({"pooling_mode": "weightedmean"}, "pools by weightedmean"),
        ({"pooling_mode": ["cls"]}, "pools by"),
        ({"include_prompt": False}, "without the prompt's tokens"),
        ({"auto_map": {"a": "b"}}, "names code to run"),
    ],
)
def test_other_poolings_are_refused(changes, said, model, save_modules):
    folder = model("bert")
    save_modules(folder)
    change(folder, "1_Pooling/config.json", **changes)
    with pytest.raises(BundleRefused, match=said):
        sources.resolve(str(folder))


def test_lower_case_is_refused_unless_the_tokenizer_makes_it(model, save_modules):
    folder = model("bert")
    save_modules(folder)
    change(folder, "sentence_bert_config.json", do_lower_case=True)
    with pytest.raises(BundleRefused, match="wants lower case, and tokenizer.json does not make it"):
        sources.resolve(str(folder))
    change(folder, "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [{"type": "Lowercase"}]})
    assert sources.resolve(str(folder)).card.input.max_tokens == 12
