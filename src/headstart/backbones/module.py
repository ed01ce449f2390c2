"""Modules of a user's own as backbones: made known by Python code in this process, never read from data."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.backbones.base import Backbone, Stage
from headstart.errors import BundleRefused, UsageError
from headstart.types import InputSpec, Modality

if TYPE_CHECKING:
    from headstart.backbones.source import Source

__all__ = ["KNOWN", "Known", "ModuleBackbone", "Preprocess", "build", "known", "make_known"]

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

Preprocess = Callable[[Sequence[Any]], Any]
"""N PIL images or texts -> the batch that the module takes."""


@dataclass
class Known:
    """A module that a user's program made known."""

    module: nn.Module
    dim: int
    preprocess: Preprocess | None
    """None: the standard preprocessing of the source's card."""
    source: Source | None = None

    def held(self, source: Source) -> Source:
        """Keeps the source for who asks by its name."""
        self.source = source
        return source


KNOWN: dict[str, Known] = {}
"""Name -> module, of this process only: the one way in is `Source.from_module`."""


class ModuleBackbone(Backbone):
    """A user's module, whose output is the embedding: one stage."""

    reentrant = False  # a module may keep what passes through it, as hooks do

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The module, whole: the order of its parts is not known."""
        return (Stage("module", self.model),)

    def pool(self, state: Any) -> Tensor:
        """The module's output, ``(N, dim)``.

        Raises:
            UsageError: If it is of another shape.
        """
        shape = getattr(state, "shape", None)
        if shape is None or len(shape) != 2 or shape[1] != self.dim:
            said = "no tensor" if shape is None else f"the shape {tuple(shape)}"
            raise UsageError(f"the module must give embeddings of the shape (N, {self.dim}); it gave {said}")
        return state  # type: ignore[no-any-return]


def known(name: Any) -> Known:
    """What this process knows by a name.

    Raises:
        BundleRefused: If it knows no such module.
    """
    if name not in KNOWN:
        raise BundleRefused(
            f"this model stands on a module of its maker's own, {name!r}, which is not part of the data. In Python, "
            f"make the same module known first: headstart.Source.from_module(module, preprocess, name={name!r})"
        )
    return KNOWN[name]


def make_known(
    module: nn.Module, preprocess: Preprocess | InputSpec, name: str, modality: Modality, size: int
) -> Known:
    """Keeps a copy of a module under a name; see `Source.from_module`.

    Raises:
        UsageError: If the name is none, texts come without a function, or the output is of another shape.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"the name must be of up to 100 letters, digits, '_', '.' and '-'; it is {name!r}")
    kept = copy.deepcopy(module).cpu().eval()
    own = None if isinstance(preprocess, InputSpec) else preprocess
    if own is None and modality != "image":
        raise UsageError("an InputSpec describes images; for texts, preprocess must be a function")
    with torch.inference_mode():
        given = kept(_sample(own, modality, preprocess.size if isinstance(preprocess, InputSpec) else size))
    if getattr(given, "ndim", 0) != 2:
        shape = tuple(getattr(given, "shape", ()))
        raise UsageError(f"the module must give embeddings of the shape (N, D); for one example it gave {shape}")
    KNOWN[name] = Known(kept, int(given.shape[1]), own)
    return KNOWN[name]


def _sample(own: Preprocess | None, modality: Modality, size: int) -> Any:
    """The batch of one made-up example."""
    from PIL import Image

    if own is None:
        return torch.zeros(1, 3, size, size)
    return own([Image.new("RGB", (size, size), (120, 130, 140)) if modality == "image" else "one text"])


def build(name: str) -> ModuleBackbone:
    """The module known as ``name``, its parameters drawn anew.

    What has ``reset_parameters`` draws as it does; a bare parameter of another module is drawn
    from a normal distribution of deviation 0.02.

    Raises:
        BundleRefused: If this process knows no such module.
    """
    found = known(name)
    model = copy.deepcopy(found.module)
    for part in model.modules():
        if callable(reset := getattr(part, "reset_parameters", None)):
            reset()
        else:
            for parameter in part.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
    return ModuleBackbone(model, found.dim)
