from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import __version__
from headstart.errors import BundleRefused
from headstart.exporters import bundle as bundles
from headstart.exporters.bundle import rules
from headstart.store import sha256_file

Resign = Callable[[Path], None]


def refused(folder: Path, said: str) -> None:
    begin = time.process_time()
    with pytest.raises(BundleRefused, match=said) as refusal:
        bundles.check(folder)
    assert time.process_time() - begin < 1
    assert refusal.value.exit_code == 4
    assert str(refusal.value).startswith(f"the bundle {folder} was refused: ")
    assert str(refusal.value).isprintable()


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


# --- what is read --------------------------------------------------------------------------


def test_read_gives_back_what_was_written(folder: Path, valid: dict[str, Any]) -> None:
    bundle = bundles.read(folder)
    assert bundle.config == {**valid["config"], "headstart": {"schema": 1, "version": __version__}}
    assert bundle.labels == ("ant", "bee", "code", "import")
    assert bundle.assets == {"tokenizer.json": b'{"version": "1.0"}', "receipt.json": bundle.files["receipt.json"]}
    assert bundle.document("receipt.json") == {"verdict": "helped", "p": 0.5, "none": None, "n": 3}
    assert bundle.document("ledger.json") == {}
    assert {name: value.tolist() for name, value in bundles.golden(bundle).items()} == {
        name: value.tolist() for name, value in valid["golden"].items()
    }
    assert len(repr(bundle)) < 5000


def test_tensors_are_private_and_writable(folder: Path) -> None:
    bundle = bundles.read(folder)
    first, second = bundles.tensors(bundle), bundles.tensors(bundle)
    first["head.bias"].add_(1)
    assert second["head.bias"].sum() == 0
    assert bundles.tensors(bundle)["head.bias"].sum() == 0


def test_summary_counts(folder: Path) -> None:
    facts = bundles.summary(bundles.read(folder))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["parameters"] == 30 * 8 + 4 * 8 + 4
    assert facts["tensors"] == 4
    assert facts["labels"] == ["ant", "bee", "code", "import"]
    assert facts["licence"] == "MIT"
    assert facts["weights_sha256"] == sha256_file(folder / "model.safetensors")
    assert facts["bytes"] == sum(path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json")
    assert {entry["name"] for entry in facts["files"]} == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_inspecting_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.exporters import bundle;"
        f"bundle.summary(bundle.read(Path({str(folder)!r}))); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert bundles.read(tmp_path / "link").labels == bundles.read(folder).labels


# --- the folder ----------------------------------------------------------------------------


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", "not a folder")
    (tmp_path / "file").write_bytes(b"PK")
    refused(tmp_path / "file", "not a folder")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "leads nowhere")
    refused(tmp_path, "does not belong|missing|link")


@pytest.mark.parametrize("name", rules.CORE)
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, f"{name} missing")


def test_listed_but_missing(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    refused(folder, "tokenizer.json is listed in manifest.json and missing")


def test_unlisted(folder: Path, resign: Resign) -> None:
    (folder / "ledger.json").write_text("{}")
    refused(folder, "ledger.json not listed")
    resign(folder)
    bundles.check(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pytorch_model.bin", "can run code"),
        ("model.pt", "can run code"),
        ("MODEL.PTH", "can run code"),
        ("head.pkl", "can run code"),
        ("modeling.py", "does not belong"),
        ("notes.txt", "does not belong"),
        ("vocab.json", "does not belong"),
        ("Config.json", "upper and lower case"),
        (".gitattributes", "not plain"),
        ("a\\..\\b", "not plain"),
        ("bell\x07", "not plain"),
    ],
)
def test_strange_files_listed_or_not(folder: Path, resign: Resign, name: str, said: str) -> None:
    (folder / name).write_bytes(b"")
    refused(folder, said)
    resign(folder)
    refused(folder, said)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("README.md"), "a link"),
        (lambda path: path.symlink_to("/etc/passwd"), "a link"),
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "a special file"),
    ],
)
@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_only_regular_files(folder: Path, make: Callable[[Path], None], said: str, name: str) -> None:
    (folder / name).unlink()
    make(folder / name)
    refused(folder, said)


