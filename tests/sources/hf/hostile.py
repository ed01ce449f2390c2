"""Run by `test_hostile`: breaks model folders in many ways and uses each of them, watched by an audit hook.

Usage: ``hostile.py COUNT FOLDER ...``. Prints how often a broken folder was refused and how often it was read.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import time
from pathlib import Path
from types import ModuleType

SECONDS = 2.0


def bundles() -> ModuleType:
    """The watch and the mutations that broken bundles are tried with."""
    path = Path(__file__).parents[2] / "exporters" / "bundle" / "hostile.py"
    spec = importlib.util.spec_from_file_location("hostile_bundles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use(folder: Path) -> None:
    """All that is done with a source before its embeddings are used: reading, checking, building, one batch."""
    import torch
    from PIL import Image

    from headstart import sources
    from headstart.features import made
    from headstart.modalities import pipeline_of

    source = sources.resolve(str(folder))
    backbone, head = source.backbone(), source.head()
    inputs = ["a b c zebra"] if source.card.modality == "text" else [Image.new("RGB", (40, 30), "red")]
    with torch.inference_mode():
        for _, batch in map(made, pipeline_of(source).parts(inputs)):
            assert backbone(batch).shape[1] == source.card.dim
    assert head is None or head.weight.shape[1] == source.card.dim


def main(count: int, folders: list[Path]) -> None:
    from headstart.errors import BundleRefused

    tools = bundles()
    watch, rng, tally = tools.Watch(), random.Random(0), {"refused": 0, "read": 0}
    original = {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}
    for folder in folders:
        use(folder)
    for turn in range(count):
        path = rng.choice(list(original))
        folder = next(folder for folder in folders if path.is_relative_to(folder))
        path.write_bytes(tools.mutated(original[path], rng))
        begin = time.process_time()
        watch.on = True
        try:
            use(folder)
            tally["read"] += 1
        except BundleRefused:
            tally["refused"] += 1
        except BaseException:
            watch.on = False
            print(f"turn {turn}: {path.name} is now {path.read_bytes()[:2000]!r}", file=sys.stderr)
            raise
        finally:
            watch.on = False
            path.write_bytes(original[path])
        if time.process_time() - begin > SECONDS:
            raise SystemExit(f"turn {turn} took {time.process_time() - begin:.1f} s")
    print(json.dumps(tally))


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
