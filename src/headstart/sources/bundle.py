"""A bundle of ours as a source: what was learned for one task begins the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headstart.backbones import FAMILIES
from headstart.backbones.source import Source
from headstart.errors import BundleRefused
from headstart.exporters import bundle as bundles
from headstart.sources import Offer
from headstart.types import InputSpec, SourceCard, SourceHead

__all__ = ["BundleSources", "source_of"]

MANIFEST = "manifest.json"


class BundleSources:
    """The provider of folders that hold a bundle."""

    forms = (("BUNDLE", "the folder of a bundle that fit wrote: runs/NAME/bundle"),)

    def offers(self) -> Iterator[Offer]:
        """None: bundles lie where their user put them."""
        return iter(())

    def claims(self, name: str) -> bool:
        """Paths of folders with a manifest."""
        try:
            return (Path(name) / MANIFEST).is_file()
        except (OSError, ValueError):
            return False

    def open(self, name: str) -> Source:
        """The source in this folder.

        Raises:
            BundleRefused: As every bundle that breaks a rule.
        """
        found = bundles.read(Path(name))
        weights = {key: tensor.numpy() for key, tensor in bundles.tensors(found).items()}
        return source_of(found, weights).renamed(name)


def source_of(bundle: bundles.Bundle, weights: Mapping[str, NDArray[Any]]) -> Source:
    """The source that a bundle stands on, with the weights and the head of the bundle.

    Args:
        bundle: A bundle that was checked.
        weights: Its tensors by name.

    Raises:
        BundleRefused: If its architecture is of no family of ours.
    """
    config, told = bundle.config, bundle.config["source"]
    family = str(config["architecture"].get("family"))
    if family not in FAMILIES:
        raise BundleRefused(f"unknown architecture family '{family}'. Valid: {', '.join(sorted(FAMILIES))}")
    card = SourceCard(
        name=told["name"],
        title=str(told.get("title", told["name"])),
        modality=config["modality"],
        provider="bundle",
        parameters=int(told.get("parameters", 0)),
        dim=int(config["dim"]),
        layers=tuple(dict.fromkeys(("last", str(config["layer"])))),
        input=InputSpec.of(config["preprocessing"]),
        trained_on=str(told.get("trained_on", "")),
        licence=told["licence"],
        weights_sha256=bundle.manifest["files"]["model.safetensors"]["sha256"],
        architecture=config["architecture"],
        revision=str(told.get("revision", "")),
    )
    backbone = {
        name.removeprefix("backbone."): tensor for name, tensor in weights.items() if name.startswith("backbone.")
    }
    return Source(card, lambda: backbone, lambda: bundle.assets, head=lambda: _head(bundle, weights))


def _head(bundle: bundles.Bundle, weights: Mapping[str, NDArray[Any]]) -> SourceHead | None:
    """The bundle's own head, where it tells classes apart by the last layer."""
    if bundle.config["problem"] != "classification" or bundle.config["layer"] != "last":
        return None
    weight, bias = weights.get("head.weight"), weights.get("head.bias")
    shapes = ((len(bundle.labels), int(bundle.config["dim"])), (len(bundle.labels),))
    if weight is None or bias is None or (weight.shape, bias.shape) != shapes:
        raise BundleRefused(f"the bundle's head must have the shapes {shapes[0]} and {shapes[1]}")
    return SourceHead(weight, bias, bundle.labels)
