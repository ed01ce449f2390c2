"""Run by `test_hostile`: kills writers with SIGKILL before each of their file operations in turn.

Usage: ``killed.py FOLDER``, where FOLDER does not exist. After each kill a reader must find the old or the
new bundle, and the next writer must succeed and leave nothing behind. Prints how many kills there were.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def parts(card: str) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("parts", Path(__file__).parents[1] / "conftest.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {**module.parts(), "card": card}


def write_until_killed(folder: Path, card: str, last: int) -> bool:
    """Writes in a child that dies before its ``last``-th file operation; whether it died."""
    from headstart.exporters import bundle as bundles

    given = parts(card)
    child = os.fork()
    if child == 0:
        left = last

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == "open" or event.startswith(("os.", "shutil.")):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        bundles.write(folder, **given)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def main(folder: Path) -> None:
    from headstart.errors import BundleRefused
    from headstart.exporters import bundle as bundles

    os.fsync = lambda descriptor: None  # a killed process loses nothing that the system already has
    kills, seen = 0, {"none": 0, "old": 0, "new": 0}
    for old in (None, "old"):
        for last in range(1, 1000):
            if old:
                bundles.write(folder, **parts(old))
            else:
                for left in (folder, folder.with_name(f".{folder.name}.headstart-new")):
                    for path in left.iterdir() if left.exists() else ():
                        path.unlink()
                    left.rmdir() if left.exists() else None
            died = write_until_killed(folder, "new", last)
            try:
                found = bundles.read(folder).files["README.md"].decode()
            except BundleRefused:
                assert old is None, "the old bundle is lost"
                found = "none"
            assert found in {"new", old or "none"}
            if not died:
                assert found == "new"
                break
            kills, seen[found] = kills + 1, seen[found] + 1
            bundles.write(folder, **parts("next"))
            assert bundles.read(folder).files["README.md"] == b"next"
            assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        else:
            raise SystemExit("the writer never came to its end")
    print(json.dumps({"kills": kills, **seen}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
