"""Models of the Hugging Face hub, from its cache or fetched into it, and folders in the same layout.

Safetensors, ``tokenizer.json`` and JSON configurations are read, and nothing else: no code, no pickle.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headstart import runtime
from headstart.backbones.source import Source
from headstart.errors import BundleRefused, UsageError
from headstart.safety import opened
from headstart.sources import Offer
from headstart.sources.hf import places
from headstart.sources.hf.configuring import Configured, configured
from headstart.sources.hf.folder import ModelFolder
from headstart.sources.hf.tokenizing import checked_tokenizer
from headstart.sources.hf.weights import Naming, Weights, inventory, naming
from headstart.types import InputSpec, SourceCard, SourceHead

__all__ = ["HubSources", "source_of"]

UNKNOWN = "not stated"
LINEAR_HEADS = ("vit", "convnext", "convnextv2")
"""Model types whose classifier is linear in the embedding."""


class HubSources:
    """The provider of ``hf:ORG/NAME[@REVISION]`` and of model folders; lists the models in ``catalog.toml``.

    What is in the cache is used as it is there, at the commit that it is there; the network is
    asked only for a model that is named and not there.
    """

    forms = (
        ("hf:ORG/NAME[@REVISION]", "a text encoder or vision model of the Hugging Face hub"),
        ("FOLDER", "the same in a folder: config.json, model.safetensors, tokenizer.json or preprocessor_config.json"),
    )

    def offers(self) -> Iterator[Offer]:
        """Every model of the catalog; usable where the cache has it. Asks no network, opens no weights."""
        for name, facts in _catalog().items():
            try:
                folder = places.cached(_parsed(name))
                offer = None if folder is None else Offer(source_of(name, folder).card, None)
            except BundleRefused as error:
                yield Offer(_card(name, facts), str(error), openable=True)
            else:
                yield offer or Offer(_card(name, facts), _missing(name, facts), openable=True)

    def claims(self, name: str) -> bool:
        """Whether the name is of the hub, or of a folder with a ``config.json`` that is no bundle."""
        if places.parsed(name):
            return True
        folder = Path(name)
        try:
            return (folder / "config.json").is_file() and not (folder / "manifest.json").exists()
        except (OSError, ValueError):
            return False

    def open(self, name: str) -> Source:
        """The source of this name; its weights are read, and their hashes checked, on first use.

        Raises:
            UsageError: If it is not in the cache and cannot be fetched.
            BundleRefused: If it breaks a rule, which the message names.
        """
        hub = places.parsed(name)
        if hub is None:
            path = Path(os.path.realpath(name))
            return source_of(name, ModelFolder(path, path))
        with _named(name):
            folder = places.cached(hub)
        if folder is not None and (runtime.offline() or _whole(folder)):
            return source_of(name, folder)
        return source_of(name, places.fetched(hub))


def source_of(name: str, folder: ModelFolder) -> Source:
    """The source in a model folder.

    Raises:
        BundleRefused: If it breaks a rule, which the message names.
    """
    with _named(name), opened(folder.path):
        config, weights = configured(folder), inventory(folder)
        table = weights.table
        found = naming(table, config.kind, config.architecture.get("position_biased_input", True))
        facts = _catalog().get(name.partition("@")[0], {})
        card = SourceCard(
            name=name,
            title=facts.get("title", Path(name.partition("@")[0]).name),
            modality=config.modality,
            provider="hf",
            parameters=sum(table[theirs].elements for theirs in found.names.values()),
            dim=config.dim,
            layers=_layers(config),
            input=replace(config.input, prompt=config.input.prompt or facts.get("prompt", "")),
            trained_on=facts.get("trained_on", UNKNOWN),
            licence=facts.get("licence") or _licence(folder),
            weights_sha256=weights.sha256,
            prior=facts.get("prior"),
            prior_name=facts.get("prior_name", ""),
            architecture=config.architecture,
            revision=folder.revision,
        )
    return Source(
        card,
        partial(_tensors, name, weights, found),
        partial(_assets, name, folder, config),
        head=partial(_head, name, weights, config),
        unused=found.unused,
        origins={ours: theirs for ours, theirs in found.names.items() if ours != theirs},
    )


def _layers(config: Configured) -> tuple[str, ...]:
    if config.modality == "image":
        return ("last",)
    return ("last", "mean", "last4")


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Refusals that say which source was refused."""
    try:
        yield
    except BundleRefused as error:
        raise BundleRefused(f"source '{name}' was refused: {error}. Nothing of it was loaded") from None


def _tensors(name: str, weights: Weights, found: Naming) -> Mapping[str, NDArray[Any]]:
    with _named(name):
        return weights.read(found.names)


def _assets(name: str, folder: ModelFolder, config: Configured) -> Mapping[str, bytes]:
    if config.modality == "image":
        return {}
    with _named(name):
        return {"tokenizer.json": checked_tokenizer(folder, int(config.architecture["vocab_size"]))}


def _head(name: str, weights: Weights, config: Configured) -> SourceHead | None:
    """The source's own classifier, where its classes are linear in the embedding."""
    names = {"weight": "classifier.weight", "bias": "classifier.bias"}
    table = weights.table
    if config.kind not in LINEAR_HEADS or not set(names.values()) <= set(table):
        return None
    rows = table["classifier.bias"].shape
    if table["classifier.weight"].shape != (*rows, config.dim):
        return None
    with _named(name):
        found = weights.read(names)
    return SourceHead(found["weight"], found["bias"], config.classes if (len(config.classes),) == rows else ())


def _licence(folder: ModelFolder) -> str:
    """The licence that the model's README states in its first lines."""
    if folder.has("README.md"):
        begin = folder.read("README.md")[:4000].decode("utf-8", "replace")
        if begin.startswith("---") and (found := re.search(r"^license:\s*([\w.+-]{1,60})\s*$", begin, re.MULTILINE)):
            return found[1]
    return UNKNOWN


def _whole(folder: ModelFolder) -> bool:
    """Whether a snapshot has what is read first; a cache may hold only some files of a model."""
    weights = folder.has("model.safetensors") or folder.has("model.safetensors.index.json")
    return weights and folder.has("config.json")


# --- the catalog --------------------------------------------------------------------------------


@cache
def _catalog() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("catalog.toml").read_text("utf-8"))


def _parsed(name: str) -> places.Name:
    found = places.parsed(name)
    if found is None:
        raise UsageError(f"'{name}' is no name of the form hf:ORG/NAME[@REVISION]")
    return found


def _missing(name: str, facts: Mapping[str, Any]) -> str:
    if runtime.offline():
        return f"{facts['megabytes']:,} MB to fetch, and the network may not be used"
    return f"{facts['megabytes']:,} MB to fetch; headstart fit DATA --source {name} does it"


def _card(name: str, facts: Mapping[str, Any]) -> SourceCard:
    return SourceCard(
        name=name,
        title=facts["title"],
        modality=facts["modality"],
        provider="hf",
        parameters=facts["parameters"],
        dim=facts["dim"],
        layers=("last",),
        input=InputSpec(),
        trained_on=facts["trained_on"],
        licence=facts["licence"],
        weights_sha256="",
        prior=facts.get("prior"),
        prior_name=facts.get("prior_name", ""),
    )
