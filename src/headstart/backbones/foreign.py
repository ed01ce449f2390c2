"""Weights in other libraries' files, read as arrays under the names of our architectures. Nothing in them is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import BundleRefused, MissingExtra

__all__ = ["keras_mobilenet_v2", "onnx_bert"]

REPEATS = (1, 2, 3, 4, 3, 3, 1)
"""Blocks in each of MobileNetV2's stages."""
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
"""Keras's names of a batch normalization -> torch's."""
FLOAT32 = 1
"""ONNX's number for the type."""


def keras_mobilenet_v2(path: Path) -> dict[str, NDArray[Any]]:
    """A Keras h5 file of a MobileNetV2 with a dense layer on its pooled features, by timm's names.

    Only arrays are read; the pickled or JSON-coded model beside them is left alone.

    Raises:
        MissingExtra: If h5py is not installed.
        BundleRefused: If the file holds no such network.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("reading weights in Keras's h5 format", "sources") from error
    found: dict[str, NDArray[Any]] = {}
    with h5py.File(path, "r") as file:
        datasets: dict[str, NDArray[Any]] = {}

        def keep(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                layer, _, tensor = name.rpartition("/")
                datasets[f"{layer.rpartition('/')[2]}/{tensor}"] = np.asarray(item)

        file["model_weights"].visititems(keep)
    try:
        for keras, conv, norm in _layers():
            kernel = datasets[f"{keras}/kernel"]
            order = (2, 3, 0, 1) if keras.endswith("_depthwise") else (3, 2, 0, 1)
            found[f"{conv}.weight"] = np.ascontiguousarray(kernel.transpose(order))
            theirs = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(keras, f"{keras}_BN")
            found |= {f"{norm}.{ours}": datasets[f"{theirs}/{name}"] for name, ours in NORM.items()}
            found[f"{norm}.num_batches_tracked"] = np.zeros((), np.int64)
        found["classifier.weight"] = np.ascontiguousarray(datasets["dense/kernel"].T)
        found["classifier.bias"] = datasets["dense/bias"]
    except KeyError as error:
        raise BundleRefused(f"{path} holds no MobileNetV2 of Keras: {error.args[0]}") from None
    return found


def _layers() -> Iterator[tuple[str, str, str]]:
    """Every convolution: Keras's layer, timm's convolution, timm's normalization after it."""
    yield "Conv1", "conv_stem", "bn1"
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(REPEATS) for block in range(count)]
    for number, place in enumerate(places):
        name = f"block_{number}" if number else "expanded_conv"
        parts = ("expand", "depthwise", "project") if number else ("depthwise", "project")
        convs = ("conv_pw", "conv_dw", "conv_pwl") if number else ("conv_dw", "conv_pw")
        for index, (part, conv) in enumerate(zip(parts, convs, strict=True), 1):
            yield f"{name}_{part}", f"{place}.{conv}", f"{place}.bn{index}"
    yield "Conv_1", "conv_head", "bn2"


def onnx_bert(path: Path) -> dict[str, NDArray[Any]]:
    """The weights of a BERT encoder that PyTorch exported to ONNX, by the library's names.

    The exporter keeps the names of most tensors; matrices that it transposed have lost theirs, and are
    named after the multiplication that takes them.

    Raises:
        BundleRefused: If the file is no ONNX file, or holds tensors of another type.
    """
    try:
        graph = next(value for field, value in _fields(memoryview(path.read_bytes())) if field == 7)
        parts = list(_fields(graph))
        tensors = dict(_tensor(value) for field, value in parts if field == 5)
        nodes = [_node(value) for field, value in parts if field == 1]
    except (StopIteration, IndexError, ValueError, TypeError, KeyError) as error:
        raise BundleRefused(f"{path} is not an ONNX file with float32 weights: {error}") from None
    found = {name.rpartition("auto_model.")[2]: array for name, array in tensors.items() if "auto_model." in name}
    for kind, inputs, outputs in nodes:
        if kind == "MatMul" and inputs[1] in tensors:
            place = outputs[0].rpartition("/auto_model/")[2].removesuffix("/MatMul_output_0").replace("/", ".")
            found[f"{place}.weight"] = np.ascontiguousarray(tensors[inputs[1]].T)
    return found


def _tensor(data: memoryview) -> tuple[str, NDArray[Any]]:
    """Name and values of a ``TensorProto``."""
    shape, facts = [], {}
    for field, value in _fields(data):
        if field == 1:
            shape += [value] if isinstance(value, int) else list(_varints(value))
        else:
            facts[field] = value
    if facts[2] != FLOAT32:
        raise ValueError("a tensor is of another type")
    return bytes(facts[8]).decode(), np.frombuffer(facts[9], "<f4").reshape(shape).copy()


def _node(data: memoryview) -> tuple[str, list[str], list[str]]:
    """Kind, inputs and outputs of a ``NodeProto``."""
    texts: dict[int, list[str]] = {1: [], 2: [], 4: [""]}
    for field, value in _fields(data):
        if field in texts:
            texts[field].append(bytes(value).decode())
    return texts[4][-1], texts[1], texts[2]


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: a whole number, or bytes not yet looked into.

    See https://protobuf.dev/programming-guides/encoding.
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            length, place = _varint(data, place)
        elif key & 7 in (1, 5):
            length = 8 if key & 7 == 1 else 4
        else:
            raise ValueError("a field is of a kind that no message has")
        if place + length > len(data):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """The whole number that begins here, in groups of seven bits, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _varints(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value
