"""Runs ``headstart fit`` with a checkpoint after every step, and kills itself where it is told to.

Arguments: ``write N`` (inside the N-th write, with half of the file on disk) or ``never 0``, then those of the
command line.
On success the number of writes is the last line on stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from headstart import checkpoint, store
from headstart.cli import main

kind, number, *arguments = sys.argv[1:]
count, sync = [0], store._sync


def dying(path: Path) -> None:
    if path.is_file():
        count[0] += 1
        if kind == "write" and count[0] == int(number):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    sync(path)


if __name__ == "__main__":
    store._sync = dying
    checkpoint.SECONDS = 0.0
    code = main(arguments)
    print(count[0], file=sys.stderr)
    sys.exit(code)
