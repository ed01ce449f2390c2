"""Settings of an architecture that come from a foreign file: every one is known, of its type and within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from headstart.errors import BundleRefused
from headstart.safety import shown

__all__ = ["Choice", "Constant", "Each", "Flag", "Real", "Rule", "Whole", "check_settings"]


class Rule(Protocol):
    """What values a setting may have."""

    def accepts(self, value: Any) -> bool:
        """Whether the value is one of them."""

    def __str__(self) -> str:
        """What must hold, as the end of a sentence that begins with 'it must be'."""


class Whole(NamedTuple):
    """A whole number within bounds."""

    least: int
    most: int

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return type(value) is int and self.least <= value <= self.most

    def __str__(self) -> str:
        return f"a whole number in {self.least:,} .. {self.most:,}"


class Real(NamedTuple):
    """A finite number within bounds."""

    least: float
    most: float

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return type(value) in (int, float) and math.isfinite(value) and self.least <= value <= self.most

    def __str__(self) -> str:
        return f"a number in {self.least:g} .. {self.most:g}"


class Flag(NamedTuple):
    """True or false."""

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


class Choice(NamedTuple):
    """One of these texts."""

    names: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


class Each(NamedTuple):
    """A list of up to ``most`` values that each follow a rule."""

    rule: Rule
    most: int

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return isinstance(value, (list, tuple)) and 0 < len(value) <= self.most and all(map(self.rule.accepts, value))

    def __str__(self) -> str:
        return f"a list of 1 to {self.most} values, each {self.rule}"


class Constant(NamedTuple):
    """The only value this version can build; it needs no saying."""

    value: Any

    def accepts(self, value: Any) -> bool:
        """See `Rule`."""
        return type(value) is type(self.value) and value == self.value

    def __str__(self) -> str:
        return f"{self.value!r}, the only value this version builds"


def check_settings(settings: Mapping[str, Any], rules: Mapping[str, Rule], what: str) -> None:
    """Refuses settings that a rule does not accept, or that have none.

    Args:
        settings: Name -> value, from a file.
        rules: Name -> what is accepted.
        what: What the settings are of, for the message.

    Raises:
        BundleRefused: Naming the first such setting, and what is valid.
    """
    for key, value in settings.items():
        if key not in rules:
            raise BundleRefused(f"unknown {what} setting {shown(key)}. Valid: {', '.join(rules)}")
        if not rules[key].accepts(value):
            raise BundleRefused(f"the {what} setting {key} is {shown(value)}; it must be {rules[key]}")
