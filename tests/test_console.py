"""What a person at a terminal sees, at several widths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.text import Text

from headstart import console
from headstart.outcome import Fit, Silent
from headstart.types import ArmResult, Exclusion, Predictions, RankedSource, Ranking, Receipt

NOBODY = Predictions((), ())  # type: ignore[arg-type]
LONG = "/data/" + "-".join(f"folder{number}" for number in range(20))
PREDICTED = [
    {"input": "a text of some length " * 6, "label": "yes", "probabilities": {"yes": 0.7, "no": 0.2, "perhaps": 0.1}},
    {"input": LONG, "label": "no", "probabilities": {"yes": 0.1, "no": 0.6, "perhaps": 0.3}},
    {"input": "c.png", "error": "empty file"},
]


class Terminal:
    """A screen of 80 columns and many colours that remembers both streams."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def written(self) -> str:
        """All since the last look, styles and all."""
        return "".join(self._captured.readouterr())

    def rows(self) -> list[str]:
        """The same as people see it."""
        return Text.from_ansi(self.written()).plain.splitlines()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    return Terminal(capsys)


def arm(name: str, value: float) -> ArmResult:
    metrics = {"accuracy": value, "n": 40}
    return ArmResult(name, "wordllama", "probe", 1.25, metrics, metrics, NOBODY)


def fitted(run: str = LONG) -> Fit:
    ranking = Ranking(
        (
            RankedSource("first", -0.5, 0.01, parameters=2_000_000, tied=True),
            RankedSource("second", -0.6, 0.02, parameters=1_000_000, tied=True),
            RankedSource("third", None, None, parameters=3_000_000, error="its weights are missing " * 4),
        ),
        "first",
        100,
    )
    receipt = Receipt(
        verdict="helped",
        sentence="Transfer helped: accuracy 0.91 against 0.80 for a baseline on 40 test rows; " * 2,
        chosen="probe of first",
        metric="accuracy",
        gains=(),
        arms=(arm("probe of first", 0.9125), arm("classical baseline", 0.8)),
        counts={"train": 100, "validation": 0, "test": 40},
        detectable_gain=0.2,
        scratch_twin="not measured",
        notes=("A note that is long enough to need a second line on a terminal of eighty columns, as notes are.",),
    )
    folder = Path(run)
    excluded = (Exclusion("a.png", "empty file"),)
    return Fit(folder, folder / "bundle", folder / "report.html", receipt, ranking, excluded, (), {})


def test_a_fit_fits_the_terminal_and_its_paths_stay_whole(terminal: Terminal) -> None:
    console.show_fit(fitted())
    rows = terminal.rows()
    assert f"bundle  {LONG}/bundle" in rows
    assert f"report  {LONG}/report.html" in rows
    assert all(len(row) <= 80 for row in rows if LONG not in row)
    table = [row for row in rows if row.startswith(("arm ", "probe of", "classical"))]
    assert table[0].split() == ["arm", "method", "test", "validation", "seconds"]
    assert table[1].split() == ["probe", "of", "first", "probe", "0.912", "0.912", "1.2", "ships"]
    assert "left out: 1 example (a.png: empty file); all of them in the report" in rows
    first, second, third = (row for row in rows if row.startswith(("first", "second", "third")))
    assert first.endswith("0.0  chosen")
    assert second.endswith("0.0  tied with the best")
    assert third.endswith("0.0  its weights are missing its")


