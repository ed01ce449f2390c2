"""The machine: threads, device, precision, versions. Nothing here runs at import."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from headstart.errors import UsageError

__all__ = [
    "calm_threads",
    "device",
    "fast_bfloat16",
    "kept_memory",
    "machine",
    "offline",
    "processor",
    "thread_count",
    "use_threads",
    "versions",
]

REPORTED = (
    "headstart",
    "torch",
    "timm",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "tokenizers",
    "safetensors",
)

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Names of mallopt(3)."""


def thread_count() -> int:
    """CPU threads this process may use: ``HEADSTART_THREADS``, else its part of the cores it is allowed on."""
    asked, here = (os.environ.get(name, "") for name in ("HEADSTART_THREADS", "LOCAL_WORLD_SIZE"))
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // int(here)) if here.isdigit() and int(here) > 0 else cores


def offline() -> bool:
    """Whether the user forbade the network (``HF_HUB_OFFLINE`` or ``HEADSTART_OFFLINE``)."""
    return any(
        os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}
        for name in ("HF_HUB_OFFLINE", "HEADSTART_OFFLINE")
    )


def calm_threads() -> None:
    """Lets a thread that waits for the others sleep soon instead of spinning; call it before torch is imported.

    GNU OpenMP spins for milliseconds by default. Where another program wants a core too, that makes
    torch several times slower (54 against 405 texts a second was seen on two busy cores).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def use_threads() -> None:
    """Gives torch the threads of `thread_count`, which decide the last bits of sums and so of results."""
    import torch

    if torch.get_num_threads() != thread_count():
        torch.set_num_threads(thread_count())


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps freed memory for the next batch, where the C library is glibc; gives it back to the system at the end.

    glibc returns large blocks at once, so that every batch gets its activations as new pages, which the system has to
    clear: a step of training takes 0.62 s against 0.36 s (EfficientNet-Lite0, 160 px, batches of 32, two cores), and
    embedding a fifth longer. Threads other than the first keep theirs for the padding that is asked for above it.
    """
    library = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    library.mallopt(M_TOP_PAD, 1 << 26)  # as large as a thread's heap
    try:
        yield
    finally:
        library.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # where glibc's own adaptation ends, and twice that
        library.mallopt(M_TRIM_THRESHOLD, 1 << 26)
        library.mallopt(M_TOP_PAD, 1 << 17)
        library.malloc_trim(0)


@cache
def device() -> str:
    """``HEADSTART_DEVICE``, else ``cuda`` or ``mps`` where torch can use it, else ``cpu``.

    torch is asked only where the system shows signs of an accelerator: importing it takes seconds.

    Raises:
        UsageError: If torch cannot use the device that was asked for.
    """
    asked = os.environ.get("HEADSTART_DEVICE")
    if asked:
        return asked if asked == "cpu" else _usable(asked)
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    if not apple and not any(Path(sign).exists() for sign in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if apple and torch.backends.mps.is_available() else "cpu"


def _usable(asked: str) -> str:
    import torch

    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        valid = "cpu, and cuda or mps where there is one"
        raise UsageError(f"HEADSTART_DEVICE is '{asked}', which cannot be used here: {why}. Valid: {valid}") from error
    return asked


@cache
def versions() -> dict[str, str]:
    """Package -> installed version, for the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in REPORTED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def processor() -> str:
    """The processor's own name, such as ``AMD EPYC``, with the vector units that decide speed."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            lines = dict(line.split(":", 1) for line in stream.read().split("\n\n")[0].splitlines() if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    flags = (facts.get("flags") or facts.get("Features", "")).split()
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16") if unit in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(units) or 'no wide vectors'})"


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    return device() == "cuda" or "bf16" in processor()


def machine() -> dict[str, str | int]:
    """What decides speed and the last bits of results on this machine."""
    return {"system": f"{platform.system()} {platform.machine()}", "processor": processor(), "threads": thread_count()}
