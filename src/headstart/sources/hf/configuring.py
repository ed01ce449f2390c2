"""What the JSON files of a model folder say: architecture, pooling, prompt, and how inputs are prepared."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.backbones.rules import TEXT, VISION
from headstart.backbones.settings import Real, Whole, check_settings
from headstart.errors import BundleRefused
from headstart.safety import TOKENIZER_LIMIT, TOKENIZER_VALUES, shown, strict_json
from headstart.sources.hf.folder import ModelFolder
from headstart.types import InputSpec, Modality

__all__ = ["Configured", "configured"]

TOWERS = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
"""Model types of two towers -> the type of the one for images."""
CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
WIDTHS = {"distilbert": "dim", "convnext": "hidden_sizes", "convnextv2": "hidden_sizes"}
"""Model types that call the width of their embedding something else than ``hidden_size``."""
DEFAULTS = {
    "clip_vision_model": {"hidden_size": 768, "image_size": 224},
    "siglip_vision_model": {"hidden_size": 768, "image_size": 224},
}
"""What a configuration of a tower may leave out."""


@dataclass(frozen=True)
class Configured:
    """A model folder's configuration in our own words."""

    modality: Modality
    kind: str
    """Model type: a key of `headstart.backbones.rules.TEXT` or ``VISION``."""
    architecture: Mapping[str, Any]
    """What `headstart.backbones.build` takes."""
    input: InputSpec
    dim: int
    classes: tuple[str, ...]
    """Names of the classes of the source's own head, in order; empty where it names none."""


def configured(folder: ModelFolder) -> Configured:
    """Reads a folder's configuration; imports no deep-learning library.

    Raises:
        BundleRefused: If the type is not one of ours, a setting is out of bounds, code is named, or a
            file that the type needs is missing.
    """
    config = document(folder, "config.json")
    kind, settings = _tower(config)
    if kind in TEXT:
        spec, pooling = _text(folder, kind, settings)
        modality: Modality = "text"
        architecture = {"family": "text", "type": kind, **pooling, **settings}
    else:
        spec, modality = _image(folder, kind, settings), "image"
        architecture = {"family": "vision", "type": kind, **settings}
    return Configured(modality, kind, architecture, spec, _width(kind, settings), _classes(config))


def document(folder: ModelFolder, name: str) -> dict[str, Any]:
    """What a JSON file of a folder holds.

    Raises:
        BundleRefused: If it is missing, not strict JSON, or names code to run.
    """
    return _no_code(strict_json(folder.read(name), name), name)


def _no_code(found: dict[str, Any], name: str) -> dict[str, Any]:
    for key in _keys(found):
        if key in CODE:
            raise BundleRefused(f"{name} names code to run ({key}); a source is data only, and code is never run")
    return found


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


# --- architecture -------------------------------------------------------------------------------


