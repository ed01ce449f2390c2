"""The frame of a report: head, policy, navigation, sections in their order."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files

from headstart.report.behaviour import errors
from headstart.report.comparison import arms, ranking
from headstart.report.findings import audit
from headstart.report.learning import learning
from headstart.report.markup import Markup, clip, tag
from headstart.report.provenance import data, reproduce, weights
from headstart.report.scatter import embedding_map
from headstart.report.trust import calibration
from headstart.report.verdict import evidence, masthead
from headstart.report.view import RunView

__all__ = ["SECTIONS", "frame", "render"]

SECTIONS: tuple[tuple[str, str, Callable[[RunView], Markup | None]], ...] = (
    ("evidence", "The evidence", evidence),
    ("learning", "What labels are worth", learning),
    ("arms", "What was compared", arms),
    ("ranking", "How the source was chosen", ranking),
    ("errors", "Where it is right and wrong", errors),
    ("map", "How the source sees the data", embedding_map),
    ("calibration", "How far to trust its probabilities", calibration),
    ("audit", "What is wrong with the data", audit),
    ("weights", "Where the weights came from", weights),
    ("data", "The data", data),
    ("reproduce", "How to reproduce it", reproduce),
)
"""Anchor, heading and content; a content of None leaves the section out."""


def render(view: RunView) -> str:
    """The whole page of one run; the same run gives the same bytes."""
    found = [(anchor, title, body) for anchor, title, make in SECTIONS if (body := make(view)) is not None]
    return frame(
        f"{view.name} · Headstart report", masthead(view), found, str(view.mapping("versions").get("headstart", ""))
    )


def frame(title: str, top: Markup, sections: Sequence[tuple[str, str, Markup]], version: str = "") -> str:
    """An HTML document that loads nothing and runs nothing.

    Args:
        title: Of the document.
        top: Its header element.
        sections: Anchor, heading and content of each.
        version: Of Headstart, for the last line.
    """
    style = (files("headstart.report") / "style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", clip(title, 120)),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    links = [
        tag("li", tag("a", words, href=f"#{anchor}"))
        for anchor, words in (("verdict", "Verdict"), *((a, t) for a, t, _ in sections))
    ]
    parts = [
        tag("section", tag("h2", heading, id=f"{anchor}-heading"), body, id=anchor, aria_labelledby=f"{anchor}-heading")
        for anchor, heading, body in sections
    ]
    body = tag(
        "body",
        tag("a", "Skip to the verdict", href="#main", class_="skip"),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("main", top, parts, id="main"),
        tag(
            "footer",
            tag(
                "p",
                f"Written by Headstart {version}".strip(),
                ". This file is complete: it loads nothing and runs nothing.",
            ),
        ),
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), body, lang="en") + "\n"
