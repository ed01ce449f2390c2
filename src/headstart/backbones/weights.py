"""A safetensors file as arrays, read once and believed only where it adds up."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import BundleRefused
from headstart.safety import TensorInfo, non_finite, opened, read_file, shown, tensor_array, tensor_table

__all__ = ["read_weights"]

LIMIT = 64 << 30
"""Most bytes of a file of weights."""


def read_weights(path: Path, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """Every tensor of a file, in memory of its own: floating ones as float32, others as they are.

    Args:
        path: The file itself, no link.
        sha256: What its hash must be; it is compared before anything else is looked at.

    Raises:
        BundleRefused: If the file has another hash, is damaged, or holds a number that is not finite.
        ResourceError: If memory does not hold it.
    """
    with opened(path.parent) as folder:
        data = read_file(folder, path.name, LIMIT)
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise BundleRefused(f"{path} has sha256 {found}, expected {sha256}; it was not opened")
    tensors = {}
    for name, info in tensor_table(data, len(data), path.name).items():
        array = tensor_array(data, info)
        if non_finite(array, info.dtype):
            raise BundleRefused(f"tensor {shown(name)} of {path} holds NaN, infinity, or a bool other than 0 and 1")
        tensors[name] = _floating(array, info)
    return tensors


def _floating(array: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    if info.dtype == "BF16":
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if info.dtype in ("F16", "F32", "F64") else array.copy()