def test_colours_are_for_terminals_that_want_them(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    console.show_fit(fitted())
    assert "\x1b[1;32m" in terminal.written()
    monkeypatch.setenv("NO_COLOR", "1")
    console.show_fit(fitted())
    plainer = terminal.written()
    assert "\x1b[1m" in plainer
    assert "32m" not in plainer


def test_a_pipe_gets_whole_lines_without_style(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.show_predictions(PREDICTED)
    assert capsys.readouterr().out.splitlines() == [
        "prediction  most likely                         input",
        f"yes         yes 0.700  no 0.200  perhaps 0.100  {'a text of some length ' * 6}".rstrip(),
        f"no          no 0.600  perhaps 0.300  yes 0.100  {LONG}",
        "not predicted: c.png: empty file",
    ]
    console.show_fit(fitted())
    assert "\x1b" not in capsys.readouterr().out


def test_predictions_leave_room_for_their_inputs(terminal: Terminal) -> None:
    console.show_predictions(PREDICTED)
    rows = terminal.rows()
    assert rows[0].split() == ["prediction", "most", "likely", "input"]
    column = rows[0].index("input")
    assert column < 50
    assert all(row[column:].startswith(("a text", "of some", "length", "text", "some")) for row in rows[1:4])
    assert all(len(row) <= 80 for row in rows if LONG not in row)
    assert sum(LONG in row for row in rows) == 1


def test_a_file_s_name_stays_whole_though_it_holds_blanks(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / " ".join(["holiday"] * 15)
    file.touch()
    console.show_predictions([{"input": str(file), "value": 0.123456789}])
    assert terminal.rows()[1] == f"0.123457  {file}"


def test_long_texts_are_cut_on_a_terminal_only(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [{"input": "word " * 200, "value": 1.0}]
    console.show_predictions(long)
    assert terminal.written().count("word") == 59
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: False)
    console.show_predictions(long)
    assert terminal.written().count("word") == 200


def test_sets_of_labels_are_shown(terminal: Terminal) -> None:
    chances = {"a": 0.2, "b": 0.1}
    console.show_predictions(
        [
            {"input": "x", "label": ("a", "b"), "probabilities": chances},
            {"input": "y", "label": (), "probabilities": chances},
        ]
    )
    assert [row.split("  ")[0] for row in terminal.rows()[1:]] == ["a, b", "(none)"]


def test_wide_letters_keep_columns_straight(terminal: Terminal) -> None:
    chances = {"猫": 0.75, "dog": 0.25}
    console.show_predictions(
        [
            {"input": "x", "label": "猫", "probabilities": chances},
            {"input": "y", "label": "dog", "probabilities": chances},
        ]
    )
    _, cat, dog = terminal.rows()
    assert dog.index("y") - cat.index("x") == 1  # of the letter's two columns; the probabilities show it in both rows


def test_sources_say_what_they_need(terminal: Terminal) -> None:
    facts = {"modality": "text", "parameters": 22_600_000, "dim": 384, "licence": "MIT", "trained_on": "sentences " * 9}
    listed = [{"name": "here", "missing": None, **facts}, {"name": "gone", "missing": "pip it", **facts}]
    console.show_sources(listed, [("x:NAME", "any x there is")])
    rows = terminal.rows()
    assert rows[1].startswith("here    text  22.6 M  MIT      sentences")
    assert "not usable here: gone: pip it" in rows
    assert rows[-1].split() == ["x:NAME", "any", "x", "there", "is"]
    assert max(map(len, rows)) <= 80


def test_facts_are_flat(terminal: Terminal) -> None:
    files = [{"name": "config.json", "size": 1234, "sha256": "0123456789abcdef" * 4}]
    console.show_facts({"source": {"name": "s", "mean": []}, "labels": ["a", "b"], "share": 0.25, "files": files})
    rows = [row.split() for row in terminal.rows()]
    assert rows[1:4] == [["source.name", "s"], ["labels", "a,", "b"], ["share", "0.25"]]
    assert rows[-1] == ["config.json", "1,234", "0123456789abcdef"]


def test_errors_break_between_words_only(terminal: Terminal) -> None:
    console.show_error(f"headstart: no such file or folder: {LONG}; did you mean something else altogether, perhaps?")
    rows = terminal.rows()
    assert any(row.startswith(LONG) for row in rows)
    assert all(len(row) <= 80 for row in rows if LONG not in row)


def test_progress_is_told_line_by_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.listener(quiet=False) as listener:
        listener.step("read", None)
        listener.step("read", 0.25)
        listener.say("Column ':smile:' [bold]is[/bold] the label.\n  And more.")
        listener.progress("embedding", 1, 2)
        listener.step("other", 1.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "reading             0.2 s",
        "  Column ':smile:' [bold]is[/bold] the label.",
        "  And more.",
    ]


def test_progress_leaves_no_bar_behind(terminal: Terminal) -> None:
    def interrupted() -> None:
        with console.listener(quiet=False) as listener:
            listener.step("rank", None)
            listener.progress("embedding", 3, 9)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    drawn = terminal.written()
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert "3/9" in drawn


def test_quiet_is_silent() -> None:
    with console.listener(quiet=True) as listener:
        assert isinstance(listener, Silent)


@pytest.mark.parametrize(
    ("text", "shown"), [("héllo ☃", "héllo ☃"), ("a\nb\tc", r"a\nb\tc"), ("\x1b]0;title\x07", r"\x1b]0;title\x07")]
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert console.printable(text) == shown
