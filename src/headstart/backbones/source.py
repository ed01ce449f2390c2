"""A source: its card, its tensors and its tokenizer, loaded when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headstart.errors import BundleRefused, listed
from headstart.runtime import calm_threads
from headstart.store import fingerprint
from headstart.types import InputSpec, Modality, SourceCard, SourceHead

if TYPE_CHECKING:
    from torch import nn

    from headstart.backbones.base import Backbone

__all__ = ["Source", "account"]


@dataclass(frozen=True)
class Source:
    """A pretrained model that can be loaded.

    Two sources with equal cards give equal embeddings, so the card's fields are the source's
    fingerprint.
    """

    card: SourceCard
    tensors: Callable[[], Mapping[str, NDArray[Any]]] = field(repr=False, compare=False)
    """Reads the backbone's tensors, float32 or whole numbers, under the names of `Backbone.model`.

    Their hash is checked first. As arrays they can be shipped without loading torch.
    """
    assets: Callable[[], Mapping[str, bytes]] = field(default=dict, repr=False, compare=False)
    """Reads further files of the source: ``tokenizer.json``."""
    unused: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Tensors of the source's files that no part of the backbone takes, such as a head -> the rule that says so."""
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Name in `Backbone.model` -> name in the source's files, where that is another."""
    head: Callable[[], SourceHead | None] = field(default=lambda: None, repr=False, compare=False)
    """Reads the classifier the source was trained with; None where it has none that is linear in the embedding."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the card."""
        return fingerprint(self.card)

    @property
    def name(self) -> str:
        """The name a user types."""
        return self.card.name

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        preprocess: Callable[[Sequence[Any]], Any] | InputSpec,
        *,
        name: str,
        modality: Modality = "image",
        size: int = 224,
        title: str = "",
        trained_on: str = "not said",
        licence: str = "not said",
    ) -> Source:
        """A module of yours as a source, in this process; it is copied.

        A bundle made from it holds its weights and no code: to load one, make the same module known first.

        Args:
            module: Takes a batch and gives embeddings (N, D) float.
            preprocess: Makes a batch of N PIL images (8-bit RGB) or texts; or how images are to be fed, as data.
            name: What the source ``module:NAME`` is called. Results are remembered under it and the weights,
                so another function needs another name.
            modality: ``image`` or ``text``.
            size: Side in pixels of the made-up images that a bundle is verified with.
            title: For people; else the name.
            trained_on: A fact of the card.
            licence: A fact of the card.

        Raises:
            UsageError: If the name is no name, or the module gives no embeddings (N, D).
        """
        from headstart.backbones.module import make_known

        kept = make_known(module, preprocess, name, modality, size)
        tensors = {key: value.numpy().copy() for key, value in kept.module.state_dict().items()}
        image = InputSpec(size=size, fixed=True) if modality == "image" else InputSpec(max_tokens=1_000_000)
        card = SourceCard(
            name=f"module:{name}",
            title=title or name,
            modality=modality,
            provider="module",
            parameters=sum(parameter.numel() for parameter in kept.module.parameters()),
            dim=kept.dim,
            layers=("last",),
            input=preprocess if isinstance(preprocess, InputSpec) else image,
            trained_on=trained_on,
            licence=licence,
            weights_sha256=fingerprint(tensors),
            architecture={"family": "module", "name": name},
        )
        return kept.held(cls(card, lambda: tensors))

    def __str__(self) -> str:
        """The name, so that a source can stand where its name does."""
        return self.name

    def renamed(self, name: str) -> Source:
        """The same source under the name that a user typed."""
        return replace(self, card=replace(self.card, name=name))

    def with_input(self, spec: InputSpec) -> Source:
        """The same weights fed in another way, for example smaller images."""
        return replace(self, card=replace(self.card, input=spec))

    def tuned(self, tensors: Mapping[str, NDArray[Any]]) -> Source:
        """The source after adapting: these backbone tensors in place of its own; itself where there are none."""
        if not tensors:
            return self
        card = replace(self.card, weights_sha256=fingerprint(self.card.weights_sha256, tensors))
        return replace(self, card=card, tensors=lambda: {**self.tensors(), **tensors}, head=lambda: None)

    def from_scratch(self, seed: int) -> Source:
        """The same architecture and preprocessing with the random weights of this seed: the scratch twin's start."""

        def untrained() -> Mapping[str, NDArray[Any]]:
            import torch

            from headstart.backbones import build

            with torch.random.fork_rng(devices=()):
                torch.manual_seed(seed)
                model = build(self.card.architecture).model
            return {name: tensor.numpy() for name, tensor in model.state_dict().items()}

        sha256 = fingerprint("from scratch", seed, self.card.architecture)
        card = replace(self.card, name=f"{self.name} from scratch", trained_on="nothing", weights_sha256=sha256)
        return replace(self, card=replace(card, prior=None, prior_name=""), tensors=untrained, head=lambda: None)

    def backbone(self) -> Backbone:
        """The backbone with the source's weights, in evaluation mode.

        Raises:
            BundleRefused: If one tensor of the architecture is missing, unexpected or of another shape.
        """
        calm_threads()
        import torch

        from headstart.backbones import build

        tensors = {name: torch.from_numpy(array.copy()) for name, array in self.tensors().items()}
        with torch.device("meta"):  # shapes only: what is refused never takes memory
            shapes = {name: tensor.shape for name, tensor in build(self.card.architecture).model.state_dict().items()}
        account(shapes, {name: tensor.shape for name, tensor in tensors.items()}, self.name)
        backbone = build(self.card.architecture)
        backbone.model.load_state_dict(tensors, strict=True)
        backbone.source_head = self.head
        return backbone.eval()


def account(target: Mapping[str, tuple[int, ...]], source: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Refuses tensors that do not match one to one, listing both sides.

    Raises:
        BundleRefused: With the first few missing, unexpected and misshapen tensors.
    """
    missing, extra = sorted(set(target) - set(source)), sorted(set(source) - set(target))
    misshapen = [
        f"{k} {tuple(source[k])} for {tuple(target[k])}"
        for k in target
        if k in source and tuple(source[k]) != tuple(target[k])
    ]
    if missing or extra or misshapen:
        sides = {"missing": missing, "unexpected": extra, "of another shape": misshapen}
        raise BundleRefused(f"the weights of '{name}' do not fit its architecture: {listed(sides)}")
