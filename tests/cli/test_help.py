"""Help: at once, and for every command."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headstart import __version__, cli

COMMANDS = ("fit", "audit", "rank", "predict", "evaluate", "inspect", "verify", "sources", "report", "doctor", "demo")


def test_help_answers_at_once(command_line: Any) -> None:
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        with command_line("--help") as process:
            out, _ = process.communicate()
        took.append(time.perf_counter() - begin)
        assert process.returncode == 0
        assert all(f"\n    {name} " in out for name in COMMANDS)
    assert statistics.median(took) < 0.5


def test_help_imports_nothing_heavy() -> None:
    look = "import sys; from headstart.cli import main; main(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "timm", "transformers", "pandas", "sklearn", "skimage", "PIL", "rich", "scipy"}
    assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, run: Any) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: headstart {name}")
    assert "--json" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 120


def test_version(run: Any) -> None:
    ran = run("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"headstart {__version__}\n", "")


def test_nothing_asked_shows_the_help(run: Any) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "examples:" in ran.err
