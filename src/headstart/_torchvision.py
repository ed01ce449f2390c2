"""Lets a CUDA build of torchvision be imported beside a CPU build of torch.

timm and transformers import torchvision. Its wheel registers fake (shape-only) versions of two
operators that live in its compiled CUDA library; where that library cannot be loaded, the
operators do not exist and ``import torchvision`` fails. Declaring their two schemas first is
enough for the import. Headstart uses neither operator, so nothing is lost.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["make_importable"]

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def make_importable() -> Any:
    """Declares the operators if, and only if, ``import torchvision`` fails without them.

    Returns:
        The library object that holds the declarations (they live as long as it does), or None
        where torchvision imports by itself or is not installed.
    """
    import importlib.util
    import sys

    import torch

    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
