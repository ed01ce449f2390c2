"""Pretrained image models of the timm library, from the hub's cache, the hub or a folder; safetensors only."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.backbones import build
from headstart.backbones.classes import SETS, class_names
from headstart.backbones.source import Source
from headstart.backbones.weights import read_weights
from headstart.errors import BundleRefused, UsageError
from headstart.safety import JSON_LIMIT, opened, read_file, shown, strict_json
from headstart.sources import Offer
from headstart.store import sha256_file
from headstart.types import InputSpec, SourceCard, SourceHead

__all__ = ["TimmSources"]

SCHEME, SCRATCH = "timm:", "scratch:timm:"
FORM = re.compile(r"([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)?)(?:@([A-Za-z0-9][A-Za-z0-9_.-]{0,127}))?")
WEIGHTS, CONFIG = "model.safetensors", "config.json"
SAFE = {"open_clip_pytorch_model.bin": "open_clip_model.safetensors", "pytorch_model.bin": WEIGHTS}
"""What the hub calls the safetensors twin of a pickled file."""
BLOB = re.compile("[0-9a-f]{64}")
UNKNOWN = "not said"
TRAINED = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "inat21": "iNaturalist 2021",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "merged2b": "LAION-2B and COYO-700M",
    "openai": "OpenAI's 400 million captioned images",
    "webli": "WebLI",
    "yfcc100m": "YFCC-100M",
    "jft300m": "JFT-300M",
    "ig1b": "a billion Instagram images",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "datacompxl": "DataComp-XL",
}
"""Words in the tags of timm's weights -> what they say of the training data."""


class TimmSources:
    """The provider of ``timm:NAME``; timm's own tables say what there is, so nothing is listed here."""

    forms = (
        ("timm:NAME[@REVISION]", "a pretrained image model of timm, such as timm:resnet18.a1_in1k"),
        ("timm:FOLDER", "a folder with timm's config.json and model.safetensors"),
        ("scratch:timm:NAME", "the same architecture with random weights"),
    )

    def offers(self) -> Iterator[Offer]:
        """None: timm knows 1,800 sets of weights."""
        return iter(())

    def claims(self, name: str) -> bool:
        """Names that begin with ``timm:`` or ``scratch:timm:``."""
        return name.startswith((SCHEME, SCRATCH))

    def open(self, name: str) -> Source:
        """The source of this name.

        Raises:
            UsageError: If timm knows no such model, or its weights are not here and cannot be fetched.
            BundleRefused: If a file breaks a rule.
        """
        if name.startswith(SCRATCH):
            model = _known(name.removeprefix(SCRATCH))[0]
            source = Source(model.card(name, "", ""), dict).from_scratch(0)
            return source.renamed(name)
        target = name.removeprefix(SCHEME)
        if os.path.isdir(target):
            folder = Path(target).resolve()
            model, path, revision = _in_folder(folder), folder / WEIGHTS, ""
            if not path.is_file():
                raise BundleRefused(f"{folder} has no {WEIGHTS}; weights of other formats are not read")
        else:
            model, asked = _known(target)
            path, revision = _located(name, model.facts, asked)
        sha256 = path.name if BLOB.fullmatch(path.name) else sha256_file(path)
        return Source(
            model.card(name, sha256, revision),
            partial(model.tensors, path, sha256),
            head=partial(model.head, path, sha256),
            unused=dict.fromkeys(model.rest, "the source's own head"),
        )


