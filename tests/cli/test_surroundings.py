"""Bugs, full disks, odd terminals, pipes and signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart import __version__, cli, sources


def test_a_bug_of_ours_is_one_sentence_and_a_log(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def listing(_: object) -> None:
        raise ZeroDivisionError("the ranking\nwas divided")

    monkeypatch.setattr(sources, "listing", listing)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ran = run("sources", "--json")
    (log,) = tmp_path.iterdir()
    said = f"this is a bug of ours: ZeroDivisionError: the ranking. Details: {log}"
    assert (ran.code, ran.err) == (1, f"headstart: {said}\n")
    assert ran.document["error"]["message"] == said
    text = log.read_text("utf-8")
    assert all(part in text for part in ("Traceback", "was divided", f"headstart {__version__}"))


MACHINE: dict[str, tuple[Exception, int, str]] = {
    "memory": (MemoryError(), 5, "memory ran out"),
    "torch's memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 EiB"), 5, "memory ran out"),
    "disk": (OSError(28, "No space left on device", "/full/file"), 5, "No space left on device: /full/file"),
    "permission": (PermissionError(13, "Permission denied", "/root/x"), 2, "cannot use /root/x: Permission denied"),
}


@pytest.mark.parametrize("case", MACHINE)
def test_the_machine_s_failures_are_no_bugs(case: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error, code, said = MACHINE[case]

    def listing(_: object) -> None:
        raise error

    monkeypatch.setattr(sources, "listing", listing)
    ran = run("sources")
    assert ran.code == code
    assert said in ran.err


def test_json_is_alone_on_stdout_whatever_libraries_print(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(_: object) -> list[object]:
        print("Downloading... done!")
        return []

    monkeypatch.setattr(sources, "listing", listing)
    ran = run("sources", "--json")
    assert ran.document == []
    assert ran.err == "Downloading... done!\n"


def test_letters_that_a_terminal_lacks_are_spelled_out(text_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, expected in (((), "h\\xe9llo \\u2603"), (("--json",), "h\\u00e9llo \\u2603")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(["predict", str(text_run / "bundle"), "héllo ☃", *arguments]) == 0
        assert expected in stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_data_cannot_steer_a_terminal(text_run: Path, run: Any) -> None:
    out = run("predict", text_run / "bundle", "red \x1b[31m alert\x07\nnext line").out
    assert not {"\x1b", "\x07"} & set(out)
    assert out.count("\n") == 2


def test_a_reader_may_leave_early(tmp_path: Path, command_line: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    with command_line("sources", stdout=write) as process:
        os.close(write)
        _, err = process.communicate()
    assert (process.returncode, err) == (141, "")


def test_a_full_disk_under_the_output_is_said(command_line: Any) -> None:
    with open("/dev/full", "w") as full, command_line("sources", "--json", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (5, "headstart: No space left on device\n")


@pytest.fixture
def in_splitting(
    texts: Path, tmp_path: Path, quick: Any, command_line: Any
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A fit in a process of its own, that has just split its data, and its run folder."""
    out = tmp_path / "run"
    with command_line(*quick(texts, "--out", out), hearing=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("splitting"):
                break
        yield process, out
        process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_was_stopped_goes_on(
    number: signal.Signals,
    code: int,
    texts: Path,
    in_splitting: tuple[subprocess.Popen[str], Path],
    run: Any,
    quick: Any,
) -> None:
    process, out = in_splitting
    process.send_signal(number)
    printed, err = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in err
    if number != signal.SIGKILL:
        assert json.loads(printed)["error"]["exit_code"] == code
        assert "stopped; a fit goes on where it was" in err
    assert not (out / "bundle").exists()
    again = ("fit", "--resume", "--out", out, "--json") if number == signal.SIGKILL else quick(texts, "--out", out)
    assert run(*again).code == 0
    assert run("verify", out / "bundle").code == 0
