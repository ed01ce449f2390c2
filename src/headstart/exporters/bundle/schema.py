"""What ``config.json`` of a bundle may say, key by key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headstart.errors import BundleRefused
from headstart.safety import shown

__all__ = ["INPUT", "OPTIONAL", "RULES", "SCHEMA", "check_config"]

Rule = Callable[[str, Any], None]
"""Raises `BundleRefused` for a key whose value it does not accept."""

SCHEMA = 1
"""Version of ``config.json``; a change that old versions would misread raises it."""
LABELS_LIMIT = 100_000
BOUNDS: Mapping[str, tuple[int, int]] = {
    "depth": (1, 10_000),
    "dim": (1, 100_000),
    "embedding_dim": (1, 100_000),
    "hidden_size": (1, 100_000),
    "image_size": (8, 4096),
    "intermediate_size": (1, 1_000_000),
    "max_length": (1, 1_000_000),
    "max_position_embeddings": (1, 1_000_000),
    "max_tokens": (1, 1_000_000),
    "num_attention_heads": (1, 10_000),
    "num_hidden_layers": (0, 10_000),
    "tokens": (1, 10_000_000),
    "type_vocab_size": (0, 10_000_000),
    "vocab_size": (1, 10_000_000),
}
"""Settings of an architecture that decide how much memory building it takes, wherever they stand -> (least, most)."""
CODE = re.compile(
    r"auto_map|custom_pipelines?|trust_remote_code|(?:\w+_)?code(?:_\w+)?|_target_|\$type|py/.*|__\w+__"
    r"|_?class_(?:name|path)|init_args|exec|eval|imports?(?:_\w+)?|entry_?points?|pickle\w*|plugins?|scripts?"
    r"|module_(?:name|path)|callable|lambda|command",
    re.IGNORECASE,
)
"""Keys by which other formats name something to import or to run."""


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses a configuration that is not of schema 1.

    Raises:
        BundleRefused: For an unknown schema, unknown or missing keys, wrong types, labels that are not
            numbered 0 .. n-1 or not distinct, numbers out of bounds, or a key that names code.
    """
    about = config.get("headstart")
    schema = about.get("schema") if isinstance(about, dict) else None
    if schema != SCHEMA or type(schema) is not int:
        raise BundleRefused(f"config.json is of schema {shown(schema)}; this version reads {SCHEMA}: try a newer one")
    for where, key, _ in _pairs({key: None if key in MAPS else value for key, value in config.items()}, ""):
        if CODE.fullmatch(key):
            raise BundleRefused(f"config.json names code to run at {where}; a bundle is data only")
    if unknown := sorted(set(config) - set(RULES)):
        raise BundleRefused(f"config.json has the unknown key {shown(unknown[0])}. Valid: {', '.join(RULES)}")
    if missing := [key for key in RULES if key not in config and key not in OPTIONAL]:
        raise BundleRefused(f"config.json lacks {', '.join(missing)}")
    for key, value in config.items():
        RULES[key](key, value)
    _check_labels(config)
    _check_input(config)