def test_a_link_to_the_true_content_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(folder, "a link")


# --- the manifest --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format=2), "format 2; this version reads 1"),
        (lambda m: m.update(format=True), "format True"),
        (lambda m: m.update(more=1), "nothing else"),
        (lambda m: m.update(files=[]), "must hold 'format' and 'files'"),
        (lambda m: m["files"].update({"../evil": {"sha256": "0" * 64, "size": 1}}), "'../evil', which does not belong"),
        (lambda m: m["files"].update({"/etc/passwd": {"sha256": "0" * 64, "size": 1}}), "'/etc/passwd'"),
        (lambda m: m["files"].update({"..\\evil": {"sha256": "0" * 64, "size": 1}}), "does not belong"),
        (lambda m: m["files"].update({"manifest.json": {"sha256": "0" * 64, "size": 1}}), "does not belong"),
        (lambda m: m["files"].update({"model.bin": {"sha256": "0" * 64, "size": 1}}), "does not belong"),
        (lambda m: m["files"]["README.md"].update(sha256="0" * 64), "README.md was changed or damaged"),
        (lambda m: m["files"]["README.md"].update(sha256="0" * 63), "no valid sha256"),
        (lambda m: m["files"]["README.md"].update(sha256=None), "no valid sha256"),
        (lambda m: m["files"]["README.md"].update(size=-1), "no valid sha256 and size"),
        (lambda m: m["files"]["README.md"].update(size=True), "no valid sha256 and size"),
        (lambda m: m["files"]["README.md"].update(size=10**18), "README.md has 9 bytes, manifest.json says"),
        (lambda m: m["files"]["README.md"].update(url="x"), "nothing else"),
        (lambda m: m["files"].update({"README.md": 3}), "nothing else"),
        (lambda m: m["files"].pop("config.json"), "config.json not listed"),
    ],
)
def test_manifest(folder: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    edit(folder / "manifest.json", change)
    refused(folder, said)


def test_manifest_too_large(folder: Path) -> None:
    with (folder / "manifest.json").open("ab") as stream:
        stream.write(b" " * 100_000)
    refused(folder, "at most 100,000")


def test_changed_content(folder: Path) -> None:
    (folder / "README.md").write_bytes(b"# B card\n")
    refused(folder, "README.md was changed or damaged: its SHA-256")
    (folder / "README.md").write_bytes(b"# A card, longer\n")
    refused(folder, "README.md has 17 bytes, manifest.json says 9")


# --- contents of a bundle whose manifest fits ----------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "receipt.json", "manifest.json"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "a": 1}', "more than once"),
        (b'{"a": NaN}', "not finite"),
        (b'{"a": ' + b"[" * 500, "deeper"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "64 bits"),
        (b"nothing", "not JSON"),
        (b"[1]", "not a JSON object"),
    ],
)
def test_bad_json(folder: Path, resign: Resign, name: str, text: bytes, said: str) -> None:
    (folder / name).write_bytes(text)
    if name != "manifest.json":
        resign(folder)
    refused(folder, said)


def test_large_json(folder: Path, resign: Resign) -> None:
    (folder / "tokenizer.json").write_bytes(b'{"a": "' + b"x" * 32_000_000 + b'"}')
    resign(folder)
    refused(folder, "tokenizer.json has 32,000,009 bytes; at most 32,000,000")


def test_bad_config(folder: Path, resign: Resign) -> None:
    edit(folder / "config.json", lambda config: config.update(auto_map={"AutoModel": "evil.Model"}))
    resign(folder)
    refused(folder, "names code to run at auto_map")


