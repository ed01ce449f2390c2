"""The guards that the other tests rely on."""

from __future__ import annotations

import csv
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from headstart.runtime import offline, thread_count
from headstart.store import cache_folder


def test_a_test_that_reaches_out_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(pytest.fail.Exception, match="reached for the network"), socket.socket() as plain:
        plain.connect(("192.0.2.1", 80))
    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        socket.getaddrinfo("example.org", 443)


def test_loopback_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, timeout=5) as client:
            assert client.getpeername() == address


def test_tests_never_touch_the_users_cache() -> None:
    assert cache_folder() == Path(os.environ["HEADSTART_CACHE"])
    assert "headstart-tests-" in cache_folder().name
    assert offline()
    assert thread_count() == 2


def test_photo_folder_holds_readable_classes(photo_folder: Path) -> None:
    files = sorted(photo_folder.glob("*/*.png"))
    assert len(files) == 36
    assert {file.parent.name for file in files} == {"disc", "square", "stripes"}
    for file in files:
        with Image.open(file) as image:
            assert image.size == (48, 48)
    assert len({file.read_bytes() for file in files}) == 36


def test_topics_csv_holds_different_texts(topics_csv: Path) -> None:
    with topics_csv.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["text"] for row in rows}) == len(rows) == 60
    assert {row["label"] for row in rows} == {"cooking", "football", "weather"}
