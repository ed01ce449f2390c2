"""The whole page: safe, complete, the same every time, whatever the run holds."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headstart import report
from headstart.errors import UsageError
from headstart.report.page import SECTIONS

MakeRun = Callable[..., Path]
URL_ATTRIBUTES = {"href", "src", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href"}
VOID = {"meta", "link", "br", "col", "img"}


class Parsed(HTMLParser):
    """Elements, attributes, text and nesting errors of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.errors: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(attrs) != len(dict(attrs)):
            self.errors.append(f"attribute twice in <{tag}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}> does not close what is open")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(run: Path) -> tuple[str, Parsed]:
    text = report.write(run).read_bytes().decode("utf-8")
    return text, Parsed(text)


def assert_sound(page: str) -> Parsed:
    """Runs nothing, loads nothing, is well formed, and can be read by everyone."""
    parsed = Parsed(page)
    assert parsed.errors == []
    assert parsed.open == []
    names = {tag for tag, _ in parsed.elements}
    assert not names & {"script", "iframe", "object", "embed", "form", "base", "foreignobject", "use", "animate"}
    for tag, attributes in parsed.elements:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], tag
        if tag == "img":
            assert (attributes.pop("src") or "").startswith("data:image/webp;base64,")
            assert attributes["alt"]
        for key in URL_ATTRIBUTES & attributes.keys():
            assert (attributes[key] or "").startswith(("#", "data:,")), (tag, key, attributes[key])
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert_accessible(parsed)
    return parsed


def assert_accessible(parsed: Parsed) -> None:
    assert parsed.all("html") == [{"lang": "en"}]
    assert len(parsed.all("main")) == len(parsed.all("h1")) == len(parsed.all("title")[:1]) == 1
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.elements:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)
        assert (attributes.get("href") or "#main")[1:] in {*ids, "ata:,"}
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(attributes.get("scope") in {"col", "row"} for attributes in parsed.all("th"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    for drawing in parsed.all("svg"):
        assert drawing["role"] == "img"
        assert len((drawing["aria-labelledby"] or "").split()) == 2


CASES = {
    "helped": {},
    "no evidence": {"verdict": "no evidence"},
    "negative transfer": {"verdict": "negative transfer"},
    "77 classes": {"labels": tuple(f"topic {n}" for n in range(77)), "rows": 1500},
    "40 classes": {"labels": tuple(f"topic {n}" for n in range(40)), "rows": 4000},
    "regression": {"problem": "regression"},
    "multilabel": {"problem": "multilabel"},
    "images": {"modality": "image", "rows": 60},
    "one row": {"rows": 1},
    "nothing": {"steps": (), "facts": False},
}


@pytest.mark.parametrize("case", CASES)
def test_every_page_is_sound_and_small(make_run: MakeRun, case: str) -> None:
    page, _ = page_of(make_run(**CASES[case]))
    assert_sound(page)
    assert len(page.encode()) < 1_000_000


def test_verdict_comes_first_with_its_interval(make_run: MakeRun) -> None:
    page, parsed = page_of(make_run())
    order = [
        "The transfer helped",
        "8.3 more of 100",
        "+4.1 to +12.6",
        "transfer better →",
        "The evidence",
        "How to rep",
    ]
    places = [page.index(words, page.index("<main")) for words in order]
    assert places == sorted(places)
    assert "357 of 400" in parsed.text
    assert "classical baseline" in parsed.text
    assert "headstart fit 'bank questions.csv' --out runs/banking --label topic" in parsed.text
    assert "9f2c" * 16 in parsed.text
    assert "not measured" in parsed.text


def test_verdict_is_named_when_it_is_bad(make_run: MakeRun) -> None:
    _, bad = page_of(make_run(verdict="negative transfer"))
    _, unsure = page_of(make_run(verdict="no evidence"))
    assert "The transfer did worse" in bad.text
    assert "No evidence that the transfer helped" in unsure.text


@pytest.mark.parametrize("problem", ["classification", "multilabel", "regression"])
def test_hostile_strings_stay_text(make_run: MakeRun, hostile: tuple[str, ...], problem: str) -> None:
    for payload in hostile[:5]:
        page, _ = page_of(make_run(labels=hostile, text=payload, problem=problem, rows=60))
        parsed = assert_sound(page)
        assert len(page.encode()) < 1_000_000
        if problem == "classification":
            assert "<script>alert(1)</script>" in parsed.text
            assert "(blank)" in parsed.text


def test_hostile_facts_stay_text(make_run: MakeRun, hostile: tuple[str, ...]) -> None:
    from headstart.store import write_json

    run = make_run()
    facts = {word.replace("\x00", ""): word for word in hostile}
    write_json(
        run / "run.json",
        {"format": 1, "command": list(hostile), "config": facts, "versions": facts, "machine": facts, "seconds": facts},
    )
    page, _ = page_of(run)
    assert_sound(page)


@pytest.mark.parametrize("finished", range(10))
def test_partial_runs_say_what_is_missing(make_run: MakeRun, step_names: tuple[str, ...], finished: int) -> None:
    page, parsed = page_of(make_run(steps=step_names[:finished], facts=finished % 2 == 0))
    assert_sound(page)
    assert ("No verdict yet" in parsed.text) == (finished < 6)
    assert parsed.text.count(": not yet") == (len(step_names) - finished if finished < 6 else 0)
    assert ("nothing has been initialized yet" in parsed.text) == (finished < 4)


@pytest.mark.parametrize("missing", ["read", "split", "rank", "initialize", "adapt", "prove", "ship"])
def test_any_step_may_be_missing_or_damaged(make_run: MakeRun, step_names: tuple[str, ...], missing: str) -> None:
    run = make_run()
    (run / "steps" / f"{missing}.json").write_text('{"key": "0", "arrays": true, "result": {"__record__": "Nothing"}}')
    page, damaged = page_of(run)
    assert_sound(page)
    without = make_run(steps=tuple(name for name in step_names if name != missing))
    assert page_of(without)[1].text.replace(without.name, run.name) == damaged.text


def test_damaged_arrays_are_missing_arrays(make_run: MakeRun) -> None:
    run = make_run()
    for file in (run / "steps").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:50])
    page, parsed = page_of(run)
    assert_sound(page)
    assert "No verdict yet" in parsed.text


