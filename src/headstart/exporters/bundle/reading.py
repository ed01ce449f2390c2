"""Reading a bundle: everything is checked before anything is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headstart.errors import BundleRefused
from headstart.exporters.bundle import rules, schema
from headstart.safety import (
    JSON_VALUES,
    TOKENIZER_VALUES,
    TensorInfo,
    listing,
    non_finite,
    opened,
    read_file,
    shown,
    strict_json,
    tensor_array,
    tensor_table,
)

if TYPE_CHECKING:
    import torch

__all__ = ["Bundle", "check", "golden", "read", "read_opened", "summary", "tensors"]

GOLDEN_LIMIT = 1_000
"""Most golden examples."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was checked; its bytes are the very ones that were checked."""

    folder: Path
    config: Mapping[str, Any]
    manifest: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    """Name -> bytes of every file but the manifest."""
    weights: Mapping[str, TensorInfo] = field(repr=False)
    """Name -> type, shape and place of every tensor in ``model.safetensors``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits; empty for regression."""
        names = self.config["id2label"]
        return tuple(names[str(index)] for index in range(len(names)))

    @property
    def assets(self) -> dict[str, bytes]:
        """The files beside the core ones, such as ``tokenizer.json``."""
        return {name: data for name, data in self.files.items() if name not in rules.CORE}

    def document(self, name: str) -> dict[str, Any]:
        """What a JSON file of the bundle holds, such as ``receipt.json``; empty where there is no such file."""
        return strict_json(self.files[name], name) if name in self.files else {}


def read(folder: Path) -> Bundle:
    """A bundle, once all of it has been checked; no tensor is made and nothing of it is run.

    Raises:
        BundleRefused: With the first rule that it breaks.
        ResourceError: If memory does not hold its files.
    """
    try:
        with opened(_standing(folder)) as descriptor:
            return read_opened(folder, descriptor)
    except BundleRefused as error:
        raise BundleRefused(
            f"the bundle {folder} was refused: {error}. Nothing of it was loaded; "
            "get it again from where it came from, or make it again with: headstart fit"
        ) from None


def check(folder: Path) -> None:
    """Refuses a folder that is not a whole and safe bundle.

    Raises:
        BundleRefused: As `read` does.
    """
    read(folder)


def _standing(folder: Path) -> Path:
    """The folder itself, or, in the instant it is replaced (or after a kill in it), the bundle that it replaces."""
    root = rules.resolved(folder)
    if root is None:
        raise BundleRefused("its path leads nowhere, or to the root of the file system")
    candidates = (root, rules.sibling(root, "old"), root)  # again: it may have been replaced between two looks
    return next((path for path in candidates if path.is_dir()), root)


def read_opened(folder: Path, descriptor: int) -> Bundle:
    """As `read`, of a folder that is open already; refusals do not name the folder."""
    sizes = listing(descriptor)
    rules.check_names(sizes)
    manifest = strict_json(read_file(descriptor, rules.MANIFEST, rules.FILES[rules.MANIFEST]), rules.MANIFEST)
    rules.check_manifest(manifest, sizes)
    files: dict[str, bytes] = {}
    for name in sorted(manifest["files"], key=lambda name: (sizes[name], name)):
        files[name] = read_file(descriptor, name, sizes[name])
        rules.check_sha256(name, files[name], manifest["files"][name]["sha256"])
    documents = {name: _document(name, data) for name, data in files.items() if name.endswith(".json")}
    schema.check_config(documents[rules.CONFIG])
    tables = {name: tensor_table(files[name], len(files[name]), name) for name in (rules.GOLDEN, rules.WEIGHTS)}
    for name, table in tables.items():
        _check_tensors(name, files[name], table)
    _check_golden(files[rules.GOLDEN], tables[rules.GOLDEN], documents[rules.CONFIG])
    return Bundle(folder, documents[rules.CONFIG], manifest, files, tables[rules.WEIGHTS])


def _document(name: str, data: bytes) -> dict[str, Any]:
    values = TOKENIZER_VALUES if name == "tokenizer.json" else JSON_VALUES
    return strict_json(data, name, rules.FILES[name], values)


def _check_tensors(name: str, data: bytes, table: Mapping[str, TensorInfo]) -> None:
    if not table:
        raise BundleRefused(f"{name} holds no tensor")
    for key, info in table.items():
        if non_finite(tensor_array(data, info), info.dtype):
            raise BundleRefused(f"tensor {shown(key)} of {name} holds NaN, infinity, or a bool other than 0 and 1")


def _check_golden(data: bytes, table: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> None:
    logits = table.get("logits")
    width = max(1, len(config["id2label"]))
    form = ("F32", (width,))
    if logits is None or (logits.dtype, logits.shape[1:]) != form or not 0 < logits.shape[0] <= GOLDEN_LIMIT:
        raise BundleRefused(f"{rules.GOLDEN} must hold logits, F32 of shape (1 .. {GOLDEN_LIMIT}, {width})")
    examples, side = logits.shape[0], config["preprocessing"].get("size", 0)
    image = config["modality"] == "image"
    wanted = ["pixels"] if image else [f"text.{index}" for index in range(examples)]
    if set(table) != {"logits", *wanted}:
        raise BundleRefused(f"{rules.GOLDEN} must hold logits and {wanted[0]} .. {wanted[-1]} and nothing else")
    for name in wanted:
        info = table[name]
        if info.dtype != "U8" or (info.shape != (examples, side, side, 3) if image else len(info.shape) != 1):
            shape = f"shape ({examples}, {side}, {side}, 3)" if image else "one dimension"
            raise BundleRefused(f"tensor {name} of {rules.GOLDEN} must be U8 of {shape}")
        _check_text(name, b"" if image else data[info.start : info.end])


def _check_text(name: str, data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise BundleRefused(f"tensor {name} of {rules.GOLDEN} is not UTF-8") from None


def tensors(bundle: Bundle) -> dict[str, torch.Tensor]:
    """The weights by name, each in memory of its own."""
    import torch

    data, found = bundle.files[rules.WEIGHTS], {}
    for name, info in bundle.weights.items():
        tensor = torch.from_numpy(tensor_array(data, info).copy())
        found[name] = tensor.view(torch.bfloat16) if info.dtype == "BF16" else tensor
    return found


def golden(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The golden inputs and predictions by name."""
    data = bundle.files[rules.GOLDEN]
    table = tensor_table(data, len(data), rules.GOLDEN)
    return {name: tensor_array(data, info).copy() for name, info in table.items()}


def summary(bundle: Bundle) -> dict[str, Any]:
    """Facts about a bundle as plain JSON, without importing torch: what ``headstart inspect`` shows."""
    config, files = bundle.config, bundle.manifest["files"]
    floating = [info for info in bundle.weights.values() if info.dtype in {"F16", "BF16", "F32", "F64"}]
    return {
        "folder": str(bundle.folder),
        "version": config["headstart"]["version"],
        "schema": config["headstart"]["schema"],
        **{key: value for key, value in config.items() if key not in {"headstart", *schema.MAPS}},
        "labels": list(bundle.labels),
        "licence": config["source"]["licence"],
        "parameters": sum(info.elements for info in floating),
        "tensors": len(bundle.weights),
        "weights_sha256": files[rules.WEIGHTS]["sha256"],
        "bytes": sum(entry["size"] for entry in files.values()),
        "files": [{"name": name, **files[name]} for name in sorted(files)],
    }
