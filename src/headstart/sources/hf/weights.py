"""The tensors of a model folder: what the files hold, which of them the backbone takes and why not the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import BundleRefused
from headstart.safety import TensorInfo, non_finite, shown, strict_json, tensor_array, tensor_table
from headstart.sources.hf.folder import ModelFolder
from headstart.store import fingerprint

__all__ = ["Naming", "Weights", "inventory", "naming"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")
LIMIT = 16 << 30
"""Most bytes of a file of weights."""
SHARDS = 64
PICKLES = (".bin", ".ckpt", ".h5", ".msgpack", ".onnx", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of weights in other formats, some of which can run code when they are opened."""

# --- the files ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """The tensors of a folder, not read yet."""

    folder: ModelFolder
    files: Mapping[str, str]
    """File -> its SHA-256."""
    tables: Mapping[str, Mapping[str, TensorInfo]]
    """File -> what its header says it holds."""

    @property
    def sha256(self) -> str:
        """The hash of the only file, or one over all of them."""
        hashes = list(self.files.values())
        return hashes[0] if len(hashes) == 1 else fingerprint(*hashes)

    @property
    def table(self) -> dict[str, TensorInfo]:
        """Every tensor of every file."""
        return {name: info for table in self.tables.values() for name, info in table.items()}

    def read(self, names: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
        """Tensors as float32 arrays.

        Args:
            names: Name that a tensor gets -> its name in the files.

        Raises:
            BundleRefused: If a file is not the one that was looked at, or a value is not finite.
        """
        wanted = {theirs: ours for ours, theirs in names.items()}
        found: dict[str, NDArray[np.float32]] = {}
        for file, sha256 in self.files.items():
            data = self.folder.read(file, LIMIT)
            if (actual := hashlib.sha256(data).hexdigest()) != sha256:
                raise BundleRefused(
                    f"{file} was changed or damaged: its SHA-256 is {actual[:16]}..., not {sha256[:16]}..."
                )
            for theirs, info in tensor_table(data, len(data), file).items():
                if theirs in wanted:
                    found[wanted[theirs]] = _floats(theirs, tensor_array(data, info), info.dtype, file)
        return {ours: found[ours] for ours in names}


def _floats(name: str, array: NDArray[np.generic], dtype: str, file: str) -> NDArray[np.float32]:
    if dtype not in ("F16", "BF16", "F32", "F64"):
        raise BundleRefused(f"tensor {shown(name)} of {file} is of type {dtype}; only floating point is read")
    if non_finite(array, dtype):
        raise BundleRefused(f"tensor {shown(name)} of {file} holds NaN or infinity")
    if dtype == "BF16":  # the upper half of a float32
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def inventory(folder: ModelFolder) -> Weights:
    """What a folder's safetensors files hold, from their headers.

    Raises:
        BundleRefused: If there are none, or a header or the index does not add up.
    """
    files = [WEIGHTS] if folder.has(WEIGHTS) else _shards(folder)
    tables = {}
    for file in files:
        head, size = folder.head(file)
        tables[file] = tensor_table(head, size, file)
    count = len({name for table in tables.values() for name in table})
    if count != sum(map(len, tables.values())):
        raise BundleRefused("two of its files hold a tensor of the same name")
    if len(files) > 1:
        _check_index(folder, tables)
    return Weights(folder, {file: folder.sha256(file) for file in files}, tables)


def _shards(folder: ModelFolder) -> list[str]:
    if not folder.has(INDEX):
        others = [name for name in folder.names() if name.lower().endswith(PICKLES)]
        found = f"; {shown(others[0])} is in another format, some of which run code when opened" if others else ""
        raise BundleRefused(f"it has no {WEIGHTS}{found}. Only safetensors are read")
    files = sorted(set(_index(folder).values()))
    if len(files) > SHARDS or not all(map(SHARD.fullmatch, files)):
        raise BundleRefused(f"{INDEX} must name 1 to {SHARDS} files like model-00001-of-00002.safetensors")
    return files


def _index(folder: ModelFolder) -> dict[str, str]:
    names = strict_json(folder.read(INDEX), INDEX).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(file, str) for file in names.values()):
        raise BundleRefused(f"{INDEX} has no weight_map of tensor names to files")
    return names


def _check_index(folder: ModelFolder, tables: Mapping[str, Mapping[str, TensorInfo]]) -> None:
    held = {name: file for file, table in tables.items() for name in table}
    if differing := sorted(set(held.items()) ^ set(_index(folder).items())):
        raise BundleRefused(f"{INDEX} and the files disagree about {shown(differing[0][0])}")


# --- the names ----------------------------------------------------------------------------------