def _tower(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Model type and settings of the part that makes embeddings."""
    kind = config.get("model_type")
    valid = ", ".join((*TEXT, *VISION, *TOWERS))
    if not isinstance(kind, str) or kind not in {*TEXT, *VISION, *TOWERS}:
        raise BundleRefused(f"config.json is of the model type {shown(kind)}. Known: {valid}")
    if kind in TOWERS:
        config, kind = config.get("vision_config", {}), TOWERS[kind]
        if not isinstance(config, dict):
            raise BundleRefused("config.json has a vision_config that is no object")
    rules = TEXT.get(kind) or VISION[kind]
    given = {**DEFAULTS.get(kind, {}), **_plain(config)}
    settings = {name: given[name] for name in rules if given.get(name) is not None}
    check_settings(settings, rules, kind)
    return kind, settings


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the spellings of several releases as one."""
    given = dict(config)
    side, parts = given.get("image_size"), given.get("pos_att_type")
    if isinstance(side, list) and len(side) == 2 and side[0] == side[1]:
        given["image_size"] = side[0]
    if isinstance(parts, str):
        given["pos_att_type"] = [part.strip() for part in parts.lower().split("|")]
    if given.get("rope_scaling") is not None:
        raise BundleRefused("config.json scales its rotary positions, which this version does not build")
    rope = given.get("rope_parameters")
    for kind, name in (("full_attention", "global_rope_theta"), ("sliding_attention", "local_rope_theta")):
        part = rope.get(kind) if isinstance(rope, dict) else None
        if isinstance(part, dict):
            if part.get("rope_type", "default") != "default":
                raise BundleRefused("config.json scales its rotary positions, which this version does not build")
            given[name] = part.get("rope_theta", given.get(name))
    return given


def _width(kind: str, settings: Mapping[str, Any]) -> int:
    name = WIDTHS.get(kind, "hidden_size")
    if name not in settings:
        raise BundleRefused(f"config.json lacks {name}")
    width = settings[name]
    return int(width[-1] if isinstance(width, list) else width)


def _classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label")
    if not isinstance(names, dict) or sorted(names, key=lambda key: (len(key), key)) != [
        str(i) for i in range(len(names))
    ]:
        return ()
    return tuple(str(names[str(i)]) for i in range(len(names)))


# --- texts --------------------------------------------------------------------------------------

LONGEST = 1_000_000
PAST_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Model types that count positions from one past the padding token's number."""
HUGE = re.compile(rb"(:\s*)\d{20,}")
"""How tokenizers say that they set no limit."""


def _text(folder: ModelFolder, kind: str, settings: Mapping[str, Any]) -> tuple[InputSpec, dict[str, Any]]:
    """Longest input and prompt; pooling and normalisation."""
    if not folder.has("tokenizer.json"):
        raise BundleRefused("it has no tokenizer.json, the only form of a tokenizer that is read")
    pooling = {"pooling": "mean", "normalise": False}
    if folder.has("modules.json"):
        pooling = _modules(folder)
    limits = [_positions(kind, settings), *_limits(folder)]
    return InputSpec(max_tokens=min(limits), prompt=_prompt(folder)), pooling


def _positions(kind: str, settings: Mapping[str, Any]) -> int:
    most = int(settings.get("max_position_embeddings", 512))
    longest = most - int(settings.get("pad_token_id", 1)) - 1 if kind in PAST_PADDING else most
    if longest < 1:
        raise BundleRefused(f"config.json has max_position_embeddings {most}, which leaves no token")
    return longest


def _limits(folder: ModelFolder) -> Iterator[int]:
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        if not folder.has(name):
            continue
        found = _no_code(strict_json(HUGE.sub(rb"\g<1>0", folder.read(name)), name), name)
        if found.get("do_lower_case") and not _lowers(folder):
            raise BundleRefused(f"{name} wants lower case, and tokenizer.json does not make it")
        limit = found.get(key)
        if isinstance(limit, (int, float)) and 0 < limit <= LONGEST:
            yield max(1, int(limit))


def _lowers(folder: ModelFolder) -> bool:
    """Whether the tokenizer itself turns text to lower case."""
    found = strict_json(
        folder.read("tokenizer.json", TOKENIZER_LIMIT), "tokenizer.json", TOKENIZER_LIMIT, TOKENIZER_VALUES
    )
    steps = [found.get("normalizer")]
    for step in steps:
        if isinstance(step, dict):
            if step.get("type") == "Lowercase" or step.get("lowercase") is True:
                return True
            steps.extend(step["normalizers"] if isinstance(step.get("normalizers"), list) else ())
    return False


def _modules(folder: ModelFolder) -> dict[str, Any]:
    """Pooling and normalisation from the modules of sentence-transformers."""
    modules = strict_json(b'{"modules":' + folder.read("modules.json") + b"}", "modules.json")["modules"]
    rows = modules if isinstance(modules, list) and all(isinstance(row, dict) for row in modules) else []
    kinds, places = [_module(row.get("type")) for row in rows], [row.get("path", "") for row in rows]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or places[0] not in ("", "."):
        told = ", ".join(kinds) or "nothing known"
        raise BundleRefused(f"modules.json chains {told}; read are Transformer, Pooling and then perhaps Normalize")
    return {"pooling": _pooling(folder, places[1]), "normalise": "Normalize" in kinds}


def _module(path: Any) -> str:
    """The last part of a module's class path; nothing is imported by it."""
    if isinstance(path, str) and re.fullmatch(r"sentence_transformers(\.\w+)+", path, re.ASCII):
        return path.rpartition(".")[2]
    return f"the foreign {shown(path)}"


POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
POOLING_MODES = {"mean": "mean", "cls": "cls", "lasttoken": "last", "max": "max"}


def _pooling(folder: ModelFolder, place: Any) -> str:
    if not isinstance(place, str):
        raise BundleRefused("modules.json has a path that is no text")
    name = f"{place}/config.json"
    found = document(folder, name)
    if found.get("include_prompt", True) is not True:
        raise BundleRefused(f"{name} pools without the prompt's tokens, which this version does not do")
    modes = [mode for flag, mode in POOLING_FLAGS.items() if found.get(flag) is True]
    mode = found.get("pooling_mode")
    if mode is not None:
        modes = [POOLING_MODES.get(mode, mode) if isinstance(mode, str) else shown(mode)]
    if len(modes) != 1 or modes[0] not in POOLING_MODES.values():
        told = " + ".join(modes) or "none"
        raise BundleRefused(f"{name} pools by {told}. Known, one at a time: {', '.join(POOLING_MODES.values())}")
    return modes[0]


def _prompt(folder: ModelFolder) -> str:
    """The default prompt; where there is none, the one made for classification."""
    name = "config_sentence_transformers.json"
    if not folder.has(name):
        return ""
    found = document(folder, name)
    prompts = found.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        isinstance(text, str) and len(text) <= 2000 for text in prompts.values()
    ):
        raise BundleRefused(f"{name} has prompts that are not texts of at most 2,000 characters")
    default = found.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise BundleRefused(f"{name} has the default prompt {shown(default)}, which it does not define")
    made_for_it = [key for key in prompts if key.lower() == "classification"]
    chosen = default if default is not None else next(iter(made_for_it), None)
    return str(prompts[chosen]) if chosen is not None else ""


