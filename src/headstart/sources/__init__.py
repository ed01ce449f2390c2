"""Where sources come from: one provider a file, found by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from headstart.backbones.source import Source
from headstart.errors import UsageError, unknown_name
from headstart.registry import Registry
from headstart.types import SourceCard

__all__ = ["PROVIDERS", "Offer", "Provider", "candidates", "forms", "listing", "offers", "resolve"]

PROVIDERS = Registry(
    "provider",
    {
        "packaged": "headstart.sources.packaged:PackagedSources",
        "timm": "headstart.sources.timm:TimmSources",
        "scratch": "headstart.sources.scratch:ScratchSources",
        "bundle": "headstart.sources.bundle:BundleSources",
        "module": "headstart.sources.module:ModuleSources",
        "hf": "headstart.sources.hf:HubSources",
    },
)
SCRATCH = {"image": "scratch:efficientnet-lite0", "text": "scratch:paraphrase-minilm-l3-v2"}
"""Modality -> what the name ``scratch`` stands for."""


@dataclass(frozen=True)
class Offer:
    """One source a provider knows, and whether it can be used here and now."""

    card: SourceCard
    missing: str | None
    """None when usable; else what one would need, as a sentence."""
    openable: bool = False
    """Whether opening it may yet work: it is fetched, or refused in its own words."""


class Provider(Protocol):
    """What a provider offers; made without arguments, no work before the first call."""

    forms: tuple[tuple[str, str], ...]
    """Names beyond the listed ones, as (form, what it names): ``("timm:NAME", "any pretrained timm model")``."""

    def offers(self) -> Iterator[Offer]:
        """Every source this provider lists, usable or not; quick, and opens no weights."""

    def claims(self, name: str) -> bool:
        """Whether a name that nobody lists has one of this provider's forms; quick, and needs no network."""

    def open(self, name: str) -> Source:
        """The source of a listed or claimed name.

        Raises:
            UsageError: If there is no such source, or it cannot be used here; says what is missing.
            BundleRefused: If it breaks a rule.
        """


def _providers() -> list[Provider]:
    return [maker() for maker in PROVIDERS.values()]


def offers() -> list[tuple[Offer, Provider]]:
    """All offers of all providers, in the order of the provider table."""
    return [(offer, provider) for provider in _providers() for offer in provider.offers()]


def forms() -> list[tuple[str, str]]:
    """How sources that are not listed are named: (form, what it names)."""
    return [form for provider in _providers() for form in provider.forms]


def resolve(name: str, modality: str | None = None) -> Source:
    """The source of this name: a listed one, else the one of the first provider that claims the name.

    Raises:
        UsageError: If no provider knows it (the valid names are listed), it cannot be used here
            (with what is missing), or it is for another modality.
        BundleRefused: If it breaks a rule.
    """
    if name == "scratch" and modality in SCRATCH:
        return resolve(SCRATCH[modality])
    known = {offer.card.name: (offer, provider) for offer, provider in offers()}
    if name in known:
        offer, provider = known[name]
        _check_modality(offer.card, modality, known)
        if offer.missing and not offer.openable:
            raise UsageError(f"source '{name}' cannot be used here: {offer.missing}")
        return provider.open(name)
    owner = next((provider for provider in _providers() if provider.claims(name)), None)
    if owner is None:
        fitting = [listed for listed, (offer, _) in known.items() if modality in (None, offer.card.modality)]
        raise unknown_name("source", name, [*fitting, *(form for form, _ in forms())])
    source = owner.open(name)
    _check_modality(source.card, modality, known)
    return source


def _check_modality(card: SourceCard, modality: str | None, known: dict[str, tuple[Offer, Provider]]) -> None:
    if modality not in (None, card.modality):
        fitting = [name for name, (offer, _) in known.items() if offer.card.modality == modality]
        raise UsageError(
            f"source '{card.name}' is for {card.modality}s, the data are {modality}s. Valid: {', '.join(fitting)}"
        )


def candidates(wanted: str, modality: str) -> list[Source]:
    """The sources to rank: all listed and usable ones for ``auto``, else the comma-separated names.

    Raises:
        UsageError: As `resolve`, or if nothing is usable for this modality.
        BundleRefused: As `resolve`.
    """
    if wanted != "auto":
        return [resolve(name, modality) for name in dict.fromkeys(part.strip() for part in wanted.split(","))]
    found = [
        provider.open(offer.card.name)
        for offer, provider in offers()
        if offer.card.modality == modality and not offer.missing
    ]
    if not found:
        raise UsageError(
            f"no source for {modality}s is usable here. Install the packaged ones: pip install 'headstart[sources]'"
        )
    return found


def listing(modality: str | None = None) -> list[dict[str, Any]]:
    """Facts of every listed source as plain data, with what is ``missing`` to use it (None: usable)."""
    cards = [(offer.card, offer.missing) for offer, _ in offers() if modality in (None, offer.card.modality)]
    names = (
        "name",
        "title",
        "modality",
        "provider",
        "parameters",
        "dim",
        "licence",
        "trained_on",
        "prior",
        "prior_name",
        "weights_sha256",
    )
    return [{**{name: getattr(card, name) for name in names}, "missing": missing} for card, missing in cards]
