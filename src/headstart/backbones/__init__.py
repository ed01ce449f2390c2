"""What every source becomes: ordered stages, a pooling, and an embedding of known width."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headstart.backbones.source import Source
from headstart.errors import BundleRefused
from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.backbones.base import Backbone

__all__ = ["FAMILIES", "Source", "build"]

FAMILIES = Registry(
    "architecture family",
    {
        "timm": "headstart.backbones.timm:build",
        "bert": "headstart.backbones.encoder:build",
        "static": "headstart.backbones.static:build",
        "module": "headstart.backbones.module:build",
        "text": "headstart.backbones.text:build",
        "vision": "headstart.backbones.vision:build",
    },
)


def build(architecture: Mapping[str, Any]) -> Backbone:
    """A backbone with untrained weights, from plain data.

    Args:
        architecture: ``{"family": NAME, ...}`` with the family's own settings.

    Raises:
        BundleRefused: If the family, a setting or its value is not one of ours; nothing of what
            the data name is ever imported or run.
    """
    settings = dict(architecture)
    family = settings.pop("family", None)
    if family not in FAMILIES:
        raise BundleRefused(f"unknown architecture family {family!r}. Valid: {', '.join(sorted(FAMILIES))}")
    builder = FAMILIES[family]
    try:
        inspect.signature(builder).bind(**settings)
    except TypeError as error:
        raise BundleRefused(f"the settings of architecture family '{family}' are wrong: {error}") from None
    return builder(**settings)  # type: ignore[no-any-return]
