"""The command line in this process and in one of its own, data of a few rows, and two finished fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart import cli

SOURCES = Path(cli.__file__).parents[1]
OPENINGS = ("I think", "Yesterday", "Do you know whether", "Everyone says that", "They told me that")
ENDINGS = {
    "cooking": ("the soup needs salt", "dough rises overnight", "butter burns fast", "rice wants more water"),
    "football": ("the striker scored", "our keeper saved it", "the referee saw a foul", "they won on penalties"),
}
TOPICS = [(f"{first} {last}", label) for first in OPENINGS for label in ENDINGS for last in ENDINGS[label]]


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command in this process, which never shows a traceback."""

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(code, captured.out, captured.err)

    return command


def quick(*arguments: object) -> list[str]:
    """A ``fit`` by the fastest source, with JSON."""
    return ["fit", *map(str, arguments), "--source", "wordllama", "--json"]


def write_csv(path: Path, rows: Sequence[Sequence[object]], mark: str = ",") -> Path:
    path.write_text("\n".join(mark.join(map(str, row)) for row in rows) + "\n", "utf-8")
    return path


def write_jsonl(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def write_photos(folder: Path, count: int, seed: int = 0) -> Path:
    """Noisy pictures, reddish and bluish, in a folder each."""
    rng = np.random.default_rng(seed)
    for label, colour in (("blue", (60, 80, 200)), ("red", (200, 70, 50))):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(colour) + rng.normal(0, 25, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


HEARING = """\
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("headstart", run_name="__main__", alter_sys=True)
"""
"""The command where Ctrl-C works: a shell makes its background jobs deaf to it, and children inherit that."""


def command_line(*arguments: object, hearing: bool = False, **pipes: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    how = ("-c", HEARING) if hearing else ("-m", "headstart")
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    return subprocess.Popen([sys.executable, *how, *map(str, arguments)], env=environment, text=True, **streams)


@pytest.fixture(scope="package")
def topics() -> list[tuple[str, str]]:
    """Forty texts and their labels."""
    return TOPICS


@pytest.fixture(scope="package", name="quick")
def _quick() -> Callable[..., Any]:
    return quick


@pytest.fixture(scope="package", name="write_csv")
def _write_csv() -> Callable[..., Any]:
    return write_csv


@pytest.fixture(scope="package", name="write_jsonl")
def _write_jsonl() -> Callable[..., Any]:
    return write_jsonl


@pytest.fixture(scope="package", name="write_photos")
def _write_photos() -> Callable[..., Any]:
    return write_photos


@pytest.fixture(scope="package", name="command_line")
def _command_line() -> Callable[..., Any]:
    return command_line


@pytest.fixture(scope="package")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "topics.csv", [("text", "label"), *TOPICS])


@pytest.fixture(scope="package")
def text_run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished fit of texts."""
    out = tmp_path_factory.mktemp("text") / "run"
    assert cli.main([*quick(texts, "--out", out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="package")
def broken_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve good pictures each, and beside them ten files that are none."""
    folder = write_photos(tmp_path_factory.mktemp("images") / "photos", 12)
    whole = (folder / "red" / "0.png").read_bytes()
    Image.new("RGB", (64, 64), "red").save(folder / "whole.jpg", quality=95)
    jpeg = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    huge = bytearray(whole)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    contents = {
        "red/empty.png": b"",
        "red/half.png": whole[: len(whole) // 2],
        "red/half.jpg": jpeg[: len(jpeg) // 2],
        "red/text.jpg": b"not a picture at all",
        "red/page.png": b"<html><body>404</body></html>",
        "blue/vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "blue/paper.jpg": b"%PDF-1.7\n1 0 obj",
        "blue/pickle.png": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
        "blue/huge.png": bytes(huge),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "blue" / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


@pytest.fixture(scope="package")
def photo_run(broken_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished fit of images."""
    out = tmp_path_factory.mktemp("image") / "run"
    arguments = ["fit", str(broken_photos), "--out", str(out), "--source", "efficientnet-lite0", "--quiet"]
    assert cli.main(arguments) == 0
    return out
