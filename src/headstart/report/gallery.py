"""Single examples: what they look like, what they were called, what the prediction rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.report.markup import Child, Markup, clip, identifier, join, tag
from headstart.report.view import RunView
from headstart.types import Exhibit

__all__ = ["Card", "cards", "example", "gallery"]

STEPS = 4
"""Strengths in which words are marked."""


@dataclass(frozen=True)
class Card:
    """One example and what is said of it."""

    id: str
    facts: Sequence[tuple[str, Child]]


def gallery(view: RunView, shown: Sequence[Card], what: str, traced: bool = False) -> Markup:
    """Cards side by side, texts one under the other; with what predictions rest on if ``traced``."""
    texts = view.task is not None and view.task.modality == "text"
    items = [tag("li", _card(view, card, traced)) for card in shown]
    return tag("ul", items, class_="cards texts" if texts else "cards", aria_label=what)


def cards(view: RunView, names: Sequence[str]) -> bool:
    """Whether the run keeps a preview of any of these examples."""
    return any(_has(view.exhibits.get(one)) for one in names)


def _has(found: Exhibit | None) -> bool:
    return found is not None and bool(found.picture or found.words)


def _card(view: RunView, card: Card, traced: bool) -> Markup:
    found = view.exhibits.get(card.id)
    facts = tag("dl", (tag("div", tag("dt", term), tag("dd", value)) for term, value in card.facts))
    return join(
        example(found, card.id, traced), tag("div", facts, tag("p", identifier(card.id), class_="id"), class_="told")
    )


def example(found: Exhibit | None, id_: str, traced: bool = False) -> Markup | None:
    """The preview of one example, with what its prediction rests on if ``traced``; None where there is none."""
    if found is None:
        return None
    if found.picture:
        plain = _image(found.picture, f"Preview of {id_}")
        heat = _image(found.heat, f"{id_}: where the prediction rests") if traced and found.heat else None
        return tag("div", plain, heat, class_="pictures")
    return tag("p", _words(found, traced), dir="auto", class_="words") if found.words else None


def _image(source: str, alt: str) -> Markup | None:
    if not source.startswith("data:image/webp;base64,"):
        return None
    return tag("img", src=source, alt=clip(alt, 120))


def _words(found: Exhibit, traced: bool) -> Child:
    weights = (found.weights if traced else ()) or (0.0,) * len(found.words)
    return [_word(word, weight) for word, weight in zip(found.words, weights, strict=True)]


def _word(word: str, weight: float) -> Child:
    step = round(abs(weight) * STEPS)
    if not step:
        return word
    bare = word.rstrip()
    return (tag("mark" if weight > 0 else "s", bare, class_=f"w{step}"), word[len(bare) :])
