"""Parts of a table computed side by side on a CPU, each by one thread from its files to its embeddings.

Threads that share every layer wait for each other at the end of each one, and for whatever else wants a core, such as
decoding the next images. Side by side they never wait: on two cores EfficientNet-Lite0 embeds a third more images a
second, and no bit depends on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from headstart import runtime
from headstart.types import IndexArray

__all__ = ["Part", "made", "spread"]

Part = tuple[IndexArray, Callable[[], Any]]
"""Positions in the inputs, and what makes their batch, in any thread."""
Result = TypeVar("Result")


def spread(compute: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """What ``compute`` gives for each part, in their order; as many as there are threads are computed at a time."""
    import torch

    threads = runtime.thread_count()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(compute, part))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)  # a thread's number is also what threads that begin later get


def made(part: Part) -> tuple[IndexArray, Any]:
    """Positions and their batch."""
    positions, make = part
    return positions, make()
