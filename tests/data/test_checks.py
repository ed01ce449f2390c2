from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.checks import usable
from headstart.data.images import UnreadableImage
from headstart.data.rows import Rows
from headstart.errors import DataError

Photo = Callable[..., Path]


def rows(modality: str, inputs: list[object]) -> Rows:
    names = [f"row {number}" for number in range(1, len(inputs) + 1)]
    return Rows(modality, inputs, names, list(range(len(inputs))))  # type: ignore[arg-type]


def test_empty_texts_go_with_their_labels() -> None:
    kept, digests = usable(rows("text", ["a", "", " \n", None, math.nan, 7, "b\ud800"]))
    assert kept.inputs == ["a", "7", "b\ufffd\ufffd\ufffd"]
    assert kept.ids == ["row 1", "row 6", "row 7"]
    assert kept.labels == [0, 5, 6]
    assert [(item.id, item.reason) for item in kept.excluded] == [(f"row {n}", "empty text") for n in (2, 3, 4, 5)]
    assert digests[0] == hashlib.sha256(b"a").hexdigest()[:32]


def test_equal_content_has_equal_digests(tmp_path: Path, photo: Photo) -> None:
    paths = [photo(tmp_path / f"{number}.png", number % 2) for number in range(4)]
    _, digests = usable(rows("image", list(paths)))
    assert digests[0] == digests[2] != digests[1] == digests[3]


def test_ten_corrupt_files_are_each_named(tmp_path: Path, photo: Photo) -> None:
    good = photo(tmp_path / "good.png")
    jpeg, png = photo(tmp_path / "cut.jpg", size=(99, 99)), photo(tmp_path / "cut.png", size=(99, 99))
    for path in (jpeg, png):
        path.write_bytes(path.read_bytes()[:-500])
    flipped = photo(tmp_path / "flipped.png", size=(99, 99))
    data = bytearray(flipped.read_bytes())
    data[500] ^= 255
    flipped.write_bytes(data)
    for name, content in {
        "empty.png": b"",
        "text.png": b"not a picture at all",
        "vector.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zeros.jpg": bytes(1000),
        "head.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    bad = sorted(path for path in tmp_path.iterdir() if path != good)
    assert len(bad) == 11
    kept, digests = usable(rows("image", [*bad, good, tmp_path / "missing.png"]))
    assert kept.inputs == [good]
    assert kept.labels == [11]
    assert len(digests) == 1
    assert [item.id for item in kept.excluded] == [f"row {number}" for number in (*range(1, 12), 13)]
    assert all(item.reason for item in kept.excluded)


def test_what_readers_could_not_turn_into_an_image() -> None:
    image = Image.new("RGB", (3, 3))
    kept, _ = usable(rows("image", [None, UnreadableImage("why"), image, np.zeros((3, 3, 3), np.uint8)]))
    assert [(item.id, item.reason) for item in kept.excluded] == [("row 1", "no image"), ("row 2", "why")]
    assert kept.inputs[0] is image


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    missing: list[object] = [tmp_path / f"{number}.png" for number in range(9)]
    with pytest.raises(DataError, match=r"none of the 9 examples can be used\. row 1: file does not exist; row 2"):
        usable(rows("image", missing))


def test_thousands_of_small_files_take_no_time(tmp_path: Path, photo: Photo) -> None:
    paths = [photo(tmp_path / f"{number}.png", number, size=(32, 32)) for number in range(400)]
    started = time.perf_counter()
    usable(rows("image", list(paths)))
    # 2,400 of them should take under 1.5 s; a busy machine is given ten times as long
    assert time.perf_counter() - started < 10 * 1.5 * 400 / 2400
