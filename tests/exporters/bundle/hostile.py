"""Run by `test_hostile`: breaks a bundle in many ways and reads each of them, watched by an audit hook.

Usage: ``hostile.py FOLDER COUNT``. Prints how often a broken bundle was refused and how often it was read.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

FORBIDDEN = (
    "exec",
    "compile",
    "import",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
)
FORBIDDEN += ("socket.", "pickle.", "marshal.", "ctypes.", "code.", "os.remove", "os.rename", "os.mkdir", "shutil.")
TOKENS = (
    b"NaN",
    b"-1",
    b"1e999",
    b"[[[[",
    b'"a":',
    b"null",
    b"{}",
    b"true",
    b"\xff",
    b"\x00",
    b"9" * 30,
    b"/../",
    b"0",
)
TOKENS += (b'"auto_map":1,', b"\xe2\x80\xae", b"\x00\x00\xc0\x7f", b"\x80\x7f", b" ")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SECONDS = 1.0


class Watch:
    """Raises at what reading data must never do; nothing can remove an audit hook, so it is switched."""

    def __init__(self) -> None:
        self.on = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if writes or event.startswith(FORBIDDEN):
            os.write(2, f"while reading a bundle: {event} {arguments!r}\n".encode())
            os._exit(3)


def mutated(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    end = min(len(data), place + rng.choice((1, 1, 4, 8, 64)))
    return rng.choice(
        (
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :],
            data[:place],
            data[:place] + data[end:],
            data[:place] + rng.choice(TOKENS) + data[place:],
            data[:place] + rng.choice(TOKENS) + data[end:],
            data[:place] + rng.randbytes(end - place) + data[end:],
            data + data[place:end],
        )
    )


def main(folder: Path, count: int) -> None:
    from headstart.errors import BundleRefused
    from headstart.exporters import bundle as bundles

    watch, rng, tally = Watch(), random.Random(0), {"refused": 0, "read": 0, "read unsigned": 0}
    original = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    bundles.summary(bundles.read(folder))
    bundles.tensors(bundles.read(folder))
    for turn in range(count):
        name = rng.choice(list(original))
        data = mutated(original[name], rng)
        signed = bool(turn % 2) and name != "manifest.json"
        (folder / name).write_bytes(data)
        if signed:
            files = json.loads(original["manifest.json"])
            files["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            (folder / "manifest.json").write_text(json.dumps(files))
        begin = time.process_time()
        watch.on = True
        try:
            bundle = bundles.read(folder)
            bundles.summary(bundle)
            bundles.tensors(bundle)
            bundles.golden(bundle)
            tally["read"] += 1
            tally["read unsigned"] += data != original[name] and not signed and name != "manifest.json"
        except BundleRefused:
            tally["refused"] += 1
        finally:
            watch.on = False
        if time.process_time() - begin > SECONDS:
            raise SystemExit(f"turn {turn} took {time.process_time() - begin:.1f} s")
        for changed in {name, "manifest.json"}:
            (folder / changed).write_bytes(original[changed])
    print(json.dumps(tally))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
