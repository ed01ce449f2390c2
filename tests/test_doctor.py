"""The doctor finds what is wrong and says what to do."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headstart import doctor, runtime
from headstart.errors import UsageError


def finding(name: str) -> dict[str, Any]:
    return next(check for check in doctor.examine()["checks"] if check["check"] == name)


def test_a_healthy_installation_passes() -> None:
    found = doctor.examine()
    assert found["ok"] is True
    assert all(set(check) == {"check", "ok", "says"} and check["says"] for check in found["checks"])
    assert found["machine"]["threads"] == runtime.thread_count()
    assert found["versions"]["torch"] in next(c["says"] for c in found["checks"] if c["check"] == "package torch")
    assert json.loads(json.dumps(found)) == found


def test_a_cache_that_cannot_be_written_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    check = finding("cache folder")
    assert not check["ok"]
    assert "set HEADSTART_CACHE to a folder that can be written" in check["says"]
    assert doctor.examine()["ok"] is False


def test_a_cache_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "new"))
    assert finding("cache folder") == {"check": "cache folder", "ok": True, "says": str(tmp_path / "new")}
    assert not list((tmp_path / "new").iterdir())


def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1_500_000_000))
    assert finding("free disk") == {"check": "free disk", "ok": False, "says": "1.5 GB; 2 GB are wanted"}


def test_a_missing_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else find(name))
    assert finding("package scikit-image")["says"] == "missing: reinstall headstart"


def test_missing_sources_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "offers", list)
    assert finding("text sources") == {
        "check": "text sources",
        "ok": False,
        "says": "none: pip install 'headstart[sources]'",
    }


def test_a_torch_that_does_not_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def ones(*_: object, **__: object) -> None:
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("torch.ones", ones)
    check = finding("torch works")
    assert not check["ok"]
    assert check["says"] == "OSError: libcudart.so.13: cannot open shared object file"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_DEVICE", "abacus")
    runtime.device.cache_clear()
    with pytest.raises(UsageError, match="HEADSTART_DEVICE is 'abacus', which cannot be used here: .* Valid: cpu"):
        runtime.device()
    monkeypatch.setenv("HEADSTART_DEVICE", "cpu")
    assert runtime.device() == "cpu"
    runtime.device.cache_clear()
