"""SIGKILL anywhere in a fit that tunes its source: the same command then ends with the same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headstart
from headstart.exporters import bundle as bundles

SCRIPT = Path(__file__).with_name("killed_fit.py")
POINTS, IN_WRITES = 30, 10


def start(kind: str, number: int, data: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), kind, str(number), "fit", str(data), "--out", str(out)]
    asked = ["--source", "efficientnet-lite0", "--method", "lpft", "--budget", "1h", "--proof", "off", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(Path(headstart.__file__).parents[1])}
    return subprocess.Popen(
        [*command, *asked], env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def weights(run: Path) -> str:
    return bundles.read(run / "bundle").manifest["files"]["model.safetensors"]["sha256"]


@pytest.mark.slow
def test_a_tuning_killed_anywhere_goes_on_to_the_same_weights(photo_folder: Path, tmp_path: Path) -> None:
    """30 points: 20 at random moments, 10 inside random writes, half of a file written."""
    begin, whole = time.perf_counter(), start("never", 0, photo_folder, tmp_path / "whole")
    _, told = whole.communicate(timeout=900)
    assert whole.returncode == 0, told
    lasted, writes = time.perf_counter() - begin, int(told.splitlines()[-1])
    assert writes > 50
    rng, expected = random.Random(0), weights(tmp_path / "whole")
    for point in range(POINTS):
        run = tmp_path / f"run{point}"
        if point < IN_WRITES:
            process = start("write", rng.randint(1, writes), photo_folder, run)
        else:
            process = start("never", 0, photo_folder, run)
            time.sleep(rng.uniform(0.3, 1) * lasted)
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=900)
        assert process.returncode in (0, -signal.SIGKILL)
        again = start("never", 0, photo_folder, run)
        _, told = again.communicate(timeout=900)
        assert again.returncode == 0, told
        assert weights(run) == expected
        assert not list(run.rglob("*.tmp"))
