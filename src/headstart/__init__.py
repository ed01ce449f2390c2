"""Headstart: pick a pretrained source, transfer it, prove that it helped, ship the result."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "fit": "headstart.transfer",
    "rank": "headstart.transfer",
    "initialize": "headstart.initialization.engine",
    "embed": "headstart.inference",
    "load": "headstart.inference",
    "Source": "headstart.backbones.source",
    "TransferClassifier": "headstart.estimators",
    "TransferRegressor": "headstart.estimators",
}
__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that ``import headstart`` does no work."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'headstart' has no attribute '{name}'; public names: {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
