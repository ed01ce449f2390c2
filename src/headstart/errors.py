"""Every error Headstart raises on purpose, in one tree.

::

    HeadstartError            exit 1    the root: catch this to catch them all
    ├── UsageError            exit 2    a wrong option, name or argument
    │   └── MissingExtra      exit 2    an optional package is not installed
    ├── DataError             exit 3    the data cannot be used as they are
    ├── BundleRefused         exit 4    a bundle or source breaks its rules
    ├── ResourceError         exit 5    disk, memory or time ran out
    └── Diverged              exit 6    training left the finite numbers

A message says what happened, where, and what to do, and lists the valid choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "BundleRefused",
    "DataError",
    "Diverged",
    "HeadstartError",
    "MissingExtra",
    "ResourceError",
    "UsageError",
    "listed",
    "unknown_name",
]


class HeadstartError(Exception):
    """The root of the tree; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class UsageError(HeadstartError, ValueError):
    """A wrong option, name or argument."""

    exit_code = 2


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed; the message holds the install command."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package. Install it with: pip install 'headstart[{extra}]'")


class DataError(HeadstartError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 3


class BundleRefused(HeadstartError):
    """A bundle or a source folder breaks its rules and was not loaded."""

    exit_code = 4


class ResourceError(HeadstartError):
    """Disk, memory or time ran out."""

    exit_code = 5


class Diverged(HeadstartError):
    """Training left the finite numbers and could not be rolled back."""

    exit_code = 6


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """The error for a name that is not in a table, with the valid names and the nearest one.

    >>> print(unknown_name("method", "prob", ["probe", "full"]))
    unknown method 'prob'; did you mean 'probe'? Valid: full, probe
    """
    from difflib import get_close_matches

    names = sorted(valid)
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return UsageError(f"unknown {kind} '{name}'{hint} Valid: {', '.join(names) or '(none)'}")


def listed(groups: Mapping[str, Sequence[str]], shown: int = 4) -> str:
    """The sides of a disagreement: how many names each has, and the first few of them.

    >>> listed({"missing": ["a", "b", "c"], "unexpected": []}, shown=2)
    '3 missing: a, b, ...'
    """
    return "; ".join(
        f"{len(names)} {what}: {', '.join([*names[:shown], *(['...'] if len(names) > shown else [])])}"
        for what, names in groups.items()
        if names
    )
