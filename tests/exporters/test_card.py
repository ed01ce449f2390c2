from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headstart.exporters.card import model_card
from headstart.types import ArmResult, Gain, InputSpec, Predictions, Receipt, SourceCard, Task

HOSTILE = st.one_of(
    st.text(),
    st.text(alphabet="`|\\*_[]()<>!#-+.:/@&;\n\"' ~$ax1\u202e\u200d\x1b\x85\ufeff"),
    st.sampled_from(
        (
            "<script>alert(1)</script>",
            "[x](javascript:alert(1))",
            "![](http://evil.example/pixel.png)",
            "http://evil.example www.evil.example me@evil.example",
            "---\nlicense: mit\n---",
            "# Title\n\n> quote",
            "| a | b |",
            "``` \n code",
            "`",
            "``a` `",
            "&lt;b&gt;",
            "\\`<b>\\`",
            "&#124;",
            "a\\|b",
            "- item",
            "$\\alpha$",
            "${jndi}",
            "<!-- x -->",
            "]]>",
        )
    ),
)


def facts() -> dict[str, Any]:
    predictions = Predictions(("a",), np.zeros((1, 3)))
    accuracies = {"mini probe": 0.912345, "classical baseline": 0.5, "majority": 0.25}
    arms = [
        ArmResult(name, "mini", "probe", 1.0, {}, {"accuracy": accuracy, "n": 100}, predictions)
        for name, accuracy in accuracies.items()
    ]
    gain = Gain("classical baseline", "accuracy", 0.412345, 0.3, 0.5, 0.95, "paired bootstrap", 0.001)
    receipt = Receipt(
        "helped", "It helped: +41 points.", "mini probe", "accuracy", (gain,), tuple(arms),
        {"train": 300, "validation": 50, "test": 100}, 0.08, "not measured", ("A note.",),
    )  # fmt: skip
    source = SourceCard(
        "mini", "Mini encoder", "text", "packaged", 22_565_376, 384, ("last",), InputSpec(max_tokens=16),
        "many pairs", "Apache-2.0", "ab" * 32, 0.7, "ImageNet",
    )  # fmt: skip
    return {
        "title": "Questions by topic",
        "task": dataclasses.asdict(Task("classification", "text", ("ant", "bee", "cat"), "accuracy")),
        "source": dataclasses.asdict(source),
        "receipt": dataclasses.asdict(receipt),
        "baseline": "classical baseline",
        "method": "probe",
        "layer": "last",
        "data": {"name": "topics", "licence": "MIT"},
        "excluded": [{"id": "row 3", "reason": "empty text"}],
        "versions": {"torch": "2.4", "headstart": "0.1.0"},
    }


def front(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


def parsed(card: str) -> list[Any]:
    tokens = MarkdownIt("commonmark").enable("table").parse(body(card))
    return [token for top in tokens for token in (top, *(top.children or ()))]


def test_says_everything_once_asked_for() -> None:
    card = model_card(facts())
    assert front(card) == {
        "license": "apache-2.0",
        "library_name": "headstart",
        "pipeline_tag": "text-classification",
        "tags": ["headstart", "transfer-learning", "text", "classification"],
        "metrics": ["accuracy"],
    }
    for said in (
        "# Questions by topic",
        "picks one of 3 labels",
        "`mini` by the method `probe` on its layer `last`",
        "**Verdict: helped.** It helped: +41 points.",
        "On 100 test examples by which nothing was chosen; 300 were for training, 50 for validation.",
        "| `mini probe` (this model) | 0.9123 | 100 |",
        "| `classical baseline` (classical baseline) | 0.5 | 100 |",
        "Gain over `classical baseline` in accuracy: +0.4123 (95% interval +0.3 to +0.5, p = 0.001; paired bootstrap).",
        "would detect: 0.08.",
        "trained from scratch: not measured",
        "Note: A note.",
        "| Parameters | 22,565,376 |",
        "| Licence | Apache-2.0 |",
        "| 1 | `bee` |",
        "headstart verify BUNDLE",
        'headstart.load("BUNDLE")',
        "| `row 3` | empty text |",
        "headstart 0.1.0, torch 2.4",
    ):
        assert said in card, said
    assert "NON-COMMERCIAL" not in card
    assert model_card(copy.deepcopy(facts())) == card


def test_the_least_that_must_be_there() -> None:
    card = model_card(
        {
            "title": "x",
            "task": {"problem": "regression", "modality": "image", "labels": (), "metric": "mae"},
            "source": {"name": "mini"},
        }
    )
    assert front(card)["license"] == "other"
    assert front(card)["license_name"] == "not stated"
    assert "pipeline_tag" not in front(card)
    assert "predicts one number" in card
    assert "Not measured." in card
    assert "Left out" not in card


@pytest.mark.parametrize(
    "licence",
    ["CC-BY-NC-SA-4.0", "cc by nc 4.0", "CC_BY_NC", "Non-commercial use", "research only", "academic licence"],
)
def test_non_commercial_is_said_loudly(licence: str) -> None:
    for part in ("source", "data"):
        given = facts()
        given[part]["licence"] = licence
        card = model_card(given)
        assert card.index("NON-COMMERCIAL") < card.index("## Results")
        assert front(card)["license"] != "apache-2.0"


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "since 2020", "CC-BY-4.0"])
def test_other_licences_are_not(licence: str) -> None:
    given = facts()
    given["source"]["licence"] = licence
    assert "NON-COMMERCIAL" not in model_card(given)


