from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(script: str, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name(script)), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_broken_bundles_are_refused_and_never_run(folder: Path) -> None:
    tally = run("hostile.py", folder, 1000)
    assert tally["refused"] + tally["read"] == 1000
    assert tally["read unsigned"] == 0
    assert tally["refused"] > 600
    assert tally["read"] > 20


def test_a_writer_killed_at_any_point_leaves_the_old_bundle_or_the_new_one(tmp_path: Path) -> None:
    tally = run("killed.py", tmp_path / "bundle")
    assert tally["kills"] > 40
    assert min(tally["none"], tally["old"], tally["new"]) > 0
