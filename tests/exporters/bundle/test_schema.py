from __future__ import annotations

import dataclasses
import math
from copy import deepcopy
from typing import Any

import pytest

from headstart.errors import BundleRefused
from headstart.exporters.bundle import label_maps
from headstart.exporters.bundle.schema import INPUT, OPTIONAL, RULES, check_config
from headstart.types import InputSpec

GONE = object()


@pytest.fixture
def config(valid: dict[str, Any]) -> dict[str, Any]:
    conformal = {"level": 0.9, "threshold": 0.8}
    return {**valid["config"], "conformal": conformal, "headstart": {"schema": 1, "version": "0.1.0"}}


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    config = deepcopy(config)
    *parents, last = path.split("/")
    inner = config
    for name in parents:
        inner = inner[name]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return config


def test_input_rules_are_the_fields_of_the_record() -> None:
    assert set(INPUT) == {field.name for field in dataclasses.fields(InputSpec)}


def test_valid_ones(config: dict[str, Any]) -> None:
    check_config(config)
    check_config(changed(config, "problem", "multilabel"))
    check_config({**config, "problem": "regression", **label_maps(())})
    check_config({**config, **label_maps(tuple(map(str, range(200))))})
    check_config({**config, **label_maps(("auto_map", "__class__", "<script>", "\x1b[31m", "\n"))})
    image = {**dataclasses.asdict(InputSpec(size=224)), "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    check_config({**config, "modality": "image", "preprocessing": image})
    for key in OPTIONAL:
        check_config(changed(config, key, GONE))


@pytest.mark.parametrize("key", sorted(set(RULES) - set(OPTIONAL)))
def test_missing_keys(config: dict[str, Any], key: str) -> None:
    with pytest.raises(BundleRefused):
        check_config(changed(config, key, GONE))


@pytest.mark.parametrize("key", sorted(RULES))
@pytest.mark.parametrize("value", [None, True, -1, [], {}, "", [[]], {"a": {}}, math.inf], ids=repr)
def test_wrong_types(config: dict[str, Any], key: str, value: Any) -> None:
    with pytest.raises(BundleRefused):
        check_config(changed(config, key, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("headstart/schema", 2, "schema 2; this version reads 1"),
        ("headstart/schema", True, "schema True"),
        ("headstart/schema", 1.0, r"schema 1\.0"),
        ("headstart/extra", 1, "unknown key headstart"),
        ("extra", 1, "unknown key 'extra'. Valid: headstart, problem"),
        ("auto_map", {"AutoModel": "x.Y"}, "names code to run at auto_map"),
        ("Auto_Map", 1, "names code"),
        ("architecture/auto_map", {}, "architecture.auto_map"),
        ("architecture/deep", {"list": [{"__reduce__": 1}]}, "architecture.deep.list.__reduce__"),
        ("architecture/_target_", "os.system", "names code"),
        ("architecture/$type", "x", "names code"),
        ("architecture/remote_code", "x", "names code"),
        ("architecture/custom_pipelines", {}, "names code"),
        ("source/trust_remote_code", True, "names code"),
        ("preprocessing/code", "x", "names code"),
        ("head/class_path", "x", "names code"),
        ("architecture/family", 3, "architecture.family"),
        ("architecture/family", GONE, "architecture.family"),
        ("architecture/hidden_size", 100_001, "hidden_size = 100001"),
        ("architecture/hidden_size", 0, "hidden_size"),
        ("architecture/hidden_size", 8.0, "whole number"),
        ("architecture/vocab_size", 10**9, "vocab_size"),
        ("architecture/image_size", [224, 9999], "image_size"),
        ("architecture/inner", {"dim": 10**9}, "architecture.inner.dim"),
        ("problem", "clustering", "one of classification, multilabel, regression"),
        ("modality", "video", "one of image, text"),
        ("temperature", 0, "temperature"),
        ("temperature", 0.0, "temperature"),
        ("temperature", -1.0, "temperature"),
        ("temperature", 1e-300, "temperature"),
        ("temperature", math.nan, "temperature"),
        ("temperature", "1", "temperature"),
        ("dim", 100_001, "dim"),
        ("dim", 8.0, "dim"),
        ("layer", "x" * 201, "layer"),
        ("precision", "float16", "float32, bfloat16"),
        ("head/kind", GONE, "lacks head.kind"),
        ("head/penalty", -1, "head.penalty"),
        ("head/weights", 1, "unknown key head.'weights'"),
        ("source/name", GONE, "lacks source.name"),
        ("source/licence", "", "source.licence"),
        ("source/parameters", "many", "source.parameters"),
        ("source/extra", "x", "unknown key source"),
        ("preprocessing/max_tokens", 0, "at least 1 for the modality text"),
        ("preprocessing/max_tokens", GONE, "at least 1"),
        ("preprocessing/max_tokens", 1_000_001, "max_tokens"),
        ("preprocessing/size", 4097, "size"),
        ("preprocessing/crop", 0, "crop"),
        ("preprocessing/std", [0.0], "std"),
        ("preprocessing/mean", [0.5], "different lengths"),
        ("preprocessing/mean", ["0.5"], "mean"),
        ("preprocessing/special_tokens", 1, "true or false"),
        ("preprocessing/zoom", 1, "unknown key preprocessing"),
        ("id2label/1", GONE, "number the labels"),
        ("id2label/04", "fly", "number the labels"),
        ("id2label/5", "fly", "number the labels"),
        ("id2label/x", "fly", "number the labels"),
        ("id2label/1", "ant", "twice"),
        ("id2label/1", 7, "no text"),
        ("id2label/1", ["bee"], "no text"),
        ("label2id/bee", 0, "inverse"),
        ("label2id/bee", True, "inverse"),
        ("label2id/bee", 1.0, "inverse"),
        ("label2id/fly", 9, "inverse"),
        ("label2id/bee", GONE, "inverse"),
        ("problem", "regression", "4 labels for regression"),
    ],
)
def test_refuses(config: dict[str, Any], path: str, value: Any, said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        check_config(changed(config, path, value))


def test_image_sizes(config: dict[str, Any]) -> None:
    for size in (0, 7, 4097):
        with pytest.raises(BundleRefused, match="size"):
            check_config({**config, "modality": "image", "preprocessing": {"size": size}})


def test_classification_needs_labels(config: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused, match="0 labels for classification"):
        check_config({**config, **label_maps(())})
