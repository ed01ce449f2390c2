"""What every test shares: a cache of its own, no network, two threads, and two small data sets."""

from __future__ import annotations

import csv
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

THREADS = "2"
NOWHERE = "http://127.0.0.1:9"
"""A proxy that refuses; child processes are not reached by the patched sockets, but they obey this."""


def pytest_configure(config: pytest.Config) -> None:
    config.headstart_cache = tempfile.mkdtemp(prefix="headstart-tests-")  # type: ignore[attr-defined]
    for name in [name for name in os.environ if name.startswith(("HEADSTART_", "HF_", "HUGGINGFACE_"))]:
        del os.environ[name]
    os.environ.update(
        HEADSTART_CACHE=config.headstart_cache,  # type: ignore[attr-defined]
        HEADSTART_THREADS=THREADS,
        HEADSTART_PROOF="quick",  # tests of the scratch twin ask for it
        OMP_NUM_THREADS=THREADS,
        GOMP_SPINCOUNT="1000",
        HF_HOME=os.path.join(config.headstart_cache, "huggingface"),  # type: ignore[attr-defined]
        HF_HUB_OFFLINE="1",
        http_proxy=NOWHERE,
        https_proxy=NOWHERE,
        no_proxy="localhost,127.0.0.1,::1",
        NO_COLOR="1",
        HEADSTART_METHOD="probe",  # tuning takes minutes; tests that want it ask for it by name
        COLUMNS="120",
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.headstart_cache, ignore_errors=True)  # type: ignore[attr-defined]


def is_local(address: Any) -> bool:
    """Whether a socket's address stays on this machine: a Unix socket, localhost or a loopback number."""
    if not isinstance(address, tuple):
        return True
    host = address[0]
    if host in ("localhost", "", None):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fails a test that reaches out, whatever the code under test does with exceptions."""

    def guarded(original: Any, where: int) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            address = arguments[where]
            if not is_local(address if where else (address,)):
                pytest.fail(f"a test reached for the network: {address!r}", pytrace=True)
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), 1))
        patch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, 0))
        yield


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """A folder of class folders: 12 noisy 48-pixel photographs each of discs, squares and stripes.

    Classes differ in shape and in colour, so that every sensible model can learn them.
    """
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:48, :48]
    folder = tmp_path / "photos"
    for label, colour in {"disc": (200, 60, 50), "square": (60, 180, 70), "stripes": (60, 80, 200)}.items():
        (folder / label).mkdir(parents=True)
        for number in range(12):
            y, x, size = rng.integers(18, 30), rng.integers(18, 30), rng.integers(8, 15)
            shape = {
                "disc": (rows - y) ** 2 + (columns - x) ** 2 < size**2,
                "square": np.maximum(abs(rows - y), abs(columns - x)) < size,
                "stripes": (rows + y) // (size // 2) % 2 == 0,
            }[label]
            picture = np.where(shape[..., None], colour, 230) + rng.normal(0, 12, (48, 48, 3))
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / label / f"{label}{number:02}.png")
    return folder


@pytest.fixture
def topics_csv(tmp_path: Path) -> Path:
    """A table with the columns ``text`` and ``label``: 20 different short texts each of three topics."""
    openings = ["I think", "Yesterday", "Do you know whether", "Everyone says that", "They told me that"]
    endings = {
        "cooking": ["the soup needs salt", "dough rises overnight", "butter burns fast", "rice wants more water"],
        "football": ["the striker scored", "our keeper saved it", "the referee saw a foul", "they won on penalties"],
        "weather": ["it rains in the north", "the storm brought hail", "clouds hide the sun", "frost comes at night"],
    }
    texts = [(f"{first} {last}", label) for first in openings for label in endings for last in endings[label]]
    path = tmp_path / "topics.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *texts])
    return path
