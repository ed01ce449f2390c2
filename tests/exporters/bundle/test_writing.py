from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.errors import BundleRefused, DataError, Diverged, ResourceError, UsageError
from headstart.exporters import EXPORTERS
from headstart.exporters import bundle as bundles
from headstart.exporters.bundle.rules import CORE

DTYPES = (
    torch.bfloat16, torch.float16, torch.float32, torch.float64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def equal_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return not one.numel() or torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


@st.composite
def finite_tensors(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    found = {}
    for index in range(draw(st.integers(1, 5))):
        dtype = draw(st.sampled_from(DTYPES))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        values = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 2**32)))) * 50
        tensor = (values > 0) if dtype == torch.bool else values.abs().to(dtype)
        found[f"t{index}.weight"] = tensor.transpose(0, -1) if len(shape) > 1 and draw(st.booleans()) else tensor
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(tensors=finite_tensors())
def test_round_trip_is_bit_identical(folder: Path, valid: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    bundles.write(folder, **{**valid, "tensors": tensors})
    found = bundles.tensors(bundles.read(folder))
    assert set(found) == set(tensors)
    assert all(equal_bits(found[name], tensors[name].contiguous()) for name in tensors)
    with safetensors.safe_open(folder / "model.safetensors", "pt") as reader:
        assert all(equal_bits(reader.get_tensor(name), found[name]) for name in tensors)
        assert reader.metadata() == {"format": "pt"}


def test_numpy_and_torch_write_the_same_bytes(tmp_path: Path, valid: dict[str, Any]) -> None:
    valid["tensors"]["big.endian"] = np.arange(4, dtype=">f4")
    one = bundles.write(tmp_path / "one", **valid)
    valid["tensors"] = {
        name: torch.from_numpy(value.astype(value.dtype.newbyteorder("="))).requires_grad_(value.dtype.kind == "f")
        for name, value in reversed(valid["tensors"].items())
    }
    valid["config"] = dict(reversed(valid["config"].items()))
    other = bundles.write(tmp_path / "other", **valid)
    assert contents(one) == contents(other)


def test_what_hugging_face_users_expect(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["id2label"] == {"0": "ant", "1": "bee", "2": "code", "3": "import"}
    assert config["label2id"] == {"ant": 0, "bee": 1, "code": 2, "import": 3}
    assert {"config.json", "model.safetensors", "README.md"} <= {path.name for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) & 0o500 == 0o500


def test_labels_stand_in_order_in_the_file(tmp_path: Path, valid: dict[str, Any]) -> None:
    labels = tuple(f"label {index}" for index in range(12))
    valid["config"].update(bundles.label_maps(labels))
    valid["golden"]["logits"] = np.ones((2, 12), np.float32)
    folder = bundles.write(tmp_path / "b", **valid)
    assert list(json.loads((folder / "config.json").read_text())["id2label"]) == list(map(str, range(12)))
    assert bundles.read(folder).labels == labels


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_no_bundle_holds_a_non_finite_weight(
    tmp_path: Path, valid: dict[str, Any], value: float, dtype: torch.dtype
) -> None:
    valid["tensors"]["head.bias"] = torch.tensor([0, value, 0, 0]).to(dtype)
    with pytest.raises(Diverged, match=r"tensor 'head.bias' for model.safetensors holds NaN"):
        bundles.write(tmp_path / "b", **valid)
    assert not list(tmp_path.iterdir())


def test_nor_a_non_finite_golden_value(tmp_path: Path, valid: dict[str, Any]) -> None:
    valid["golden"]["logits"][0, 0] = np.inf
    with pytest.raises(Diverged, match="logits"):
        bundles.write(tmp_path / "b", **valid)


def test_arguments_are_not_changed(tmp_path: Path, valid: dict[str, Any]) -> None:
    before = repr(valid)
    bundles.write(tmp_path / "b", **valid)
    assert repr(valid) == before


def test_what_a_reader_would_refuse_is_not_written(tmp_path: Path, folder: Path, valid: dict[str, Any]) -> None:
    before = contents(folder)
    for part, value, said in (
        ("config", {**valid["config"], "temperature": -1}, "temperature"),
        ("config", {**valid["config"], "temperature": float("nan")}, "config.json would hold a number"),
        ("config", {}, "lacks problem"),
        ("assets", {"../evil": b""}, "cannot hold '../evil'"),
        ("assets", {"evil.py": b""}, "cannot hold 'evil.py'"),
        ("assets", {"tokenizer.json": b"[]"}, "because it would be refused: tokenizer.json holds list"),
        ("assets", {"tokenizer.json": b" " * 32_000_001}, "because it would be refused: tokenizer.json has 32,000,001"),
        ("documents", {"other.json": {}}, "cannot hold 'other.json'"),
        ("tensors", {}, "holds no tensor"),
        ("tensors", {"a b": np.zeros(1)}, "names a tensor"),
    ):
        with pytest.raises(BundleRefused, match=said):
            bundles.write(folder, **{**valid, part: value})
    with pytest.raises(UsageError, match=r"complex64, which no bundle holds. Valid: BOOL"):
        bundles.write(folder, **{**valid, "tensors": {"a": np.zeros(1, np.complex64)}})
    valid["config"].update(bundles.label_maps(("ant", "bee", "code", "caf\udce9")))
    with pytest.raises(DataError, match=r"caf\\udce9.*rename"):
        bundles.write(folder, **valid)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# --- the folder ----------------------------------------------------------------------------


def test_replaces_a_bundle_and_fills_an_empty_folder(tmp_path: Path, folder: Path, valid: dict[str, Any]) -> None:
    del valid["assets"], valid["documents"]
    assert bundles.write(folder, **{**valid, "card": "# Another\n"}) == folder
    assert set(contents(folder)) == set(CORE)
    (tmp_path / "empty").mkdir()
    bundles.write(tmp_path / "empty", **valid)
    bundles.write(tmp_path / "new" / "deep", **valid)
    (tmp_path / "link").symlink_to(folder)
    bundles.write(tmp_path / "link", **valid)
    assert (tmp_path / "link").is_symlink()
    assert (folder / "README.md").read_text() == "# A card\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "empty", "link", "new"]


@pytest.mark.parametrize("held", [["notes.txt"], ["README.md"], ["manifest.json", "thesis.tex"], ["sub/file"]])
def test_never_replaces_anything_else(tmp_path: Path, valid: dict[str, Any], held: list[str]) -> None:
    folder = tmp_path / "precious"
    for name in held:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("work of years")
    with pytest.raises(UsageError, match="is not a bundle"):
        bundles.write(folder, **valid)
    assert all((folder / name).read_text() == "work of years" for name in held)


def test_places_that_cannot_be_written(tmp_path: Path, valid: dict[str, Any]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "loop", Path("/"), Path("/proc/none/b")):
        with pytest.raises(UsageError, match="Choose another folder"):
            bundles.write(path, **valid)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", range(1, 8))
def test_full_disk_keeps_the_old_bundle(
    folder: Path, valid: dict[str, Any], monkeypatch: pytest.MonkeyPatch, code: int, call: int
) -> None:
    before, calls, original = contents(folder), iter(range(1, 100)), os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(code, "full")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"bytes needed, [\d,]+ free"):
        bundles.write(folder, **{**valid, "card": "# Another\n"})
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_interrupt_between_the_renames_keeps_the_old_bundle(
    folder: Path, valid: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, original = contents(folder), Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith("-new"):
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bundles.write(folder, **{**valid, "card": "# Another\n"})
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_writers_take_turns(folder: Path, valid: dict[str, Any]) -> None:
    writer = threading.Thread(target=bundles.write, args=(folder,), kwargs={**valid, "card": "# Another\n"})
    descriptor = os.open(folder.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    assert bundles.read(folder).files["README.md"] == b"# A card\n"
    os.close(descriptor)
    writer.join()
    assert bundles.read(folder).files["README.md"] == b"# Another\n"


# --- the exporter --------------------------------------------------------------------------


def test_exporter_copies_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    exporter = EXPORTERS["bundle"]()
    out = exporter.export(bundles.read(folder), tmp_path / "copy")
    assert contents(out) == contents(folder)
    exporter.verify(out)
    (out / "README.md").write_text("x")
    with pytest.raises(BundleRefused):
        exporter.verify(out)
