"""Several processes that train one model: begun by a launcher, the first one leads, and gradients are summed.

``accelerate launch`` and ``torchrun`` begin every process with the same command. The first does the work of a
``fit``; the others wait for trainings to take part in, see `headstart.following`. What they tell each other is JSON and
safetensors, never pickle.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart import runtime
from headstart.errors import ResourceError
from headstart.store import decode, encode

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["agreed", "joined", "number", "receive", "send", "size", "sum_gradients"]

DAYS = 7
"""That a process waits for the first one, which may rank sources for long."""
HEAD = 8
"""Bytes of the length of the JSON in a message."""


def size() -> int:
    """Processes that train together; 1 outside of `joined`."""
    return _group().get_world_size() if _alive() else 1


def number() -> int:
    """Which of them this is, from 0."""
    return _group().get_rank() if _alive() else 0


@contextlib.contextmanager
def joined() -> Iterator[int]:
    """Joins the processes that a launcher began, and yields `number`: 0 where there is one process only.

    When the first one is done without an error, the others `receive` None.

    Raises:
        UsageError: If ``HEADSTART_DEVICE`` names what cannot be used.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) < 2:
        yield 0
        return
    from datetime import timedelta

    import torch

    cuda = runtime.device() == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _group().init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(days=DAYS))
    try:
        yield number()
        if number() == 0:
            send(None)
    finally:
        _group().destroy_process_group()


def send(value: Any, tensors: Mapping[str, Tensor] | None = None) -> None:
    """From the first process to all others, who `receive` it.

    Args:
        value: What `headstart.store.encode` takes.
        tensors: Sent as they are, whatever their shape.

    Raises:
        ResourceError: If another process is gone.
    """
    import torch

    message = _packed(value, tensors or {})
    with _gone_named():
        _group().broadcast(torch.tensor([len(message)]), 0)
        _group().broadcast(message, 0)


def receive() -> tuple[Any, dict[str, Tensor]]:
    """What the first process sends next: value and tensors.

    Raises:
        ResourceError: If it is gone.
    """
    import torch

    length = torch.zeros(1, dtype=torch.int64)
    with _gone_named():
        _group().broadcast(length, 0)
        message = torch.empty(int(length), dtype=torch.uint8)
        _group().broadcast(message, 0)
    return _unpacked(message)


def agreed(yes: bool) -> bool:
    """What the first process says.

    Raises:
        ResourceError: If another process is gone.
    """
    import torch

    said = torch.tensor([int(yes)])
    with _gone_named():
        _group().broadcast(said, 0)
    return bool(said)


def sum_gradients(parameters: Sequence[Tensor], loss: float) -> float:
    """Sums gradients over the processes, in place, and returns the sum of their losses.

    Each process has counted its rows by their share of the whole batch. A parameter that no process has a
    gradient for keeps none.

    Raises:
        ResourceError: If another process is gone.
    """
    import torch

    given = [parameter.grad for parameter in parameters]
    zeros = [torch.zeros_like(p) if grad is None else grad for p, grad in zip(parameters, given, strict=True)]
    facts = [loss, *(float(grad is not None) for grad in given)]
    flat = torch.cat([torch.tensor(facts, device=zeros[0].device), *(grad.float().flatten() for grad in zeros)])
    with _gone_named():
        whole = flat if flat.device.type in ("cpu", "cuda") else flat.cpu()
        _group().all_reduce(whole)
    total, *there = whole[: len(facts)].tolist()
    sums = torch.split_with_sizes(whole[len(facts) :].to(flat.device), [grad.numel() for grad in zeros])
    for parameter, grad, found in zip(parameters, sums, there, strict=True):
        parameter.grad = grad.view_as(parameter).to(parameter.dtype).clone() if found else None
    return float(total)


def _group() -> Any:
    from torch import distributed

    return distributed


def _alive() -> bool:
    """Whether this process has joined others; torch is not imported to find that it has not."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and bool(_group().is_initialized())


def _packed(value: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    """A message as bytes (uint8): the length of the JSON, the JSON, and safetensors."""
    import torch
    from safetensors.torch import save

    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(encode(value, arrays)).encode()
    given = {f"array.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    given |= {f"tensor.{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return torch.frombuffer(bytearray(len(text).to_bytes(HEAD, "big") + text + save(given)), dtype=torch.uint8)


def _unpacked(message: Tensor) -> tuple[Any, dict[str, Tensor]]:
    from safetensors.torch import load

    content = message.numpy().tobytes()
    begin = HEAD + int.from_bytes(content[:HEAD], "big")
    given = load(content[begin:])
    arrays = {name.removeprefix("array."): value.numpy() for name, value in given.items() if name[0] == "a"}
    tensors = {name.removeprefix("tensor."): value for name, value in given.items() if name[0] == "t"}
    return decode(json.loads(content[HEAD:begin]), arrays), tensors


@contextlib.contextmanager
def _gone_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ResourceError("another process of this fit has ended; its own message says why") from error
