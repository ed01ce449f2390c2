"""The proof: every arm and what it has to beat on the test rows, once; paired gains and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.adapt import told
from headstart.backbones.source import Source
from headstart.errors import unknown_name
from headstart.features import Embedder
from headstart.prove import protocol, relearning, twin, verdict
from headstart.prove.measure import Measure, adjusted, baseline, calibrated, conformed
from headstart.prove.protocol import Plan
from headstart.store import Remember, afresh
from headstart.types import Arm, ArmResult, Examples, FloatArray, Gain, IndexArray, Learning, Receipt, Split, Task

__all__ = ["Given", "prove"]

NO_TWIN = "The same model trained from scratch was not measured, so what the pretrained weights add is not known."
LONGER = (1, 2, 4, 8, 16)
"""Multiples of its time that a remembered scratch twin may have been trained for: longer is fair too."""
UNPROVED = "Nothing was proved (proof: off): whether transfer helped is not known."
UNTESTED = "No evidence that transfer helped: there are no test rows to show it."


Decided = tuple[Task, Examples, Split, int]
"""What every measurement depends on, the seed last."""


def unknown(name: str, function: Callable[..., Any], /, *inputs: Any) -> Any:  # noqa: ARG001
    """Knows nothing."""
    return None


@dataclass(frozen=True)
class Given:
    """What the proof works with; it does not decide the result."""

    test_logits: Callable[[Arm, IndexArray], FloatArray]
    """Calibrated logits ``(len(rows), outputs)`` of an arm on rows of the table."""
    embedder: Embedder
    remember: Remember = afresh
    recall: Callable[..., Any] = unknown
    """The remembered result of a function for these inputs, or None."""
    say: Callable[[str], None] = lambda _: None
    progress: Callable[[str, int, int], None] = lambda *_: None
    folder: Path | None = None
    """Where the state of an unfinished training is kept."""
    spent: float = 0.0
    """Seconds that finding the source took; they count as the transfer's."""


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
    scratch, known = _twin(decided, how, sources, arms, shipped, given)
    again = (*decided, (how.folds, how.repeats), tuple(sources), order)
    baselines, gains, said = _compared(measure, best, scratch, again, shipped, given)
    return Receipt(
        verdict=verdict.call(gains[0] if gains else None),
        sentence=said,
        chosen=chosen,
        metric=task.metric,
        gains=gains,
        arms=(*results, *([scratch] if scratch else []), *baselines),
        counts=_counts(split),
        detectable_gain=protocol.detectable(task, split, how),
        scratch_twin=known,
        notes=(*(() if scratch else (NO_TWIN,)), *told(arms, chosen, len(split.train)), *measure.notes()),
        targets=measure.targets,
        proof=how.proof,
        protocol=" ".join(protocol.announce(task, split, how)),
        not_measured=() if scratch else (verdict.SCRATCH,),
        learning=_learning(decided, sources, arms, shipped, scratch, given) if gains else None,
        calibration=calibrated(task, shipped, best.predictions.logits, measure.targets),
        conformal=conformed(task, examples, shipped, best.predictions.logits, measure.targets),
    )


def _compared(
    measure: Measure,
    best: ArmResult,
    scratch: ArmResult | None,
    again: tuple[Any, ...],
    shipped: Arm,
    given: Given,
) -> tuple[tuple[ArmResult, ArmResult], tuple[Gain, ...], str]:
    """The baselines, the shipped arm's gains over all it has to beat (the verdict's first), and the verdict's sentence.

    Args:
        measure: Of this proof.
        best: What ships, measured.
        scratch: Its scratch twin, measured, or None.
        again: What `headstart.prove.relearning.folds` takes.
        shipped: The arm that ships.
        given: Embeds and remembers.
    """
    decided = (measure.task, measure.examples, measure.split, measure.seed)
    classical, simpler = given.remember("baseline", baseline, *decided, measure.task.modality)
    majority, _ = baseline(*decided, "majority")
    if not len(measure.split.test):
        return (classical, majority), (), UNTESTED
    simple, further = _over_classical(again, shipped, measure.gain(best, classical), given)
    first = (measure.gain(best, scratch),) if scratch else ()
    gains = adjusted((*first, simple, measure.gain(best, majority), *further))
    return (classical, majority), gains, verdict.sentence(gains[len(first)], simpler, gains[0] if first else None)


def _twin(
    decided: Decided, how: Plan, sources: Sequence[Source], arms: Sequence[Arm], shipped: Arm, given: Given
) -> tuple[ArmResult | None, str]:
    """The scratch twin of the shipped arm, and what is known of it."""
    source = next((one for one in sources if one.name == shipped.source), None)
    if how.proof != "full" or source is None or not len(decided[2].test):
        return None, "not measured"
    seconds = twin.seconds_for(arms, given.spent)
    for longer in LONGER:
        if found := given.recall("twin", twin.train, *decided, source, longer * seconds, how.augment):
            return found  # type: ignore[no-any-return]
    given.say(f"Training {source.name} from scratch for up to {seconds:,.0f} s, to see what its weights are worth.")
    tools = (given.embedder, given.folder, given.progress)
    asked = (*decided, source, seconds, how.augment)
    result: tuple[ArmResult | None, str] = given.remember("twin", twin.train, *asked, given=tools)
    return result


def _over_classical(
    again: tuple[Any, ...], shipped: Arm, held_out: Gain, given: Given
) -> tuple[Gain, tuple[Gain, ...]]:
    """The gain over the classical baseline that counts, and a further one.

    Where rows are few, that is the cross-validation's, unless the arm was tuned: what is dear to train is
    measured once, and the frozen arms' gain stands beside it.

    Args:
        again: What `headstart.prove.relearning.folds` takes.
        shipped: The arm that ships.
        held_out: The gain on the held-out rows.
        given: Embeds and remembers.
    """
    folds, _ = again[4]
    if not folds:
        return held_out, ()
    crossed = given.remember("folds", relearning.folds, *again, given=(given.embedder,))
    return (held_out, (crossed,)) if shipped.tensors else (crossed, ())


def _learning(
    decided: Decided,
    sources: Sequence[Source],
    arms: Sequence[Arm],
    shipped: Arm,
    scratch: ArmResult | None,
    given: Given,
) -> Learning | None:
    """Learning curves of the shipped arm where it is frozen, else of another that is; None where all were tuned."""
    by_name = {source.name: source for source in sources}
    still = [arm for arm in (shipped, *arms) if not arm.tensors and arm.source in by_name]
    if not still:
        return None
    what, source = relearning.Frozen(still[0].name, still[0].layer, still[0].head.kind), by_name[still[0].source]
    end = (scratch.name, scratch.predictions) if scratch else None
    found: Learning = given.remember("curves", relearning.curves, *decided, source, what, end, given=(given.embedder,))
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
