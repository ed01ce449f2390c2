"""Models of the timm library without their classifier, cut into stages where their order is known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor, nn

from headstart._torchvision import make_importable
from headstart.backbones.base import Backbone, Chain, Stage
from headstart.errors import BundleRefused, UsageError

__all__ = ["TimmModel", "build"]

# --- settings: data that a card or bundle may give ----------------------------------------------

Check = Callable[[Any], bool]


def _number(low: float, high: float, *kinds: type) -> Check:
    return lambda value: type(value) in kinds and low <= value <= high


SETTINGS: Mapping[str, tuple[Check, str]] = {
    "pad_type": (lambda value: value in ("", "same"), "'' or 'same'"),
    "bn_eps": (_number(0, 1, int, float), "a number in 0 .. 1"),
    "img_size": (_number(8, 4096, int), "a whole number in 8 .. 4096"),
    "global_pool": (lambda value: value in ("avg", "max", "token", "map"), "avg, max, token or map"),
}
"""Builder settings that are allowed -> (what their value must be, in words)."""

# --- the order of stages, where it is known -----------------------------------------------------


class Known(NamedTuple):
    """How ``forward_features`` of a class passes through its parts."""

    stem: tuple[str, ...]
    """Parts that make the first stage, in the order of their calls."""
    body: tuple[str, ...]
    """Sequences of which each block is a stage."""
    tail: tuple[str, ...] = ()
    """Parts after the blocks; what only the pooling uses belongs to their stage."""


KNOWN: Mapping[str, Known] = {
    "convnext:ConvNeXt": Known(("stem",), ("stages",), ("norm_pre",)),
    "densenet:DenseNet": Known((), ("features",)),
    "efficientnet:EfficientNet": Known(("conv_stem", "bn1"), ("blocks",), ("conv_head", "bn2")),
    "mlp_mixer:MlpMixer": Known(("stem",), ("blocks",), ("norm",)),
    "mobilenetv3:MobileNetV3": Known(("conv_stem", "bn1"), ("blocks",)),
    "regnet:RegNet": Known(("stem",), ("s1", "s2", "s3", "s4"), ("final_conv",)),
    "resnet:ResNet": Known(("conv1", "bn1", "act1", "maxpool"), ("layer1", "layer2", "layer3", "layer4")),
    "resnetv2:ResNetV2": Known(("stem",), ("stages",), ("norm",)),
    "swin_transformer:SwinTransformer": Known(("patch_embed",), ("layers",), ("norm",)),
    "swin_transformer_v2:SwinTransformerV2": Known(("patch_embed",), ("layers",), ("norm",)),
    "vgg:VGG": Known((), ("features",)),
    "vision_transformer:VisionTransformer": Known(
        ("patch_embed", "_pos_embed", "patch_drop", "norm_pre"), ("blocks",), ("norm",)
    ),
}
"""Class in ``timm.models`` -> the order of its parts. A subclass counts while it keeps ``forward_features``."""


class _Held(nn.Module):
    """Parts and bare parameters of a model that make one stage; they stay the model's own."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name.replace(".", "_"), part)


