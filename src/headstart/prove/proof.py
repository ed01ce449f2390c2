"""The proof: every arm and what it has to beat on the test rows, once; paired gains and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart.adapt import told
from headstart.backbones.source import Source
from headstart.errors import unknown_name
from headstart.features import Embedder
from headstart.prove import protocol, relearning, verdict
from headstart.prove.measure import Measure, adjusted, baseline, calibrated, conformed
from headstart.prove.protocol import Plan
from headstart.store import Remember, afresh
from headstart.types import Arm, Examples, FloatArray, Gain, IndexArray, Learning, Receipt, Split, Task

__all__ = ["Given", "prove"]

NO_TWIN = "The same model trained from scratch was not measured, so what the pretrained weights add is not known."
UNPROVED = "Nothing was proved (proof: off): whether transfer helped is not known."
UNTESTED = "No evidence that transfer helped: there are no test rows to show it."


@dataclass(frozen=True)
class Given:
    """What the proof works with; it does not decide the result."""

    test_logits: Callable[[Arm, IndexArray], FloatArray]
    """Calibrated logits ``(len(rows), outputs)`` of an arm on rows of the table."""
    embedder: Embedder
    remember: Remember = afresh


def prove(
    task: Task,
    examples: Examples,
    split: Split,
    how: Plan,
    sources: Sequence[Source],
    order: str,
    arms: tuple[Arm, ...],
    chosen: str,
    seed: int,
    given: Given,
) -> Receipt:
    """Opens the test rows: measures every arm and what it has to beat on them.

    Test targets decide nothing but the receipt: neither an arm's predictions nor a baseline's.

    Args:
        task: What was learned, and the metric that the verdict rests on.
        examples: The table.
        split: Baselines learn from ``train`` alone.
        how: What is measured, see `headstart.prove.protocol.plan`.
        sources: The candidates, as the ranking had them.
        order: What ranked them.
        arms: The trained arms.
        chosen: Name of the arm that ships.
        seed: Decides the baselines' folds and the bootstrap's draws.
        given: Predicts, embeds and remembers.

    Raises:
        UsageError: If no arm is named ``chosen``, or the metric is not one of this problem.
    """
    names = [arm.name for arm in arms]
    if chosen not in names:
        raise unknown_name("arm", chosen, names)
    shipped, measure = arms[names.index(chosen)], Measure(task, examples, split, seed)
    if how.proof == "off":
        return _unproved(measure, how, arms, shipped)
    decided = (task, examples, split, seed)
    results = [measure.arm(arm, given.test_logits(arm, split.test)) for arm in arms]
    best = results[names.index(chosen)]
    classical, simpler = given.remember("baseline", baseline, *decided, task.modality)
    majority, _ = baseline(*decided, "majority")
    gains: tuple[Gain, ...] = ()
    if len(split.test):
        gains = (measure.gain(best, classical), measure.gain(best, majority))
    if gains and how.folds:
        times = (how.folds, how.repeats)
        again = (*decided, times, tuple(sources), order)
        crossed = given.remember("folds", relearning.folds, *again, given=(given.embedder,))
        gains = (*gains, crossed) if shipped.tensors else (crossed, *gains[1:])
    gains = adjusted(gains)
    return Receipt(
        verdict=verdict.call(gains[0] if gains else None),
        sentence=verdict.sentence(gains[0], simpler) if gains else UNTESTED,
        chosen=chosen,
        metric=task.metric,
        gains=gains,
        arms=(*results, classical, majority),
        counts=_counts(split),
        detectable_gain=protocol.detectable(task, split, how),
        scratch_twin="not measured",
        notes=(NO_TWIN, *told(arms, chosen, len(split.train)), *measure.notes()),
        targets=measure.targets,
        proof=how.proof,
        protocol=" ".join(protocol.announce(task, split, how)),
        not_measured=(verdict.SCRATCH,),
        learning=_learning(decided, sources, arms, shipped, given) if gains else None,
        calibration=calibrated(task, shipped, best.predictions.logits, measure.targets),
        conformal=conformed(task, examples, shipped, best.predictions.logits, measure.targets),
    )


def _learning(
    decided: tuple[Task, Examples, Split, int],
    sources: Sequence[Source],
    arms: Sequence[Arm],
    shipped: Arm,
    given: Given,
) -> Learning | None:
    """Learning curves of the shipped arm where it is frozen, else of another that is; None where all were tuned."""
    by_name = {source.name: source for source in sources}
    still = [arm for arm in (shipped, *arms) if not arm.tensors and arm.source in by_name]
    if not still:
        return None
    what, source = relearning.Frozen(still[0].name, still[0].layer, still[0].head.kind), by_name[still[0].source]
    found: Learning = given.remember("curves", relearning.curves, *decided, source, what, None, given=(given.embedder,))
    return found


def _unproved(measure: Measure, how: Plan, arms: Sequence[Arm], shipped: Arm) -> Receipt:
    """The receipt of a run whose test rows stay unopened."""
    task, split = measure.task, measure.split
    unopened = replace(measure, split=replace(split, test=split.test[:0]))
    nothing = np.zeros((0, task.outputs))
    return Receipt(
        verdict=verdict.call(None),
        sentence=UNPROVED,
        chosen=shipped.name,
        metric=task.metric,
        gains=(),
        arms=tuple(unopened.arm(arm, nothing) for arm in arms),
        counts=_counts(split),
        detectable_gain=None,
        scratch_twin="not measured",
        notes=(UNPROVED,),
        targets=unopened.targets,
        proof=how.proof,
        protocol=" ".join(protocol.announce(task, split, how)),
        not_measured=("the test rows", "the classical baseline", verdict.SCRATCH),
        conformal=conformed(task, measure.examples, shipped, None, unopened.targets),
    )


def _counts(split: Split) -> dict[str, int]:
    return {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