def _pairs(value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """Every key with its value at any depth: (where it stands, key, value)."""
    if isinstance(value, list):
        for item in value:
            yield from _pairs(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{where}.{key if key.isidentifier() and key.isascii() else shown(key)}".lstrip(".")
            yield place, key, item
            yield from _pairs(item, place)


def _refusal(key: str, value: Any, wanted: str) -> BundleRefused:
    return BundleRefused(f"config.json has {key} = {shown(value)}; it must be {wanted}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


# --- one rule a kind of value ------------------------------------------------------------------


def _one_of(*names: str) -> Rule:
    def rule(key: str, value: Any) -> None:
        if not isinstance(value, str) or value not in names:
            raise _refusal(key, value, f"one of {', '.join(names)}")

    return rule


def _within(least: float, most: float) -> Rule:
    def rule(key: str, value: Any) -> None:
        if not _is_number(value) or not least <= value <= most:
            raise _refusal(key, value, f"a number in {least:g} .. {most:g}")

    return rule


def _whole(least: int, most: int) -> Rule:
    def rule(key: str, value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            raise _refusal(key, value, f"a whole number in {least:,} .. {most:,}")

    return rule


def _channels(least: float) -> Rule:
    def rule(key: str, value: Any) -> None:
        numbers: list[Any] = value if isinstance(value, list) and len(value) <= 64 else [None]
        if not all(_is_number(item) and least <= item <= 1e6 for item in numbers):
            raise _refusal(key, value, f"a list of up to 64 numbers in {least:g} .. 1e6")

    return rule


def _word(key: str, value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise _refusal(key, value, "a text of 1 to 200 characters")


def _text(key: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > 10_000:
        raise _refusal(key, value, "a text of at most 10,000 characters")


def _flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise _refusal(key, value, "true or false")


def _object(key: str, value: Any) -> None:
    if not isinstance(value, dict) or not value:
        raise _refusal(key, value, "an object with at least one key")


def _fields(required: Mapping[str, Rule], optional: Mapping[str, Rule]) -> Rule:
    """An object of these keys and no others."""

    def rule(key: str, value: Any) -> None:
        _object(key, value)
        known = {**required, **optional}
        if unknown := sorted(set(value) - set(known)):
            raise BundleRefused(f"config.json has the unknown key {key}.{shown(unknown[0])}. Valid: {', '.join(known)}")
        if missing := [name for name in required if name not in value]:
            raise BundleRefused(f"config.json lacks {', '.join(f'{key}.{name}' for name in missing)}")
        for name, item in value.items():
            known[name](f"{key}.{name}", item)

    return rule


def _labels(key: str, value: Any) -> None:
    if not isinstance(value, dict) or len(value) > LABELS_LIMIT:
        raise _refusal(key, value, f"an object of at most {LABELS_LIMIT:,} labels")


def _architecture(key: str, value: Any) -> None:
    _object(key, value)
    _word(f"{key}.family", value.get("family"))
    for where, name, item in _pairs(value, key):
        for number in item if isinstance(item, list) else [item]:
            if name in BOUNDS and number is not None:
                _whole(*BOUNDS[name])(where, number)


INPUT: Mapping[str, Rule] = {
    "size": _whole(0, 4096),
    "mean": _channels(-1e6),
    "std": _channels(1e-6),
    "interpolation": _word,
    "crop": _within(0.01, 1),
    "max_tokens": _whole(0, 1_000_000),
    "special_tokens": _flag,
    "prompt": _text,
    "fixed": _flag,
}
"""Fields of `headstart.types.InputSpec` -> what is accepted; each may be left out."""
MAPS = ("id2label", "label2id")
"""Where the keys are a user's labels, whatever they look like."""
FACTS: Mapping[str, Rule] = {
    "title": _text,
    "provider": _text,
    "trained_on": _text,
    "weights_sha256": _text,
    "parameters": _whole(0, 10**13),
    "prior": _within(0, 1),
    "prior_name": _text,
    "uri": _text,
    "revision": _text,
}
"""What may be said of the source beside its name and licence."""
OPTIONAL = ("method", "head", "precision", "conformal")
RULES: Mapping[str, Rule] = {
    "headstart": _fields({"schema": _whole(SCHEMA, SCHEMA), "version": _word}, {}),
    "problem": _one_of("classification", "multilabel", "regression"),
    "modality": _one_of("image", "text"),
    "metric": _word,
    "id2label": _labels,
    "label2id": _labels,
    "architecture": _architecture,
    "preprocessing": _fields({}, INPUT),
    "layer": _word,
    "temperature": _within(1e-9, 1e9),
    "source": _fields({"name": _word, "licence": _word}, FACTS),
    "dim": _whole(1, 100_000),
    "method": _word,
    "head": _fields({"kind": _word}, {"penalty": _within(0, 1e30)}),
    "precision": _one_of("float32", "bfloat16"),
    "conformal": _fields({"level": _within(0.01, 0.999), "threshold": _within(0, 1e30)}, {}),
}
"""Keys of ``config.json`` -> what is accepted; all but `OPTIONAL` must be there."""


# --- what keys must say together ---------------------------------------------------------------


def _check_labels(config: Mapping[str, Any]) -> None:
    forward, backward = config["id2label"], config["label2id"]
    if list(map(str, range(len(forward)))) != sorted(forward, key=lambda key: (len(key), key)):
        raise BundleRefused(f"config.json does not number the labels of id2label '0' .. '{max(0, len(forward) - 1)}'")
    labels = [forward[str(index)] for index in range(len(forward))]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise BundleRefused("config.json has a label in id2label that is no text, or that is there twice")
    if backward != {label: index for index, label in enumerate(labels)} or not all(
        type(index) is int for index in backward.values()
    ):
        raise BundleRefused("config.json has a label2id that is not the inverse of id2label")
    if bool(labels) != (config["problem"] != "regression"):
        raise BundleRefused(f"config.json has {len(labels)} labels for {config['problem']}")


def _check_input(config: Mapping[str, Any]) -> None:
    spec, modality = config["preprocessing"], config["modality"]
    name, least = ("size", 8) if modality == "image" else ("max_tokens", 1)
    if spec.get(name, 0) < least:
        raise _refusal(f"preprocessing.{name}", spec.get(name), f"at least {least} for the modality {modality}")
    if len(spec.get("mean", ())) != len(spec.get("std", ())):
        raise BundleRefused("config.json has preprocessing.mean and preprocessing.std of different lengths")