@dataclass(frozen=True)
class _Model:
    """What is known of one set of timm's weights."""

    architecture: Mapping[str, Any]
    facts: Mapping[str, Any]
    """As timm's ``pretrained_cfg``."""

    @cached_property
    def _whole(self) -> Any:
        """The whole model, its classifier included, without memory for its weights."""
        return self._made()

    def _made(self, **options: Any) -> Any:
        import timm
        import torch

        settings = {key: value for key, value in self.architecture.items() if key not in ("family", "name")}
        with torch.device("cpu" if options else "meta"):
            return timm.create_model(
                self.architecture["name"], num_classes=self.facts["num_classes"], **{**settings, **options}
            )

    @cached_property
    def _backbone(self) -> Any:
        import torch

        with torch.device("meta"):
            return build(self.architecture)

    def check(self) -> None:
        """Refuses an architecture that is not allowed, before timm sees it."""
        _ = self._backbone

    @property
    def rest(self) -> list[str]:
        """Tensors of the whole model that are not the backbone's."""
        own = self._backbone.model.state_dict()
        return [name for name in self._whole.state_dict() if name not in own]

    def card(self, name: str, sha256: str, revision: str) -> SourceCard:
        """The card, from timm's facts."""
        own = self._backbone
        return SourceCard(
            name=name,
            title=str(self.architecture["name"]),
            modality="image",
            provider="timm",
            parameters=sum(tensor.numel() for tensor in own.parameters()),
            dim=own.dim,
            layers=own.layers,
            input=_spec(self.facts, name),
            trained_on=_trained_on(str(self.facts.get("tag") or "")),
            licence=str(self.facts.get("license") or UNKNOWN)[:200],
            weights_sha256=sha256,
            architecture=self.architecture,
            revision=revision,
        )

    def _read(self, path: Path, sha256: str) -> Mapping[str, NDArray[Any]]:
        """The whole model's tensors; those under names of another library are renamed by timm's own rules."""
        found = read_weights(path, sha256)
        if {k: v.shape for k, v in found.items()} == {k: tuple(v.shape) for k, v in self._whole.state_dict().items()}:
            return found
        import torch

        given = {name: torch.from_numpy(array) for name, array in found.items()}
        overlay = {"state_dict": given, "custom_load": False, "num_classes": self.facts["num_classes"]}
        try:
            model = self._made(pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # noqa: BLE001  its checks raise in many ways
            first = str(error).strip().partition("\n")[0]
            raise BundleRefused(f"{path} does not hold the weights of {self.architecture['name']}: {first}") from None
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    def tensors(self, path: Path, sha256: str) -> dict[str, NDArray[Any]]:
        """The backbone's tensors."""
        rest = set(self.rest)
        return {name: array for name, array in self._read(path, sha256).items() if name not in rest}

    def head(self, path: Path, sha256: str) -> SourceHead | None:
        """The classifier, where it is one linear map of the embedding."""
        from torch import nn

        classifier: Any = self._whole.get_classifier()
        if not isinstance(classifier, nn.Linear) or classifier.in_features != self._backbone.dim:
            return None
        place = next(name for name, module in self._whole.named_modules() if module is classifier)
        tensors, count = self._read(path, sha256), classifier.out_features
        bias = tensors.get(f"{place}.bias", np.zeros(count, np.float32))
        return SourceHead(tensors[f"{place}.weight"], bias, _classes(self.facts, count))


# --- what there is -------------------------------------------------------------------------------


def _known(target: str) -> tuple[_Model, str | None]:
    """The model that timm's tables know under this name, and the revision that was asked for."""
    from headstart._torchvision import make_importable

    make_importable()
    import timm

    parts = FORM.fullmatch(target)
    facts: Any = None
    if parts and timm.is_model(parts[1]):
        with contextlib.suppress(RuntimeError):  # there are no weights of this tag
            facts = timm.get_pretrained_cfg(parts[1], allow_unregistered=False)
    if parts is None or facts is None or not facts.has_weights:
        raise UsageError(f"timm {timm.__version__} has no pretrained model '{target}'{_near(target)}")
    name = f"{facts.architecture or parts[1].partition('.')[0]}{f'.{facts.tag}' if facts.tag else ''}"
    return _Model({"family": "timm", "name": name}, dataclasses.asdict(facts)), parts[2]


def _near(target: str) -> str:
    from difflib import get_close_matches

    import timm

    near = get_close_matches(target, timm.list_models(pretrained=True), n=4, cutoff=0.5)
    return f". Near: {', '.join(near)}" if near else ". timm.list_models(pretrained=True) names them"


def _in_folder(folder: Path) -> _Model:
    """The model of a folder as timm saves one: ``config.json`` and ``model.safetensors``."""
    from headstart._torchvision import make_importable

    make_importable()
    with opened(folder) as descriptor:
        config = strict_json(read_file(descriptor, CONFIG, JSON_LIMIT), CONFIG)
    facts = config.get("pretrained_cfg", config)
    settings = config.get("model_args") or {}
    if not isinstance(facts, dict) or not isinstance(settings, dict):
        raise BundleRefused(f"{folder / CONFIG} has a pretrained_cfg or model_args that is no object")
    settings = dict(settings)
    channels, count = settings.pop("in_chans", 3), settings.pop("num_classes", 0)
    if channels != 3:
        raise UsageError(f"the model in {folder} takes {shown(channels)} channels; only images of three are given")
    if (side := settings.get("img_size")) and isinstance(side, list) and len(set(map(repr, side))) == 1:
        settings["img_size"] = side[0]
    facts = {"num_classes": count, **facts}
    classes = config.get("num_classes", facts["num_classes"])
    if type(classes) is not int or not 0 <= classes <= 1_000_000:
        raise BundleRefused(f"{folder / CONFIG} says num_classes = {shown(classes)}")
    labels: dict[str, Any] = {key: config[key] for key in ("label_names", "label_descriptions") if key in config}
    architecture = {**settings, "family": "timm", "name": config.get("architecture")}
    found = _Model(architecture, {**facts, **labels, "num_classes": classes})
    found.check()
    return found


def _located(name: str, facts: Mapping[str, Any], asked: str | None) -> tuple[Path, str]:
    """The file of weights in the hub's cache and the commit it is of; fetched where that is allowed.

    Raises:
        UsageError: If it is not here and cannot be fetched, or the weights are published as pickles only.
        BundleRefused: If the cache's link to it leads out of the cache.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    repository = facts.get("hf_hub_id")
    file = SAFE.get(str(facts.get("hf_hub_filename") or "pytorch_model.bin"), str(facts.get("hf_hub_filename")))
    if not repository or not file.endswith(".safetensors"):
        raise UsageError(f"the weights of '{name}' are not published as safetensors, so they are not read")
    found = try_to_load_from_cache(repository, file, revision=asked)
    if not isinstance(found, str):
        if runtime.offline():
            raise UsageError(
                f"'{name}' is not in the cache {constants.HF_HUB_CACHE}, and no network is allowed. Run this once "
                "without --offline and HF_HUB_OFFLINE"
            )
        try:
            found = hf_hub_download(repository, file, revision=asked)
        except Exception as error:  # noqa: BLE001  the hub's client and the network raise in many ways
            first = str(error).strip().partition("\n")[0]
            raise UsageError(f"'{name}' could not be fetched from the hub ({repository}): {first}") from None
    place = Path(found)
    root = place.parents[2]
    if not place.resolve().is_relative_to(root.resolve()):
        raise BundleRefused(f"{place} leads out of {root}; it was not opened")
    return place.resolve(), place.parent.name


# --- facts as our cards say them -----------------------------------------------------------------


def _spec(facts: Mapping[str, Any], name: str) -> InputSpec:
    """How the model wants its images.

    Raises:
        UsageError: If it wants no square images of three channels.
        BundleRefused: If a number is out of bounds.
    """
    size, mean, std = (tuple(facts.get(key) or ()) for key in ("input_size", "mean", "std"))
    crop, interpolation = facts.get("crop_pct") or 1.0, str(facts.get("interpolation") or "bicubic")
    if len(size) == 3 and (size[0] != 3 or size[1] != size[2]):
        raise UsageError(f"'{name}' takes inputs of {'x'.join(map(str, size))}; only square images are given")
    numbers = [*size, *mean, *std, crop]
    plain = all(type(number) in (int, float) and -1e6 < number < 1e6 for number in numbers)
    if not plain or len(mean) != 3 or len(std) != 3 or len(size) != 3 or min(std) <= 0 or not 8 <= size[1] <= 4096:
        raise BundleRefused(f"'{name}' describes its input in a way that is not known: {shown(numbers)}")
    return InputSpec(
        size=int(size[1]),
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        interpolation=interpolation if interpolation in ("bilinear", "nearest", "lanczos") else "bicubic",
        crop=min(1.0, max(0.01, float(crop))),
        fixed=bool(facts.get("fixed_input_size")),
    )


def _trained_on(tag: str) -> str:
    """What the tag of timm's weights says: ``fb_in22k_ft_in1k`` is ImageNet-22k, then ImageNet-1k."""
    told = [TRAINED[word] for word in tag.split("_") if word in TRAINED]
    return ", then ".join(dict.fromkeys(told)) or (f"{UNKNOWN}; timm's tag is {tag}" if tag else UNKNOWN)


def _classes(facts: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of the classes: the model's own, else of the well-known set that has as many."""
    names, described = facts.get("label_names"), facts.get("label_descriptions")
    if isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(name, str) for name in names):
        found = described if isinstance(described, dict) else {}
        return tuple(str(found.get(name, name)) for name in names)
    return class_names(next((name for name, size in SETS.items() if size == count), None))
