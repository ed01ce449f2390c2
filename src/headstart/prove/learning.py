"""What labels are worth: learning curves of the transfer and of what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart import curves, evaluate, stats
from headstart.evaluate import METRICS
from headstart.prove.protocol import title
from headstart.prove.resampling import Draw, Learner, predicted
from headstart.types import Curve, Examples, FloatArray, LabelsSaved, Learning, MoreLabels, Task

__all__ = ["learning", "measured_curve", "single_point"]

RESAMPLES = 400
MORE = 100
"""How many more labels the receipt prices."""
LEVEL = 0.95


@dataclass(frozen=True)
class Sampled:
    """A learning curve with its bootstrap; oriented: higher is better."""

    arm: str
    rows: tuple[int, ...]
    values: FloatArray
    """(S, D): by size and draw."""
    resampled: FloatArray
    """(S, B): means over resampled draws, each on resampled evaluation rows, the same for every arm."""

    @property
    def rising(self) -> tuple[FloatArray, FloatArray]:
        """The curve ``(S, 1)`` and its resamples ``(S, B)``, none of which falls."""
        return curves.monotone(self.values.mean(axis=1, keepdims=True)), curves.monotone(self.resampled)


def measured_curve(
    task: Task, examples: Examples, arm: str, learner: Learner, draws: Sequence[Draw], seed: int
) -> Sampled:
    """The learning curve of a learner on nested subsets of every draw's training rows.

    Args:
        task: Names the metric.
        examples: The table.
        arm: What the curve is called.
        learner: Learns from parts.
        draws: All ask about the same rows, in any order.
        seed: Decides the resampled rows: curves of one seed are paired.
    """
    most = len(draws[0][0].train)
    sizes = curves.sizes(most, task.outputs)
    values, drawn = np.empty((len(sizes), len(draws))), np.empty((len(sizes), len(draws), RESAMPLES))
    for number, draw in enumerate(draws):
        asked = np.concatenate([part.test for part in draw])
        weights = _weights(asked, seed)
        for at, size in enumerate(sizes):
            logits = predicted(learner, examples, draw, size / most)
            values[at, number], drawn[at, number] = _measured(task, logits, examples.targets[asked], weights)
    picks = np.random.default_rng(seed).integers(0, len(draws), (len(draws), RESAMPLES))
    return Sampled(arm, sizes, values, drawn[:, picks, np.arange(RESAMPLES)].mean(axis=1))


def single_point(
    task: Task, examples: Examples, arm: str, rows: int, logits: FloatArray, asked: np.ndarray, seed: int
) -> Sampled:
    """A curve of which only the end is known: an arm that learned from all training rows once."""
    value, drawn = _measured(task, logits, examples.targets[asked], _weights(asked, seed))
    return Sampled(arm, (rows,), np.array([[value]]), drawn[None])


def learning(task: Task, transfer: Sampled, others: Sequence[Sampled]) -> Learning:
    """The curves, the labels saved over each of the others, and what more labels would buy."""
    sign = _sign(task)
    shown = tuple(Curve(one.arm, one.rows, sign * one.values) for one in (transfer, *others))
    saved = tuple(_saved(task, transfer, other) for other in others)
    return Learning(task.metric, shown, saved[0] if saved else None, _more(task, transfer), saved[1:])


def _sign(task: Task) -> float:
    return 1.0 if METRICS[task.metric].higher_is_better else -1.0


def _weights(asked: np.ndarray, seed: int) -> FloatArray:
    """(B, rows): the same draws of rows whatever the order they are asked about in."""
    drawn = stats.resampled(np.random.default_rng(seed), RESAMPLES, len(asked))
    return drawn[:, np.argsort(np.argsort(asked))]


def _measured(task: Task, logits: FloatArray, targets: np.ndarray, weights: FloatArray) -> tuple[float, FloatArray]:
    metric: Callable[[FloatArray], FloatArray] = evaluate.measured(task.metric, logits, targets, task.problem)
    sign = _sign(task)
    return sign * float(metric(np.ones((1, len(targets))))[0]), sign * metric(weights)


def _saved(task: Task, transfer: Sampled, other: Sampled) -> LabelsSaved:
    (own, own_drawn), (theirs, theirs_drawn) = transfer.rising, other.rising
    ratio, bound = curves.times_the_labels(transfer.rows, own, other.rows, theirs)
    drawn, bounds = curves.times_the_labels(transfer.rows, own_drawn, other.rows, theirs_drawn)
    low = float(np.quantile(np.where(bounds < 0, 0.0, drawn), (1 - LEVEL) / 2, method="lower"))
    high = float(np.quantile(np.where(bounds > 0, np.inf, drawn), (1 + LEVEL) / 2, method="higher"))
    times, least = float(ratio[0]), bool(bound[0] > 0)
    level = _sign(task) * float(min(own[-1, 0], theirs[-1, 0]))
    sentence = _saved_sentence(task, transfer, other, (times, low, high), int(bound[0]), level)
    return LabelsSaved(other.arm, times, low, high, least, sentence)


def _saved_sentence(
    task: Task,
    transfer: Sampled,
    other: Sampled,
    times: tuple[float, float, float],
    bound: int,
    level: float,
) -> str:
    ratio, low, high = times
    known = f"{LEVEL:.0%} interval {_times(low)} to {'no bound' if np.isinf(high) else _times(high)}"
    of = f"{title(task.metric)} {level:.2f}"
    if bound > 0:
        return (
            f"For {of}, what it reaches with {other.rows[-1]:,} labels, the {other.arm} needs at least "
            f"{_times(ratio)} times the labels of the {transfer.arm} ({known}): fewer were not tried."
        )
    if bound < 0:
        return (
            f"No labels are saved: the {other.arm} reaches {of} with at most {_times(ratio)} times the labels of the "
            f"{transfer.arm} ({known})."
        )
    return f"For {of} the {other.arm} needs about {_times(ratio)} times the labels of the {transfer.arm} ({known})."


def _times(number: float) -> str:
    return f"{number:.0f}" if number >= 9.5 else f"{number:.1f}"


def _more(task: Task, transfer: Sampled) -> MoreLabels | None:
    rows = min(MORE, transfer.rows[-1])
    gains = curves.above(transfer.rows, transfer.values.mean(axis=1, keepdims=True), transfer.rows[-1] + rows)
    drawn = curves.above(transfer.rows, transfer.resampled, transfer.rows[-1] + rows)
    if gains is None or drawn is None:
        return None
    low, high = (float(end) for end in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    gain = float(gains[0])
    low, high = min(low, gain), max(high, gain)
    sentence = (
        f"{rows:,} more labels would improve the {title(task.metric)} of the {transfer.arm} by about {gain:.3f} "
        f"({LEVEL:.0%} interval {low:.3f} to {high:.3f}), if its learning curve goes on as a power law."
    )
    return MoreLabels(transfer.arm, rows, gain, low, high, sentence)