def test_policy_allows_nothing_but_this_style(make_run: MakeRun) -> None:
    page, parsed = page_of(make_run())
    policy = next(m["content"] or "" for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert page.index("Content-Security-Policy") < page.index("<style")
    assert any(m.get("name") == "viewport" for m in parsed.all("meta"))


def test_same_run_gives_the_same_bytes(make_run: MakeRun) -> None:
    run = make_run()
    first = report.write(run).read_bytes()
    assert report.write(run).read_bytes() == first
    assert [path.name for path in run.iterdir() if "report" in path.name] == ["report.html"]


def test_page_is_written_quickly(make_run: MakeRun) -> None:
    run = make_run(labels=tuple(f"topic {n}" for n in range(150)), rows=10_000)
    begin = time.perf_counter()
    report.write(run)
    assert time.perf_counter() - begin < 2


def test_links_reach_every_section(make_run: MakeRun) -> None:
    _, parsed = page_of(make_run())
    targets = [link["href"] for link in parsed.all("a")]
    assert targets == ["#main", "#verdict", *(f"#{anchor}" for anchor, _, _ in SECTIONS)]


def test_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        report.write(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json"):
        report.write(tmp_path / "absent")
    with pytest.raises(UsageError, match="not a run folder"):
        report.write(tmp_path)


def test_report_never_loads_torch(make_run: MakeRun) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart import report; report.write(Path(sys.argv[1])); "
        "print(sorted({'torch', 'pandas', 'sklearn', 'timm', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(make_run())],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(report.__file__).parents[2])},
    )
    assert done.stdout.strip() == "[]"
