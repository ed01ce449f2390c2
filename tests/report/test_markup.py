"""Escaping, shortening, and what tags refuse."""

from __future__ import annotations

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.report.markup import UNSAFE, Markup, clip, escape, join, name, table, tag


@given(st.text())
def test_escaped_text_reads_back_and_opens_nothing(text: str) -> None:
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    assert unescape(escaped) == UNSAFE.sub("\ufffd", text)
    escaped.encode("utf-8")


def test_lone_surrogates_and_direction_overrides_are_replaced() -> None:
    assert escape("a\ud800b\u202ec\x00") == "a\ufffdb\ufffdc\ufffd"


def test_children_nest_and_markup_is_kept() -> None:
    assert join("<", None, [Markup("<b>"), (3, "&")]) == "&lt;<b>3&amp;"
    assert tag("p", tag("b", "x"), " & y", class_="note", hidden=None) == '<p class="note"><b>x</b> &amp; y</p>'
    assert tag("text", "a", text_anchor="end", x=1.5, y=2) == '<text text-anchor="end" x="1.5" y="2">a</text>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


@pytest.mark.parametrize(
    "attributes",
    [
        {"onclick": "x"},
        {"style": "color:red"},
        {"src": "data:,"},
        {"href": "https://example.org"},
        {"href": "javascript:1"},
    ],
)
def test_tags_refuse_what_runs_or_loads(attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        tag("a", "x", **attributes)


@given(st.text(max_size=300), st.integers(4, 80))
def test_clipped_text_fits(text: str, columns: int) -> None:
    short = clip(text, columns)
    assert 0 < len(short) <= max(columns, len("(blank)"))
    assert "\n" not in short
    if len(text) <= columns and text.isascii() and text == " ".join(text.split()) and text:
        assert short == text


def test_wide_characters_take_two_columns() -> None:
    assert clip("日本語日本語", 12) == "日本語日本語"
    assert clip("日本語日本語", 11) == "日本語日…"


def test_names_are_isolated_and_keep_the_rest_as_a_hint() -> None:
    assert name("short") == "<bdi>short</bdi>"
    assert name("x" * 5000).startswith('<bdi title="xxx')
    assert len(name("x" * 5000)) < 500


def test_tables_name_their_rows_and_columns() -> None:
    made = table("Caption", ("Name", "Size"), [("a", "1"), ("b", "2")], numbers=(1,), strong=1)
    assert '<caption>Caption</caption><thead><tr><th scope="col">Name</th>' in made
    assert '<tr class="strong"><th scope="row">b</th><td class="number">2</td></tr>' in made
    with pytest.raises(ValueError, match="zip"):
        table("Caption", ("Name", "Size"), [("a", "1", "2")])