# --- images -------------------------------------------------------------------------------------

RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
BILINEAR = ("vit", "convnext", "convnextv2")
"""Model types whose images are resized bilinearly where nothing is said; the others bicubically."""
CROPPED = ("clip_vision_model", "dinov2", "dinov2_with_registers")
"""Model types whose images are cropped where nothing is said."""
ANY_SIZE = ("dinov2", "dinov2_with_registers", "convnext", "convnextv2")
"""Model types that were made for images of several sizes; the others' positions are those of one."""
HALF = [0.5, 0.5, 0.5]
SIDE, CHANNEL = Whole(8, 4096), Real(-1e3, 1e3)
SPREAD = Real(1e-6, 1e3)


def _image(folder: ModelFolder, kind: str, settings: Mapping[str, Any]) -> InputSpec:
    """Size, crop and normalisation, as the processor's file says.

    Images keep their shape: where the source's own processor squeezes them to a square, the
    short side is resized and the centre is cut out instead. Square images are the same.
    """
    found = _processor(folder)
    if found.get("do_rescale", True) is not True or not Real(0.00392156, 0.00392158).accepts(
        found.get("rescale_factor", 1 / 255)
    ):
        raise BundleRefused("the processor's file wants pixels in another range than 0 .. 1 before they are normalised")
    mean, std = found.get("image_mean", HALF), found.get("image_std", HALF)
    if found.get("do_normalize", True) is False:
        mean, std = [0.0] * 3, [1.0] * 3
    for name, values, rule in (("image_mean", mean, CHANNEL), ("image_std", std, SPREAD)):
        if not isinstance(values, list) or len(values) != 3 or not all(map(rule.accepts, values)):
            raise BundleRefused(f"the processor's file has {name} = {shown(values)}; it must be three numbers")
    size, short = _sides(found, kind, settings)
    resample = found.get("resample", 2 if kind in BILINEAR else 3)
    if type(resample) is not int or resample not in RESAMPLING:
        raise BundleRefused(f"the processor's file has resample = {shown(resample)}; known: {RESAMPLING}")
    floats = tuple(map(float, mean)), tuple(map(float, std))
    return InputSpec(size, *floats, RESAMPLING[resample], crop=_share(size, short), fixed=kind not in ANY_SIZE)


def _share(size: int, short: int) -> float:
    """``size / short``, rounded so that ``floor(size / share)`` is ``short`` again."""
    share = size / short
    while math.floor(size / share) < short:
        share = math.nextafter(share, 0)
    return share


def _processor(folder: ModelFolder) -> dict[str, Any]:
    if folder.has("preprocessor_config.json"):
        return document(folder, "preprocessor_config.json")
    if folder.has("processor_config.json"):
        found = document(folder, "processor_config.json").get("image_processor")
        if isinstance(found, dict):
            return found
    raise BundleRefused("it has no preprocessor_config.json, which says how its images are prepared")


def _sides(found: Mapping[str, Any], kind: str, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Side of the square that the model sees, and of the resized image's short side that it is cut from."""
    short = _side(found.get("size"), int(settings.get("image_size", 224)))
    size = short
    if found.get("do_center_crop", kind in CROPPED) is True:
        size = min(_side(found.get("crop_size"), short), short)
    elif kind.startswith("convnext") and short < 384:  # the library's rule for this type
        share = found.get("crop_pct") or 224 / 256
        if not Real(0.1, 1).accepts(share):
            raise BundleRefused(f"the processor's file has crop_pct = {shown(share)}; it must be {Real(0.1, 1)}")
        short = int(size / share)
    return size, short


def _side(value: Any, default: int) -> int:
    if value is None:
        return default
    sides: list[Any] = [value] if type(value) is int else list(value.values()) if isinstance(value, dict) else [None]
    if not sides or not all(SIDE.accepts(side) and side == sides[0] for side in sides):
        raise BundleRefused(f"the processor's file has the size {shown(value)}; it must be one side in {SIDE}")
    return int(sides[0])
