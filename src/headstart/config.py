"""The settings of one ``fit``, from wherever they come; unknown keys are refused.

Precedence: 1. arguments (flags); 2. environment (``HEADSTART_SEED=1``); 3. a TOML file's
``[fit]`` table; 4. the defaults below.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import UsageError, unknown_name

__all__ = ["FitConfig", "parse_duration", "resolve"]

ENVIRONMENT_PREFIX = "HEADSTART_"
PROOFS = ("full", "quick", "off")
SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class FitConfig:
    """Settings that decide the result of a ``fit``."""

    source: str = "auto"
    """``auto`` ranks every usable source; a name; or several, comma-separated, to rank just those."""
    score: str = "fused"
    """What orders the sources: ``fused``, ``prior``, or a score of the score table."""
    method: str = "auto"
    """How to adapt: a name of the method table, or ``auto``."""
    augment: bool = True
    """Whether training examples are varied as their modality allows: images are mirrored, shifted and cropped."""
    budget: float = 300.0
    """Seconds for ranking and adapting: what one waits for at a laptop. Less is used where less is needed."""
    seed: int = 0
    """Decides splits, folds, subsamples and every random number of training."""
    input: str | None = None
    """Column that holds the text or the image path; None: guessed and said."""
    label: str | None = None
    """Column that holds the label; None: guessed and said."""
    group: str | None = None
    """Column whose equal values must not be torn apart by a split."""
    split: str | None = None
    """Column that says train, validation or test; None: a column named ``split``, if there is one."""
    problem: str | None = None
    """``classification``, ``multilabel`` or ``regression``; None: guessed and said."""
    metric: str | None = None
    """Metric that decides; None: by problem and class balance, said."""
    test_share: float = 0.2
    """Share of the rows held out for the proof where the data name no test rows, in (0, 0.9]."""
    proof: str = "full"
    """``full``; ``quick``: frozen arms and the classical baseline only; ``off``: the test rows stay unopened."""

    def __post_init__(self) -> None:
        """Refuses values out of range.

        Raises:
            UsageError: Naming the setting, the value and what is allowed.
        """
        if not 0 < self.test_share <= 0.9:
            raise UsageError(f"test_share is {self.test_share}; it must be above 0 and at most 0.9")
        if not self.budget > 0:
            raise UsageError(f"budget is {self.budget} seconds; it must be above 0")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed is {self.seed}; it must be in 0 .. {2**32 - 1}")
        problems = ("classification", "multilabel", "regression")
        if self.problem is not None and self.problem not in problems:
            raise unknown_name("problem", self.problem, problems)
        if self.proof not in PROOFS:
            raise unknown_name("proof", self.proof, PROOFS)


def parse_duration(text: str | float | None) -> float | None:
    """Seconds from ``90``, ``"90s"``, ``"2m"``, ``"1.5h"``; None stays None.

    Raises:
        UsageError: If the text is no duration.

    >>> parse_duration("2m")
    120.0
    """
    if text is None or isinstance(text, (int, float)):
        return None if text is None else float(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not found:
        raise UsageError(f"'{text}' is not a duration. Examples: 30s, 2m, 1.5h, or a number of seconds.")
    return float(found[1]) * UNITS[found[2]]


def resolve(
    arguments: Mapping[str, Any], toml: Path | None = None, environment: Mapping[str, str] | None = None
) -> FitConfig:
    """The settings by precedence; an argument of None counts as not given.

    Raises:
        UsageError: For an unknown key, an unreadable file or a value of the wrong kind.
    """
    fields = {field.name: field for field in dataclasses.fields(FitConfig)}
    surroundings = os.environ if environment is None else environment
    keys = {name: ENVIRONMENT_PREFIX + name.upper() for name in fields}
    given = {name: value for name, value in arguments.items() if value is not None}
    if unknown := sorted(set(given) - set(fields)):
        raise unknown_name("setting", unknown[0], fields)
    stated = _from_toml(toml, fields) if toml else {}
    settings = {name: _typed(name, value, f"{name} in {toml}") for name, value in stated.items()}  # 3
    settings |= {name: _typed(name, surroundings[key], key) for name, key in keys.items() if key in surroundings}  # 2
    settings |= {name: _typed(name, value, name) for name, value in given.items()}  # 1
    return FitConfig(**settings)


def _from_toml(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error
    table = tables.get("fit", {})
    if not isinstance(table, dict) or set(tables) - {"fit"}:
        raise UsageError(f"{path} must hold one table, [fit], with the settings in it. Valid: {', '.join(fields)}")
    if unknown := sorted(set(table) - set(fields)):
        raise unknown_name(f"setting in {path}:", unknown[0], fields)
    return table


def _typed(name: str, value: Any, called: str) -> Any:
    if name in ("source", "method") and isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    kinds: dict[str, Callable[[Any], Any]] = {
        "augment": _switch,
        "budget": parse_duration,
        "seed": _whole,
        "test_share": float,
    }
    what = {"augment": "switch; say true or false"}.get(name, "number" if name in kinds else "text")
    try:
        if isinstance(value, (list, tuple, dict)) or (isinstance(value, bool) and name != "augment"):
            raise TypeError
        return kinds.get(name, str)(value)
    except UsageError as error:
        raise UsageError(f"{called}: {error}") from None
    except (TypeError, ValueError) as error:
        whole = "whole " if isinstance(value, float) else ""
        raise UsageError(f"{called} is {value!r}, which is not a {whole}{what}") from error


def _switch(value: Any) -> bool:
    found = SWITCHES.get(str(value).lower())
    if found is None:
        raise ValueError
    return found


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)
