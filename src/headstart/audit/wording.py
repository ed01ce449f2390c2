"""What is wrong with texts: copies with small edits, damaged encoding, other languages, odd lengths."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from headstart.types import FloatArray, IndexArray

__all__ = ["copies", "damage", "language", "odd_lengths", "overlap", "simplified"]

NEAREST = 5
"""Candidates a text."""
ALIKE = 0.8
"""Cosine of embeddings below which two texts are no candidates."""
OVERLAP = 0.8
"""Share of character trigrams two copies have in common: one edited word in ten leaves about that much."""
SHORTEST = 20
"""Characters below which only texts that are equal but for case and punctuation are copies: a word more is much."""
BLOCK = 1024
NUMBER = re.compile(r"\d+")

FOREIGN = re.compile("[^\x00-\x7f]{2,}")
BROKEN = re.compile("\ufffd|\u00ef\u00bf\u00bd|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""The replacement character, as it is or damaged again, and controls."""
ESCAPED = re.compile(r"&(?:[a-z]{2,8}|#\d{2,6});|\\u[0-9a-f]{4}", re.IGNORECASE)
"""Entities and escapes that were never decoded."""

FREQUENT = {
    "English": "the and of to in is you that it he was for on are with as his they at be this have from or had by "
    "a an do me no so i my we not but what how who when did can could will would there their your die den has also",
    "German": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "ich wann wenn wie wo was meine mein kann oder aber noch nur sie wir nach bei haben hat sind war",
    "French": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont avec "
    "je vous nous mon ma mes quand comment cette été fait être avoir mais où elle cest aux",
    "Spanish": "de la que el en y los se del las un por con no una su para es al lo como más pero sus le ya "
    "mi yo cuando cuándo dónde está muy sin sobre también hay ser tiene este esta qué sé",
    "Italian": "di che la il un a per in una mi sono ho non ma lo ha le con si da come io questo qui della ti",
    "Portuguese": "de que não o um para é com uma os no se na por mais as dos como mas ao ele das à seu sua você",
    "Dutch": "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om hem dan",
    "Swedish": "och det att i en jag hon som han på den med var sig för så till är men ett om hade de av icke",
    "Polish": "nie to się w na i z że do jest co jak ale po mnie tak za od czy go już tylko przez dla",
    "Turkish": "bir ve bu da de için ile çok ne gibi daha ama kadar sonra var mi ben o en olarak ki her",
}
"""The most frequent words of each language (Latin letters); others are told apart by their letters."""
_SHARED = Counter(word for words in FREQUENT.values() for word in set(words.split()))
WORDS = {tongue: frozenset(word for word in words.split() if _SHARED[word] == 1) for tongue, words in FREQUENT.items()}
"""Of these, those that no other language of the table has."""
SURE = 2
"""Different frequent words that tell a language."""
COMMON = 0.1
"""Share of the words they are at least."""
FEWEST_WORDS = 5
"""Words below which no language is told."""


def copies(texts: Sequence[str], embeddings: FloatArray) -> list[tuple[int, int]]:
    """Pairs of rows (smaller first) that are the same text but for small edits.

    Candidates are near in embedding; whether they are copies the letters decide.
    """
    plain = [simplified(text) for text in texts]
    first: dict[str, int] = {}
    pairs = {(first[text], row) for row, text in enumerate(plain) if first.setdefault(text, row) != row}
    for one, other in _near(embeddings):
        if _alike(plain[one], plain[other]):
            pairs.add((one, other))
    return sorted(pairs)


def _alike(one: str, other: str) -> bool:
    """Whether two simplified texts are long enough, name the same numbers, and share nearly all letters."""
    if one == other or min(len(one), len(other)) < SHORTEST:
        return False
    return sorted(NUMBER.findall(one)) == sorted(NUMBER.findall(other)) and overlap(one, other) >= OVERLAP


