"""A user's own table of sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import headstart
from headstart import sources
from headstart.errors import BundleRefused, UsageError
from headstart.store import sha256_file

TABLE = """\
[my-vectors]
title = "Vectors of mine"
modality = "text"
weights = "weights/mine.safetensors"
sha256 = "{sha256}"
tokenizer = "{tokenizer}"
tokenizer_sha256 = "{tokenizer_sha256}"
parameters = 512000
dim = 16
layers = ["last"]
trained_on = "nothing much"
licence = "MIT"
architecture = {{ family = "static", tokens = 32000, dim = 16 }}
input = {{ max_tokens = 64, special_tokens = false }}
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table whose weights are named relative to it, and whose tokenizer absolutely."""
    from headstart.sources import packaged

    (tmp_path / "weights").mkdir()
    weights = tmp_path / "weights" / "mine.safetensors"
    save_file({"embedding.weight": np.random.default_rng(0).normal(size=(32000, 16)).astype(np.float16)}, weights)
    tokenizer = packaged._folder("wordllama") / "tokenizers" / "l2_supercat_tokenizer_config.json"
    path = tmp_path / "sources.toml"
    path.write_text(
        TABLE.format(sha256=sha256_file(weights), tokenizer=tokenizer, tokenizer_sha256=sha256_file(tokenizer))
    )
    monkeypatch.setenv("HEADSTART_SOURCES", str(path))
    return path


def test_it_is_listed_and_embeds(table: Path) -> None:
    row = next(row for row in sources.listing() if row["name"] == "my-vectors")
    assert (row["provider"], row["missing"]) == ("listed", None)
    found = headstart.embed("my-vectors", ["a text", "another"], cache=False)
    assert found.shape == (2, 16)
    assert "my-vectors" in [source.name for source in sources.candidates("auto", "text")]


def test_a_changed_file_is_refused(table: Path) -> None:
    with (table.parent / "weights" / "mine.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BundleRefused, match="was not opened"):
        sources.resolve("my-vectors").backbone()


def test_a_missing_file_is_said(table: Path) -> None:
    (table.parent / "weights" / "mine.safetensors").unlink()
    with pytest.raises(UsageError, match="mine.safetensors is missing; HEADSTART_SOURCES leads to it"):
        sources.resolve("my-vectors")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[my-vectors]", "[wordllama]", "which Headstart has already"),
        ('licence = "MIT"', "", "lacks licence"),
        ("tokenizer_sha256", "tokeniser_sha256", "did you mean 'tokenizer_sha256'"),
        ("dim = 16\n", 'dim = "16"\n', "dim must be of the kind int"),
        ("mine.safetensors", "mine.pth", "must be a .safetensors file"),
        ('"text"', '"smell"', "modality must be one of image, text"),
        ("max_tokens = 64", "max_words = 64", "input: .*max_words"),
        ("[my-vectors]", "my-vectors", "cannot be read as TOML"),
        ("[my-vectors]", "x = 3\n[my-vectors]", "source 'x' in .* is no table"),
    ],
)
def test_a_wrong_table_is_refused(table: Path, old: str, new: str, said: str) -> None:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=said):
        sources.offers()


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_SOURCES", "/nowhere/sources.toml")
    with pytest.raises(UsageError, match="/nowhere/sources.toml, which cannot be read"):
        sources.resolve("wordllama")
