"""Ctrl-C and SIGTERM while something is under way that should end first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

__all__ = ["finishing"]


@contextmanager
def finishing() -> Iterator[list[Callable[[], None]]]:
    """Lets a step end before Ctrl-C or SIGTERM takes effect: yields a list that then holds what to call."""
    stopped: list[Callable[[], None]] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}

    def note(number: int, frame: FrameType | None) -> None:
        handler = previous[signal.Signals(number)]
        if stopped:  # the user insists
            raise KeyboardInterrupt
        if callable(handler):
            stopped.append(lambda: handler(number, frame))
        else:
            stopped.append(partial(_by_default, number))

    for number in previous:
        signal.signal(number, note)
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _by_default(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