def _near(embeddings: FloatArray) -> set[tuple[int, int]]:
    """Pairs of rows whose embeddings are among each other's nearest."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    flat = (embeddings / np.maximum(lengths, 1e-12)).astype(np.float32)
    width = min(NEAREST, len(flat) - 1)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(flat) if width > 0 else 0, BLOCK):
        alike = flat[start : start + BLOCK] @ flat.T
        here = np.arange(len(alike))
        alike[here, start + here] = -np.inf
        near = np.argpartition(-alike, width - 1, axis=1)[:, :width]
        for row, column in np.argwhere(np.take_along_axis(alike, near, 1) >= ALIKE).tolist():
            one, other = start + row, int(near[row, column])
            pairs.add((min(one, other), max(one, other)))
    return pairs


def simplified(text: str) -> str:
    """The text without what copies differ in most: case, accents' encoding, punctuation, spacing.

    >>> simplified("Where is  my CARD?!")
    'where is my card'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def overlap(one: str, other: str) -> float:
    """Share of character trigrams in common (Jaccard, with their counts), in [0, 1]."""
    first, second = (Counter(text[at : at + 3] for at in range(max(1, len(text) - 2))) for text in (one, other))
    return (first & second).total() / max(1, (first | second).total())


def damage(text: str) -> str | None:
    """What is wrong with the encoding of a text, or None.

    >>> damage("cafÃ© closes at 9"), damage("café closes at 9")
    ('UTF-8 read as another encoding', None)
    """
    if any(map(_misread, FOREIGN.findall(text))):
        return "UTF-8 read as another encoding"
    if BROKEN.search(text):
        return "lost or control characters"
    return "entities or escapes that were never decoded" if ESCAPED.search(text) else None


def _misread(letters: str) -> bool:
    """Whether letters are UTF-8 that was read as Windows-1252 or Latin-1: their bytes there are valid UTF-8."""
    found = bytearray()
    for letter in letters:
        code = letter.encode("cp1252", "ignore") or (bytes([ord(letter)]) if ord(letter) < 256 else b"\xff")
        found += code
    return any(bool(found[start] >= 0xC2) and _decodes(bytes(found[start:])) for start in range(len(found) - 1))


def _decodes(found: bytes) -> bool:
    """Whether bytes begin with a whole letter of UTF-8 of more than one byte."""
    size = 2 if found[0] < 0xE0 else 3 if found[0] < 0xF0 else 4
    try:
        return len(found[:size].decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False


def language(text: str) -> str | None:
    """The language of a text by its frequent words, or its script where that is not Latin; None: cannot be told.

    >>> language("Das ist nicht das, was ich mit der Karte wollte"), language("Где моя карта"), language("ok")
    ('German', 'Cyrillic', None)
    """
    letters = [character for character in text[:400] if character.isalpha()]
    if not letters:
        return None
    scripts = Counter(unicodedata.name(character, "UNKNOWN").split()[0] for character in letters)
    script, most = scripts.most_common(1)[0]
    if most < 0.6 * len(letters):
        return None
    if script != "LATIN":
        return script.capitalize()
    words = re.findall(r"[^\W\d_]+", text[:2000].casefold())
    if len(words) < FEWEST_WORDS:
        return None
    hits = [
        (sum(word in known for word in words), len(known.intersection(words)), name) for name, known in WORDS.items()
    ]
    (count, best, tongue), (_, second, _) = sorted(hits, reverse=True)[:2]
    return tongue if best >= SURE and count >= COMMON * len(words) and best >= 2 * second else None


def odd_lengths(texts: Sequence[str], spread: float = 3.0) -> IndexArray:
    """Rows whose length is outside the quartiles of the logarithms by ``spread`` times their distance."""
    lengths = np.log1p([len(text) for text in texts])
    low, high = np.quantile(lengths, [0.25, 0.75]) if len(lengths) else (0.0, 0.0)
    room = spread * max(high - low, 0.1)
    return np.flatnonzero((lengths < low - room) | (lengths > high + room))