PREFIXES: Mapping[str, str] = {
    "bert": "bert.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
    "camembert": "roberta.",
    "distilbert": "distilbert.",
    "mpnet": "mpnet.",
    "deberta": "deberta.",
    "deberta-v2": "deberta.",
    "modernbert": "model.",
    "vit": "vit.",
    "dinov2": "dinov2.",
    "dinov2_with_registers": "dinov2_with_registers.",
    "convnext": "convnext.",
    "convnextv2": "convnextv2.",
    "clip_vision_model": "vision_model.",
    "siglip_vision_model": "vision_model.",
}
"""Model type -> what stands before a backbone's names where a file holds a head too."""
HEADS: tuple[tuple[str, str], ...] = (
    ("classifier.", "head: a classifier"),
    ("pre_classifier.", "head: a classifier"),
    ("qa_outputs.", "head: question answering"),
    ("cls.", "head: language modelling"),
    ("lm_head.", "head: language modelling"),
    ("lm_predictions.", "head: language modelling"),
    ("mask_predictions.", "head: language modelling"),
    ("vocab_", "head: language modelling"),
    ("decoder.", "head: language modelling or decoding"),
    ("head.", "head: language modelling"),
    ("pooler.", "pooler: a layer after the embedding"),
    ("text_model.", "other tower: texts"),
    ("text_projection.", "other tower: texts"),
    ("visual_projection.", "projection: to the space shared with texts"),
    ("logit_scale", "scale of the training loss"),
    ("logit_bias", "scale of the training loss"),
)
"""What stands at the beginning of a name beside the backbone -> the rule that leaves it out."""
INSIDE: tuple[tuple[str, str], ...] = (
    ("pooler.", "pooler: a layer after the embedding"),
    ("embeddings.position_ids", "position numbers: they are no weights"),
)
"""The same within a backbone."""
MASK = ("embeddings.mask_token", "mask token: for training only")
POSITIONS = ("embeddings.position_embeddings.", "positions: this backbone knows distances only")
ATTENTION = tuple(
    (rf"\.attention\.attention\.{long}\.", f".attention.{long[0]}_proj.") for long in ("query", "key", "value")
)
DINO = (*ATTENTION, (r"\.attention\.output\.dense\.", ".attention.o_proj."))
RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "vit": (
        (r"^encoder\.layer\.", "layers."),
        *DINO,
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
    ),
    "dinov2": DINO,
    "dinov2_with_registers": DINO,
}
"""Model type -> names in published files as the library calls them today, in order: (pattern, replacement)."""
OLD = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))
"""How the first releases called the two parts of a normalisation."""


@dataclass(frozen=True)
class Naming:
    """Where each tensor of the backbone is in the files, and what is left of these."""

    names: Mapping[str, str]
    """Name in the backbone -> name in the files."""
    unused: Mapping[str, str]
    """Name in the files of what the backbone does without -> the rule that says so."""


def naming(table: Mapping[str, TensorInfo], kind: str, positions: bool = True) -> Naming:
    """Every tensor of the files, either under its name in the backbone or left out by a rule.

    Args:
        table: The tensors of the files.
        kind: Model type.
        positions: Whether the backbone adds absolute positions; some files hold their table for a head only.

    Raises:
        BundleRefused: If a tensor is explained by no rule, or two become one.
    """
    prefix = PREFIXES[kind] if any(name.startswith(PREFIXES[kind]) for name in table) else ""
    absent = (*INSIDE, *([MASK] if kind == "vit" else ()), *(() if positions else [POSITIONS]))
    names: dict[str, str] = {}
    unused: dict[str, str] = {}
    for theirs in sorted(table):
        if rule := _left_out(theirs, prefix, kind, absent):
            unused[theirs] = rule
            continue
        ours = _renamed(theirs.removeprefix(prefix), kind)
        if ours in names:
            raise BundleRefused(f"tensors {shown(theirs)} and {shown(names[ours])} are both {shown(ours)}")
        names[ours] = theirs
    return Naming(names, unused)


def _left_out(name: str, prefix: str, kind: str, absent: tuple[tuple[str, str], ...]) -> str | None:
    """The rule by which the backbone does without a tensor; None where it takes it."""
    if name.startswith(prefix):
        return next((rule for start, rule in absent if name.removeprefix(prefix).startswith(start)), None)
    rule = next((rule for start, rule in HEADS if name.startswith(start)), None)
    if rule is None:
        raise BundleRefused(f"its weights hold {shown(name)}, which is neither of the {kind} backbone nor a known head")
    return rule


def _renamed(name: str, kind: str) -> str:
    for pattern, replacement in (*RENAMED.get(kind, ()), *OLD):
        name = re.sub(pattern, replacement, name)
    return name
