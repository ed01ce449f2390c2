"""Another vocabulary: rows of token embeddings, copied where both have the token, else composed of old ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.initialization.scene import Fitted, Pair, Rule, Scene

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Vocabulary"]

MARKS = ("##", "Ġ", "▁")
"""What tells the pieces of a word from its beginnings: WordPiece, byte-level BPE, SentencePiece."""
ROLES = (
    ("[CLS]", "<s>", "<|startoftext|>"),
    ("[SEP]", "</s>", "<|endoftext|>"),
    ("[PAD]", "<pad>"),
    ("[UNK]", "<unk>"),
    ("[MASK]", "<mask>"),
)
"""Special tokens of different families that do the same."""


@dataclass(frozen=True)
class Vocabulary(Rule):
    """A new token is the mean of the old tokens that its text is made of; a token both have is copied.

    Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression", equation 1. A token
    whose text the source cannot write stays the target's own.

    A tokenizer is a ``tokenizers.Tokenizer``, a fast one of transformers, or the path of a ``tokenizer.json``.
    """

    name = "vocabulary"
    source: Any
    target: Any

    def fit(self, scene: Scene, pair: Pair, value: Tensor) -> Fitted | None:
        """Rows of a token table ``(V, D)``, and of an output layer over the same tokens."""
        import torch

        own = scene.target[pair.target]
        if own.shape[:1] + value.shape[:1] != _tables(scene) or own.shape[1:] != value.shape[1:]:
            return None
        made, rows = own.clone(), self.rows
        for row, parts in rows.items():
            if row < len(own) and parts and max(parts) < len(value):
                mean = value[torch.tensor(parts)].float().mean(0)
                made[row] = (value[parts[0]] if len(parts) == 1 else mean).to(own.dtype)
        same = sum(len(parts) == 1 for parts in rows.values())
        told = f"{same} tokens copied, {len(rows) - same} composed of old ones, {len(own) - len(rows)} fresh"
        return Fitted(made, told, len(rows) / len(own))

    @cached_property
    def rows(self) -> dict[int, list[int]]:
        """Target token -> the source tokens it is made of; without those that nothing makes."""
        old, new = _Tokens.of(self.source), _Tokens.of(self.target)
        found, texts = {}, {}
        for token, row in new.ids.items():
            same = old.ids.get(token) if old.mark == new.mark or token in new.special else None
            same = same if same is not None else old.role(token)
            if same is not None:
                found[row] = [same]
            elif token not in new.special:
                texts[row] = new.text(token, row)
        return found | {row: parts for row, parts in old.parts(texts).items() if parts}


class _Tokens:
    """One tokenizer, as far as it matters here."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.special = frozenset(one.content for one in tokenizer.get_added_tokens_decoder().values() if one.special)
        found = Counter(mark for token in self.ids for mark in MARKS if token.startswith(mark))
        self.mark = found.most_common(1)[0][0] if found else ""

    @classmethod
    def of(cls, given: Any) -> _Tokens:
        """Of a tokenizer, one wrapped by transformers, or a file."""
        if isinstance(given, (str, Path)):
            from tokenizers import Tokenizer

            return cls(Tokenizer.from_file(str(given)))
        return cls(getattr(given, "backend_tokenizer", given))

    def role(self, token: str) -> int | None:
        """The token that does here what this special token does elsewhere."""
        names = next((names for names in ROLES if token in names), ())
        return next((self.ids[name] for name in names if name in self.ids), None)

    def text(self, token: str, row: int) -> str:
        """What a token stands for; a space in front where it begins a word."""
        if self.mark == "##":
            return token.removeprefix("##") if token.startswith("##") else f" {token}"
        if self.mark == "▁":
            return token.replace("▁", " ")
        return str(self._tokenizer.decode([row], skip_special_tokens=False))

    def parts(self, texts: dict[int, str]) -> dict[int, list[int]]:
        """The tokens that each text is written with here; none where one of them is unknown."""
        unknown = self.role("[UNK]")
        asked = texts.values() if self.mark == "Ġ" else [text.strip() for text in texts.values()]
        written = self._tokenizer.encode_batch(list(asked), add_special_tokens=False)
        return {row: [] if unknown in one.ids else list(one.ids) for row, one in zip(texts, written, strict=True)}


def _tables(scene: Scene) -> tuple[int, int] | None:
    """Rows of the target's and the source's token table, from the target's first embedding that is one of tokens."""
    from torch.nn import Embedding

    for name, module in scene.model.named_modules():
        is_tokens = isinstance(module, Embedding) and not any(word in name.lower() for word in ("position", "type"))
        if is_tokens and (other := scene.source.get(scene.counterpart(f"{name}.weight"))) is not None:
            return module.num_embeddings, len(other)
    return None
