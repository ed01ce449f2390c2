"""Building what our tables name from the transformers library; what it refuses is refused by us."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Generic, NamedTuple, TypeVar

from headstart._torchvision import make_importable
from headstart.errors import BundleRefused

__all__ = ["LibraryType", "configuration", "library_type", "module"]

Wrapper = TypeVar("Wrapper")


class LibraryType(NamedTuple, Generic[Wrapper]):
    """One model type of the library: its classes, and the backbone of ours that calls its layers."""

    config: str
    model: str
    backbone: type[Wrapper]
    options: Mapping[str, Any] = {}
    """What the model's class takes beside its configuration."""


def library_type(name: str, prefix: str, backbone: type[Wrapper], **options: Any) -> LibraryType[Wrapper]:
    """The type whose modules are called ``name`` and whose classes begin with ``prefix``."""
    place = f"transformers.models.{name}"
    config, model = f"{place}.configuration_{name}:{prefix}Config", f"{place}.modeling_{name}:{prefix}Model"
    return LibraryType(config, model, backbone, options)


def configuration(path: str, settings: Mapping[str, Any], what: str) -> Any:
    """A configuration of the class at ``path``, from settings that were checked by our own rules.

    Raises:
        BundleRefused: If the library finds that they do not fit together.
    """
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return _made(path, what, **plain)


def module(path: str, config: Any, options: Mapping[str, Any], what: str) -> Any:
    """A model of the class at ``path`` with untrained weights.

    Raises:
        BundleRefused: As `configuration`.
    """
    return _made(path, what, config=config, **options)


def _made(path: str, what: str, **arguments: Any) -> Any:
    make_importable()
    place, _, name = path.partition(":")
    made = getattr(import_module(place), name)
    try:
        return made(**arguments)
    except Exception as error:  # noqa: BLE001  its checks raise in many ways
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BundleRefused(f"the {what} settings do not fit together: {reason[-1].strip()}") from error
