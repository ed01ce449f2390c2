"""How a gain will be proved, decided by the size of the data and said before the work starts."""

from __future__ import annotations

from dataclasses import dataclass

from headstart import stats
from headstart.evaluate import METRICS
from headstart.types import Dataset, Split, Task

__all__ = ["Plan", "announce", "detectable", "plan", "title"]

CONVINCING = 0.10
"""A gain in accuracy that a held-out test should be able to show. Where its rows are too few for that
(below 194: 80% power at the 95% level, a quarter of the rows discordant), all labelled rows take turns."""
FOLDS = 5
SMALL = 300
"""Labelled rows up to which cross-validation is repeated `OFTEN`; beyond, `SELDOM`: a repetition then adds little."""
OFTEN, SELDOM = 3, 2
DISCORDANT, DISAGREEING = 0.25, 0.5
"""Shares of the rows that one of two arms alone gets right, as the detectable gain assumes: of a held-out test, and of
few rows that take turns. Of 10 real sets and 60, 120 and 300 rows, a probe and the classical baseline disagreed so on
2 to 50% of them, on a quarter in the median: few rows teach little, so the most that was seen is assumed."""
TITLES = {"macro_f1": "macro F1", "micro_f1": "micro F1", "ece": "ECE", "mae": "MAE", "rmse": "RMSE", "r2": "R2"}


@dataclass(frozen=True)
class Plan:
    """What the proof will do."""

    proof: str
    """``full``, ``quick`` or ``off``, see `headstart.config.FitConfig`."""
    folds: int = 0
    """Folds of the cross-validation against the classical baseline; 0: the held-out test rows alone."""
    repeats: int = 0
    budget: float | None = None
    """Seconds that the transfer may take; the proof may take twice that."""
    augment: bool = True
    """Whether the scratch twin's training examples may be varied: as the transfer's are."""


def plan(dataset: Dataset, split: Split, proof: str, budget: float | None, augment: bool = True) -> Plan:
    """Repeated cross-validation for few rows without a given test; a held-out test otherwise."""
    given = dataset.given is not None and "test" in dataset.given
    rows = len(split.train) + len(split.test)
    if given or proof == "off" or len(split.test) >= stats.needed_rows(CONVINCING) or rows < 2 * FOLDS:
        return Plan(proof, budget=budget, augment=augment)
    return Plan(proof, FOLDS, OFTEN if rows <= SMALL else SELDOM, budget, augment)


def announce(task: Task, split: Split, how: Plan) -> tuple[str, ...]:
    """What the proof will do, what it can show and what it will cost, as sentences said before the work."""
    if how.proof == "off":
        return ("Nothing will be proved (proof: off); the test rows stay unopened.",)
    said = [_held_out(task, split)]
    if how.folds:
        said.append(_crossed(task, split, how))
    return (*said, _cost(how))


def detectable(task: Task, split: Split, how: Plan) -> float | None:
    """Smallest gain that 80% of such proofs find, where the verdict rests; None where that is not known."""
    metric = METRICS.get(task.metric)
    if how.proof == "off" or not metric or not metric.share:
        return None
    if how.folds and how.proof == "quick":
        return _crossed_gain(split, how)
    return stats.detectable_gain(len(split.test), DISCORDANT)


def title(metric: str) -> str:
    """A metric's name in a sentence."""
    return TITLES.get(metric, metric.replace("_", " "))


def _held_out(task: Task, split: Split) -> str:
    rows = len(split.test)
    if not rows:
        return "No rows are held out for the test: nothing will be proved."
    held = f"{rows:,} test row{' is' if rows == 1 else 's are'} held out until the end"
    gain = detectable(task, split, Plan("full"))
    if gain is None:
        return f"{held}; how small a gain in {title(task.metric)} they can show is not known beforehand."
    if gain >= 1:
        return f"{held}; that is too few to show any gain in {title(task.metric)}."
    return (
        f"{held}; they can show a gain in {title(task.metric)} of about {gain:.2f} or more "
        f"(80% power, 95% level, if one of two models alone is right on {DISCORDANT:.0%} of the rows)."
    )


def _crossed_gain(split: Split, how: Plan) -> float | None:
    rows = len(split.train) + len(split.test)
    return stats.detectable_gain_repeated(rows, how.folds, how.repeats, DISAGREEING)


def _crossed(task: Task, split: Split, how: Plan) -> str:
    rows, share = len(split.train) + len(split.test), METRICS[task.metric].share
    gain = _crossed_gain(split, how) if share else None
    times = f"{how.folds}-fold cross-validation of all {rows:,} rows, repeated {how.repeats} times"
    said = f"That is a small test, so a frozen probe and the classical baseline are also compared by {times}"
    if gain is None:
        return f"{said}."
    return f"{said}: that can show a gain of about {gain:.2f} or more, even if they disagree on half of the rows."


def _cost(how: Plan) -> str:
    if how.proof == "quick":
        return "The proof is quick: frozen arms and the classical baseline only, no model trained from scratch."
    if how.budget is not None:
        return (
            f"The proof may take up to {2 * how.budget:,.0f} s more than the budget: the same model from scratch first."
        )
    return "The proof trains the same model from scratch for one to two times as long as all transfer arms together."
