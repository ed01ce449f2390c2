"""The names of the classes that published classifiers were trained for."""

from __future__ import annotations

from headstart._torchvision import make_importable

__all__ = ["SETS", "class_names"]

SETS = {
    "imagenet-1k": 1000,
    "imagenet-12k": 11821,
    "imagenet-21k-goog": 21843,
    "imagenet-21k-miil": 11221,
    "imagenet-22k": 21841,
    "imagenet-22k-ms": 21842,
}
"""Name of a set of classes, as timm spells it -> how many they are."""


def class_names(name: str | None) -> tuple[str, ...]:
    """WordNet's words for the classes, such as ``tench, Tinca tinca``; empty for no set of ours.

    Some classes share their words: ImageNet has two cranes, a bird and a machine.
    """
    if name not in SETS:
        return ()
    make_importable()
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo(name).label_descriptions())
