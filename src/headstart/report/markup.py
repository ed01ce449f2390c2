"""HTML as nested calls: text is escaped unless it was built here."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

__all__ = [
    "Child",
    "Markup",
    "clip",
    "details",
    "escape",
    "facts",
    "identifier",
    "join",
    "name",
    "scrolling",
    "table",
    "tag",
]

UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What HTML or UTF-8 cannot carry (controls, lone surrogates, noncharacters), and what makes text read as another."""
VOID = frozenset({"br", "col", "img", "link", "meta"})
PICTURES = ("data:image/webp;base64,", "data:image/png;base64,", "data:image/jpeg;base64,")
"""How the address of a picture may begin."""
NAME_LIMIT = 60
HINT_LIMIT = 300


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | int | None | Iterable[Child]"
"""What a tag takes: text (escaped), `Markup` (kept), None (left out), or any nesting of these."""


def escape(text: str) -> Markup:
    """Text as HTML: markup characters escaped, what is unsafe to show replaced by U+FFFD."""
    return text if isinstance(text, Markup) else Markup(html.escape(UNSAFE.sub("\ufffd", text), quote=True))


def join(*children: Child) -> Markup:
    """Children one after the other, without a tag around them."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(escape(child))
        elif isinstance(child, int):
            parts.append(str(child))
        elif child is not None:
            parts.append(join(*child))
    return Markup("".join(parts))


def tag(element: str, *children: Child, **attributes: str | float | None) -> Markup:
    """An element; ``class_`` becomes ``class``, ``aria_label`` becomes ``aria-label``; None leaves an attribute out.

    Raises:
        ValueError: For an attribute that could run or load something: ``on...``, ``style``, a link out of the page, or
            any ``src`` but that of a picture that is in the page itself.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    words = [element]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if value is None:
            continue
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        if (
            attribute.startswith("on")
            or attribute == "style"
            or (attribute == "src" and not (element == "img" and text.startswith(PICTURES)))
            or (attribute == "href" and not text.startswith(("#", "data:")))
        ):
            raise ValueError(f"attribute {attribute}={text!r} is not allowed in a report")
        words.append(f'{attribute}="{escape(text)}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if element in VOID else f"{opening}{join(*children)}</{element}>")


def clip(text: str, columns: int) -> str:
    """Text on one line, shortened with an ellipsis to a width in columns (wide characters take two)."""
    flat = " ".join(text[: 4 * columns + 4 * HINT_LIMIT].split())
    used = 0
    for index, character in enumerate(flat):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns:
            return flat[: max(0, index - 1)].rstrip() + "…"
    return flat or "(blank)"


def name(text: str, columns: int = NAME_LIMIT) -> Markup:
    """A label from the data: isolated from the direction of its surroundings, shortened, the rest in a tooltip."""
    short = clip(text, columns)
    return tag("bdi", short, title=None if short == text else clip(text, HINT_LIMIT))


def identifier(text: str) -> Markup:
    """The name of an example, a file or a hash."""
    return tag("code", name(text, 90))


def scrolling(label: str, *children: Child) -> Markup:
    """A box that scrolls sideways where the screen is narrow, reachable by keyboard."""
    return tag("div", children, class_="scroll", role="group", tabindex=0, aria_label=label)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numbers: Sequence[int] = (),
    strong: int | None = None,
) -> Markup:
    """A table whose first column names its rows.

    Args:
        caption: What the table shows.
        columns: Headings.
        rows: Cells, as many as headings.
        numbers: Columns to be set flush right with aligned digits.
        strong: Row that stands out.
    """
    kinds = ["number" if index in numbers else None for index in range(len(columns))]
    head = tag("tr", (tag("th", title, scope="col", class_=kind) for title, kind in zip(columns, kinds, strict=True)))
    body = []
    for index, row in enumerate(rows):
        first, *rest = row
        cells = [tag("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)]
        body.append(
            tag(
                "tr",
                tag("th", first, scope="row", class_=kinds[0]),
                cells,
                class_="strong" if index == strong else None,
            )
        )
    return scrolling(caption, tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body)))


def facts(rows: Iterable[tuple[Child, Child]], class_: str = "facts") -> Markup:
    """Terms with their values."""
    return tag("dl", (tag("div", tag("dt", term), tag("dd", value)) for term, value in rows), class_=class_)


def details(summary: str, *children: Child, printed: bool = True) -> Markup:
    """Content that opens on demand, without a script; on paper it is open, or left out."""
    return tag("details", tag("summary", summary), children, class_=None if printed else "long")