def rewritten(folder: Path, name: str, change: Callable[[dict[str, Any]], Any], body: Callable[[bytes], bytes]) -> None:
    data = (folder / name).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + body(data[8 + length :]))


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
@pytest.mark.parametrize(
    ("change", "body", "said"),
    [
        (lambda h: None, lambda b: b[:-1], "lacks 1 bytes"),
        (lambda h: None, lambda b: b + b"\0", "of no tensor"),
        (lambda h: h.update(evil={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}), lambda b: b, "overlaps"),
        (lambda h: h.update(evil={"dtype": "O8", "shape": [0], "data_offsets": [0, 0]}), lambda b: b, "'O8'"),
        (lambda h: h.update({"a\x1b": h[min(h)]}), lambda b: b, "names a tensor"),
        (lambda h: h.update(__metadata__={"x": ["y"]}), lambda b: b, "__metadata__"),
        (lambda h: h.update(__metadata__={"x": "y" * 1_000_000}), lambda b: b, "at most 1,000,000"),
        (lambda h: h.clear(), lambda b: b"", "holds no tensor"),
    ],
)
def test_bad_tensor_files(
    folder: Path, resign: Resign, name: str, change: Callable[[Any], Any], body: Callable[[bytes], bytes], said: str
) -> None:
    rewritten(folder, name, change, body)
    resign(folder)
    refused(folder, said)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_non_finite(folder: Path, resign: Resign, name: str, value: float) -> None:
    data = (folder / name).read_bytes()
    first = 8 + int.from_bytes(data[:8], "little")
    place = first if name.startswith("golden") else len(data) - 4
    (folder / name).write_bytes(data[:place] + np.float32(value).tobytes() + data[place + 4 :])
    resign(folder)
    refused(folder, f"tensor .* of {name} holds NaN, infinity")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda golden: golden.pop("logits"), "must hold logits"),
        (lambda golden: golden.update(logits=np.ones((2, 3), np.float32)), r"shape \(1 .. 1000, 4\)"),
        (lambda golden: golden.update(logits=np.ones((2, 4), np.float64)), "must hold logits, F32"),
        (lambda golden: golden.update(logits=np.ones((0, 4), np.float32)), "must hold logits"),
        (lambda golden: golden.update(logits=np.ones((1001, 4), np.float32)), "must hold logits"),
        (lambda golden: golden.update(logits=np.ones((1, 4), np.float32)), "nothing else"),
        (lambda golden: golden.pop("text.1"), "text.0 .. text.1 and nothing else"),
        (lambda golden: golden.update(pixels=np.ones(3, np.uint8)), "nothing else"),
        (lambda golden: golden.update({"text.1": np.ones(3, np.int64)}), "U8 of one dimension"),
        (lambda golden: golden.update({"text.1": np.ones((3, 1), np.uint8)}), "U8 of one dimension"),
        (lambda golden: golden.update({"text.1": np.full(3, 255, np.uint8)}), "not UTF-8"),
    ],
)
def test_golden_form(tmp_path: Path, valid: dict[str, Any], change: Callable[[dict[str, Any]], Any], said: str) -> None:
    change(valid["golden"])
    with pytest.raises(BundleRefused, match=said):
        bundles.write(tmp_path / "b", **valid)
    assert not list(tmp_path.iterdir())


def test_golden_images(tmp_path: Path, valid: dict[str, Any]) -> None:
    valid["config"].update(modality="image", preprocessing={"size": 8, "mean": [0.5], "std": [0.5]})
    valid["golden"] = {"logits": np.ones((2, 4), np.float32), "pixels": np.zeros((2, 8, 8, 3), np.uint8)}
    bundles.write(tmp_path / "b", **valid)
    valid["golden"]["pixels"] = np.zeros((2, 8, 9, 3), np.uint8)
    with pytest.raises(BundleRefused, match=r"U8 of shape \(2, 8, 8, 3\)"):
        bundles.write(tmp_path / "b", **valid)


# --- time ----------------------------------------------------------------------------------


def test_twenty_megabytes_are_refused_within_a_second(tmp_path: Path, valid: dict[str, Any], resign: Resign) -> None:
    valid["tensors"]["backbone.large"] = np.ones(5_000_000, np.float32)
    folder = bundles.write(tmp_path / "large", **valid)
    bundles.check(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-4:] = np.float32(np.nan).tobytes()
    (folder / "model.safetensors").write_bytes(weights)
    refused(folder, "model.safetensors was changed")
    resign(folder)
    refused(folder, "holds NaN")
