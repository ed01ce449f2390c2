"""Texts: copies with small edits, damage, languages, lengths."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.audit import wording


def test_copies_are_the_same_words_with_small_edits() -> None:
    texts = [
        "How do I activate the new card that came in the mail this morning?",
        "how do i activate the new card that came in the mail this morning",
        "How do I activate the new card that came in the mail this mornin?",
        "How do I block the old card that was stolen from me this morning?",
        "Where is it?",
        "Where was it?",
        "WHERE IS IT",
        "Who was the 23rd president of the United States of America?",
        "Who was the 3rd president of the United States of America?",
    ]
    same = np.ones((len(texts), 4))
    assert wording.copies(texts, same) == [(0, 1), (0, 2), (1, 2), (4, 6)]


def test_what_is_far_in_embedding_is_no_candidate() -> None:
    texts = ["a long sentence about nothing in particular.", "a long sentence about nothing in particulars"]
    assert wording.copies(texts, np.eye(2)) == []
    assert wording.copies(texts, np.ones((2, 2))) == [(0, 1)]
    assert wording.copies([], np.zeros((0, 2))) == []


@pytest.mark.parametrize(
    "text",
    [
        "naïve café, 20 °C – “fine” œuvre ñ Ångström €5 µm",
        "Âge d'or ? Ão, Ça va",
        "R&D, AT&T; 5 > 3",
        "日本語のテキスト",
        "😀 ok",
    ],
)
def test_sound_texts_are_not_called_damaged(text: str) -> None:
    assert wording.damage(text) is None


@pytest.mark.parametrize("text", ["café °5 – “yes”", "naïve", "price: €5", "smile 😀"])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_misread_utf8_is_seen(text: str, wrong: str) -> None:
    misread = text.encode().decode(wrong, "ignore")
    assert wording.damage(misread) == "UTF-8 read as another encoding"


def test_other_damage_is_seen() -> None:
    assert wording.damage("caf\ufffd") == wording.damage("a\x07b") == "lost or control characters"
    assert wording.damage("Tom &amp; Jerry") == wording.damage("caf\\u00e9") != None  # noqa: E711


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the reason that my card was not accepted?", "English"),
        ("Ich möchte wissen, wann meine neue Karte kommt und ob sie funktioniert", "German"),
        ("Je voudrais savoir quand est-ce que ma carte arrive", "French"),
        ("¿Cuándo llegará mi tarjeta nueva? No sé si es para mí", "Spanish"),
        ("Nie wiem, gdzie jest moja karta, bo już dawno ją zamówiłem", "Polish"),
        ("Когда придёт моя карта", "Cyrillic"),
        ("我的卡在哪里", "Cjk"),
        ("free entry win 500 now", None),
        ("12345 !!", None),
    ],
)
def test_languages(text: str, expected: str | None) -> None:
    assert wording.language(text) == expected


def test_odd_lengths_are_far_outside_the_usual() -> None:
    texts = [*("x" * (50 + row % 30) for row in range(60)), "x" * 5000, "x"]
    assert wording.odd_lengths(texts).tolist() == [60, 61]
    assert wording.odd_lengths(texts[:60]).tolist() == []
