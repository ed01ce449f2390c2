"""The proof: every arm and the classical baseline on the test rows, once; paired gains and a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart import evaluate, stats
from headstart.errors import unknown_name
from headstart.evaluate import METRICS
from headstart.modalities import BASELINES
from headstart.types import Arm, ArmResult, Examples, FloatArray, Gain, IndexArray, Predictions, Receipt, Split, Task

__all__ = ["announce", "baseline", "prove"]

LEVEL = 0.95
RESAMPLES = 4000
COARSE = 0.2
"""A test that can only detect a larger gain than this deserves a warning."""
TITLES = {"macro_f1": "macro F1", "micro_f1": "micro F1", "ece": "ECE", "mae": "MAE", "rmse": "RMSE", "r2": "R2"}
VERDICTS = {
    "helped": "Transfer helped",
    "no evidence": "No evidence that transfer helped",
    "negative transfer": "Negative transfer: the classical baseline is better",
}


def announce(task: Task, split: Split) -> str:
    """What the test rows will be able to show, as a sentence to be said before the work starts."""
    rows = len(split.test)
    gain, title = _detectable(task, rows), _title(task.metric)
    if not rows:
        return "No rows are held out for the test: nothing will be proved."
    held = f"{_rows(rows)} {'is' if rows == 1 else 'are'} held out until the end"
    if gain is None:
        return f"{held}; how small a gain in {title} they can show is not known beforehand."
    if gain >= 1:
        return f"{held}; that is too few to show any gain in {title}."
    return f"{held}; they can show a gain in {title} of about {gain:.2f} or more (80% power, 95% level)."


def prove(
    task: Task,
    examples: Examples,
    split: Split,
    arms: tuple[Arm, ...],
    chosen: str,
    seed: int,
    test_logits: Callable[[Arm, IndexArray], FloatArray],
    remember: Callable[..., tuple[ArmResult, str]] = lambda name, function, *inputs: function(*inputs),  # noqa: ARG005
) -> Receipt:
    """Opens the test rows: measures every arm, a classical baseline and the majority class on them.

    Test targets decide nothing but the receipt: neither an arm's predictions nor a baseline's.

    Args:
        task: What was learned, and the metric that the verdict rests on.
        examples: The table.
        split: Baselines learn from ``train`` alone.
        arms: The trained arms.
        chosen: Name of the arm that ships.
        seed: Decides the baselines' folds and the bootstrap's draws.
        test_logits: Calibrated logits ``(len(rows), outputs)`` of an arm on rows of the table.
        remember: Called with a name, a function and its inputs; may give back an earlier result.

    Raises:
        UsageError: If no arm is named ``chosen``, or the metric is not one of this problem.
    """
    names = [arm.name for arm in arms]
    if chosen not in names:
        raise unknown_name("arm", chosen, names)
    proof = _Proof(task, examples, split, seed)
    results = [proof.measure(arm, test_logits(arm, split.test)) for arm in arms]
    given = (task, examples, split, seed)
    classical, title = remember("baseline", baseline, *given, task.modality)
    majority, _ = baseline(*given, "majority")
    best = results[names.index(chosen)]
    gains = tuple(proof.gain(best, over) for over in (classical, majority)) if len(split.test) else ()
    verdict = _verdict(gains)
    return Receipt(
        verdict=verdict,
        sentence=_sentence(verdict, gains, best, classical, title, len(split.test)),
        chosen=chosen,
        metric=task.metric,
        gains=gains,
        arms=(*results, classical, majority),
        counts={"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        detectable_gain=_detectable(task, len(split.test)),
        scratch_twin="not measured",
        notes=proof.notes(),
        targets=proof.targets,
    )


def baseline(task: Task, examples: Examples, split: Split, seed: int, name: str) -> tuple[ArmResult, str]:
    """A baseline fitted to the training rows, with its measurements, and what it is called in a sentence.

    Args:
        task: What is to be learned.
        examples: The table.
        split: The baseline learns from ``train`` alone.
        seed: Decides its folds.
        name: A name of the table of baselines.
    """
    begin, proof = time.perf_counter(), _Proof(task, examples, split, seed)
    made = BASELINES[name](task, seed)
    made.fit(proof.inputs(split.train), examples.targets[split.train], split.folds)
    if len(split.validation):
        validation = Predictions(proof.ids(split.validation), made.logits(proof.inputs(split.validation)))
    else:
        validation = Predictions(proof.ids(split.train[made.held_out]), made.out_of_fold)
    predictions = Predictions(proof.ids(split.test), made.logits(proof.inputs(split.test)))
    seconds = time.perf_counter() - begin
    return proof.result(made.name, made.source, made.method, seconds, validation, predictions), str(made.title)


@dataclass(frozen=True)
class _Proof:
    """What the measurements of one proof share."""

    task: Task
    examples: Examples
    split: Split
    seed: int

    @property
    def targets(self) -> np.ndarray:
        return np.asarray(self.examples.targets[self.split.test])

    def measure(self, arm: Arm, logits: FloatArray) -> ArmResult:
        predictions = Predictions(self.ids(self.split.test), np.asarray(logits, np.float64))
        return self.result(arm.name, arm.source, arm.method, arm.seconds, arm.validation, predictions)

    def gain(self, arm: ArmResult, over: ArmResult) -> Gain:
        """The paired difference in the task's metric, positive where the arm is better."""
        task, first, second = self.task, arm.predictions.logits, over.predictions.logits
        statistic, differing = evaluate.difference(task.metric, first, second, self.targets, task.problem)
        found = stats.paired_bootstrap(
            statistic, len(self.targets), differing=differing, seed=self.seed, resamples=RESAMPLES, level=LEVEL
        )
        test, p_value = f"paired bootstrap ({RESAMPLES} resamples)", None
        if task.problem == "classification":
            test += "; exact McNemar test of the rows that are right"
            p_value = stats.mcnemar(evaluate.correct(first, self.targets), evaluate.correct(second, self.targets))
        return Gain(over.name, task.metric, *found, LEVEL, test, p_value)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the verdict should know."""
        rows = len(self.split.test)
        notes = [
            "The same model trained from scratch was not measured, so what the pretrained weights add is not known."
        ]
        if (stats.detectable_gain(rows) or 1.0) > COARSE:
            needed = int(np.ceil(stats.needed_rows(COARSE)))
            notes.append(
                f"Tiny test set ({_rows(rows)}): below {needed}, even a gain of {COARSE:.2f} in accuracy may be missed."
            )
        if self.task.problem == "classification" and rows:
            absent = [label for number, label in enumerate(self.task.labels) if number not in self.targets]
            if absent:
                more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
                notes.append(f"Not among the test rows, so not tested: {', '.join(absent[:5])}{more}.")
        return tuple(notes)

    def result(
        self, name: str, source: str, method: str, seconds: float, validation: Predictions, test: Predictions
    ) -> ArmResult:
        row = {found: number for number, found in enumerate(self.examples.ids)}
        seen = self.examples.targets[[row[found] for found in validation.ids]] if validation.ids else self.targets[:0]
        problem = self.task.problem
        return ArmResult(
            name=name,
            source=source,
            method=method,
            seconds=seconds,
            validation=evaluate.metrics(validation.logits, seen, problem),
            test=evaluate.metrics(test.logits, self.targets, problem),
            predictions=test,
        )

    def ids(self, rows: IndexArray) -> tuple[str, ...]:
        return tuple(self.examples.ids[row] for row in rows)

    def inputs(self, rows: IndexArray) -> list[object]:
        return [self.examples.inputs[row] for row in rows]


def _verdict(gains: tuple[Gain, ...]) -> str:
    if gains and gains[0].low > 0:
        return "helped"
    return "negative transfer" if gains and gains[0].high < 0 else "no evidence"


def _sentence(
    verdict: str, gains: tuple[Gain, ...], chosen: ArmResult, classical: ArmResult, title: str, rows: int
) -> str:
    if not gains:
        return "No evidence that transfer helped: there are no test rows to show it."
    gain = gains[0]
    width = gain.high - gain.low
    digits = int(np.clip(1 - np.floor(np.log10(width)), 0, 4)) if width > 0 else 2

    def show(number: float) -> str:
        return f"{round(number, digits) + 0.0:.{digits}f}"

    said = (
        f"{VERDICTS[verdict]}: {_title(gain.metric)} {show(chosen.test[gain.metric])} against "
        f"{show(classical.test[gain.metric])} for {title} on {_rows(rows)}; gain {show(gain.value)}, "
        f"{gain.level:.0%} interval {show(gain.low)} to {show(gain.high)}."
    )
    if verdict == "negative transfer":
        return f"{said} You would be better served by {title}."
    if verdict == "no evidence" and gain.value <= 0:
        return f"{said} {title[0].upper()}{title[1:]} is simpler and did no worse."
    return said


def _detectable(task: Task, rows: int) -> float | None:
    """Smallest gain that 80% of such tests detect; None where the metric is no share of rows."""
    metric = METRICS.get(task.metric)
    return stats.detectable_gain(rows) if metric and metric.share else None


def _title(metric: str) -> str:
    return TITLES.get(metric, metric.replace("_", " "))


def _rows(count: int) -> str:
    return f"{count:,} test row{'' if count == 1 else 's'}"