def test_long_lists_are_cut_and_counted() -> None:
    given = facts()
    given["task"]["labels"] = tuple(f"label {index}" for index in range(150))
    given["excluded"] = [{"id": f"row {index}", "reason": "empty"} for index in range(70)]
    card = model_card(given)
    assert "with 150 labels" in card
    assert "50 more are in `config.json`" in card
    assert "Examples left out, each together with its label: 70." in card
    assert "50 more were left out" in card
    assert "`label 100`" not in card


def test_numbers_that_are_not_there() -> None:
    given = facts()
    given["receipt"]["gains"][0]["p_value"] = None
    given["receipt"]["detectable_gain"] = None
    given["receipt"]["arms"][2]["test"] = {"accuracy": float("nan")}
    card = model_card(given)
    assert "p = " not in card
    assert "would detect" not in card
    assert "| `majority` | nan |  |" in card


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE, other=HOSTILE)
def test_hostile_words_change_no_structure(text: str, other: str) -> None:
    plain, given = facts(), facts()
    given["task"]["labels"] = ("ant", text, "cat")
    given["excluded"] = [{"id": text, "reason": other}]
    given["title"] = f"x{text}"
    given["source"].update(title=other or "x", licence=f"x{text}", trained_on=f"x{other}")
    given["data"] = {"name": f"x{text}", "licence": f"x{other}"}
    given["receipt"].update(sentence=f"x{text}", scratch_twin=f"x{text}", notes=[f"x{other}"])
    given["receipt"]["arms"][1]["name"] = text
    given["receipt"]["gains"][0].update(over=text, test=f"x{other}")
    given["baseline"] = None
    given["versions"] = {f"x{text}": f"x{other}", "torch": "2"}
    card = model_card(given)
    harmless = {key: value for key, value in front(card).items() if not key.startswith("license")}
    assert harmless == {key: value for key, value in front(model_card(plain)).items() if not key.startswith("license")}
    tokens = parsed(card)
    active = {"html_block", "html_inline", "link_open", "image", "code_block", "hr", "bullet_list_open", "em_open"}
    assert not active & {token.type for token in tokens}
    assert sum(token.type == "fence" for token in tokens) == 2
    assert sum(token.type == "heading_open" for token in tokens) == 8
    assert sum(token.type == "table_open" for token in tokens) == 4
    assert sum(token.type == "th_open" for token in tokens) == 2 + 2 + 2 + 3
    assert all(character.isprintable() or character in "\n\u200c\u200d" or character.isspace() for character in card)


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE)
def test_labels_can_be_read_as_they_are(text: str) -> None:
    given = facts()
    given["task"]["labels"] = ("ant", text, "cat")
    tokens = parsed(model_card(given))
    shown = [token.content for token in tokens if token.type == "code_inline"]
    at = shown.index("ant", shown.index("last")) + 1
    if not re.search(r"[^ -~]", text) and text.strip():
        assert shown[at] == text
    assert shown[at + 1] == "cat"


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE)
def test_prose_can_be_read_as_it_is(text: str) -> None:
    given = facts()
    given["receipt"]["notes"] = [text]
    inline = [token for token in parsed(model_card(given)) if token.type == "inline"]
    rendered = [token for token in inline if token.content.startswith("Note:")]
    assert len(rendered) == 1
    assert {child.type for child in rendered[0].children} <= {"text", "text_special"}
    if not re.search(r"[^ -~]", text):
        seen = "".join(child.content for child in rendered[0].children)
        assert seen == f"Note: {text}".rstrip()