class TimmModel(Backbone):
    """A timm model; a batch is ``(N, 3, H, W)``, normalised.

    Its stages hold every parameter exactly once, from the input to the output. `splits` tells
    whether they can also be run one after the other; where the order of a model's parts is not
    known they are timm's own groups for layer-wise learning rates, or a single stage.
    """

    @cached_property
    def known(self) -> Known | None:
        """The order of the model's parts; None where it is not known."""
        for kind in type(self.model).__mro__:
            found = KNOWN.get(f"{kind.__module__.rpartition('.')[2]}:{kind.__name__}")
            if found and kind.__module__.startswith("timm.models."):
                same = type(self.model).forward_features is kind.forward_features  # type: ignore[attr-defined]
                return found if same else None
        return None

    @property
    def splits(self) -> bool:  # type: ignore[override]
        """Whether `prefix` and `suffix` are there for every number of stages."""
        return self.known is not None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stem, each block, and the end; of an unknown order, timm's groups of parameters."""
        return tuple(self._ordered(self.known) if self.known else self._groups())

    def _ordered(self, known: Known) -> Iterator[Stage]:
        model: Any = self.model
        if known.stem:
            parts = [getattr(model, name) for name in known.stem]
            yield Stage("stem", _Held(self._parts(known.stem) | self._bare()), _chain(parts))
        for name in known.body:
            for index, block in getattr(model, name)._modules.items():
                yield Stage(f"{name}.{index}", block)
        end = [getattr(model, name) for name in known.tail]
        used = {*known.stem, *known.body, *known.tail}
        rest = {name: part for name, part in model.named_children() if name not in used}
        yield Stage("end", _Held(self._parts(known.tail) | rest), _chain(end))

    def _parts(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The named modules; a step such as ``_pos_embed`` is a function and owns nothing."""
        return {name: part for name in names if isinstance(part := getattr(self.model, name), nn.Module)}

    def _bare(self) -> dict[str, nn.Parameter]:
        """Parameters that no part owns, such as position embeddings."""
        return {name: value for name, value in self.model.named_parameters() if "." not in name}

    def _groups(self) -> Iterator[Stage]:
        from timm.models._manipulate import group_with_matcher

        named = dict(self.model.named_parameters())
        groups: Any = {0: list(named)}
        if hasattr(self.model, "group_matcher"):
            with contextlib.suppress(Exception):  # some models have a matcher that does not fit them
                groups = group_with_matcher(iter(named.items()), self.model.group_matcher(coarse=False))  # type: ignore[operator]
        for number, names in sorted(groups.items()):
            yield Stage(f"group.{number}", _Held({name: named[name] for name in names}))

    def prefix(self, k: int) -> Chain:
        """The first ``k`` stages.

        Raises:
            UsageError: If the model cannot be cut there; `splits` tells.
        """
        return super().prefix(k) if self.splits else Chain(self._uncut()[: self._all_or_none(k)])

    def suffix(self, k: int) -> Chain:
        """All after the first ``k`` stages.

        Raises:
            UsageError: If the model cannot be cut there; `splits` tells.
        """
        return super().suffix(k) if self.splits else Chain(self._uncut()[self._all_or_none(k) :], self.pool)

    def _uncut(self) -> tuple[Stage, ...]:
        return (Stage("features", self.model, self.model.forward_features),)  # type: ignore[arg-type]

    def _all_or_none(self, k: int) -> int:
        whole = len(self.stages)
        if k not in (0, whole):
            name = type(self.model).__name__
            raise UsageError(f"the order of a {name}'s parts is not known, so it cannot be cut at stage {k} of {whole}")
        return int(k > 0)

    def pool(self, state: Tensor) -> Tensor:
        """The library's own pooling, up to the classifier, ``(N, dim)``."""
        return self.model.forward_head(state, pre_logits=True)  # type: ignore[no-any-return,operator]

    def forward(self, batch: Tensor) -> Tensor:
        """The library's pooled features ``(N, dim)``."""
        return self.pool(self.model.forward_features(batch))  # type: ignore[operator]


def _chain(parts: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def apply(state: Any) -> Any:
        for part in parts:
            state = part(state)
        return state

    return apply


def build(name: str, **settings: Any) -> TimmModel:
    """The timm model ``name`` without its classifier.

    Raises:
        BundleRefused: If timm has no such model, it gives no single embedding, or a setting is not allowed.
    """
    make_importable()
    import timm

    if not isinstance(name, str) or ":" in name or "/" in name or not timm.is_model(name):
        raise BundleRefused(f"{name!r} is not a model that timm {timm.__version__} builds")
    for key, value in settings.items():
        fits, wanted = SETTINGS.get(key, (None, ""))
        if fits is None:
            raise BundleRefused(f"setting {key}={value!r} is not allowed for {name}. Allowed: {', '.join(SETTINGS)}")
        if not fits(value):
            raise BundleRefused(f"setting {key}={value!r} is not allowed for {name}: it must be {wanted}")
    try:
        model: Any = timm.create_model(name, pretrained=False, num_classes=0, **settings)
    except Exception as error:  # noqa: BLE001  its checks raise in many ways
        raise BundleRefused(f"timm cannot build {name} with {settings}: {error}") from None
    if not all(hasattr(model, part) for part in ("forward_features", "forward_head", "num_features")):
        raise BundleRefused(f"{name} has no pooled features in timm {timm.__version__}")
    return TimmModel(model, int(getattr(model, "head_hidden_size", None) or model.num_features))
