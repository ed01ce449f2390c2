"""What the measured gains mean, in one word and in sentences for people."""

from __future__ import annotations

import numpy as np

from headstart.prove.protocol import title
from headstart.types import Gain

__all__ = ["SCRATCH", "call", "sentence"]

SCRATCH = "the same model trained from scratch"
VERDICTS = {"helped": "Transfer helped", "no evidence": "No evidence that transfer helped"}


def call(gain: Gain | None) -> str:
    """``helped`` where the interval is above 0, ``negative transfer`` where it is below, else ``no evidence``."""
    if gain is not None and gain.low > 0:
        return "helped"
    return "negative transfer" if gain is not None and gain.high < 0 else "no evidence"


def sentence(classical: Gain, baseline: str, twin: Gain | None = None) -> str:
    """The verdict for people: whether transfer helped, and whether a simpler model would do.

    The verdict rests on the same model trained from scratch where that was measured, on the
    classical baseline where not. A baseline that wins is named first: it is what to use.

    Args:
        classical: The gain over the classical baseline.
        baseline: What the baseline is, in the middle of a sentence.
        twin: The gain over the scratch twin.
    """
    if twin is None:
        return _alone(classical, baseline)
    if call(classical) == "negative transfer":
        return f"You would be better served by {baseline}: {_measured(classical, baseline)}. {_beside(twin)}"
    verdict = call(twin)
    said = f"{_named(verdict, SCRATCH)}: {_measured(twin, SCRATCH)}."
    if verdict == "negative transfer":
        return f"{said} You would be better served by training from scratch. {_simpler(classical, baseline)}"
    return f"{said} {_simpler(classical, baseline)}"


def _alone(gain: Gain, baseline: str) -> str:
    verdict = call(gain)
    said = f"{_named(verdict, 'the classical baseline')}: {_measured(gain, baseline)}."
    if verdict == "negative transfer":
        return f"{said} You would be better served by {baseline}."
    if verdict == "no evidence" and gain.value <= 0:
        return f"{said} {_capital(baseline)} is simpler and did no worse."
    return said


def _named(verdict: str, better: str) -> str:
    return VERDICTS.get(verdict, f"Negative transfer: {better} is better")


def _beside(twin: Gain) -> str:
    """What the twin says where the classical baseline has the first word."""
    verdict = call(twin)
    if verdict == "helped":
        return f"Transfer did help this model: {_measured(twin, SCRATCH)}."
    return f"{_named(verdict, SCRATCH)}: {_measured(twin, SCRATCH)}."


def _simpler(gain: Gain, baseline: str) -> str:
    if call(gain) == "helped":
        return f"It is better than {baseline} too: {_measured(gain, baseline, short=True)}."
    said = f"It is not measurably better than {baseline}: {_measured(gain, baseline, short=True)}."
    return f"{said} {_capital(baseline)} is simpler and did no worse." if gain.value <= 0 else said


def _measured(gain: Gain, other: str, short: bool = False) -> str:
    """``accuracy 0.86 against 0.41 for OTHER on 200 test rows; gain 0.45, 95% interval 0.38 to 0.52``."""
    width = gain.high - gain.low
    digits = int(np.clip(1 - np.floor(np.log10(width)), 0, 4)) if width > 0 else 2

    def show(number: float | None) -> str:
        return "?" if number is None else f"{round(number, digits) + 0.0:.{digits}f}"

    where = "in " if "validation" in gain.on else "on "
    values = f"{title(gain.metric)} {show(gain.ours)} against {show(gain.theirs)}"
    of = "" if short else f" for {other}"
    bounds = f"gain {show(gain.value)}, {gain.level:.0%} interval {show(gain.low)} to {show(gain.high)}"
    return f"{values}{of} {where}{gain.on}; {bounds}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
