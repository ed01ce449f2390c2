"""Measuring arms on the test rows: metrics with counts, paired gains, and what a reader should know of the test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstart import calibration, conformal, evaluate, stats
from headstart.modalities import BASELINES
from headstart.types import (
    Arm,
    ArmResult,
    Calibration,
    Conformal,
    Examples,
    FloatArray,
    Gain,
    IndexArray,
    Predictions,
    Split,
    Task,
)

__all__ = ["LEVEL", "Measure", "adjusted", "baseline", "calibrated", "conformed"]

LEVEL = 0.95
RESAMPLES = 4000
COARSE = 0.2
"""A test that can only detect a larger gain than this deserves a warning."""


@dataclass(frozen=True)
class Measure:
    """What the measurements of one proof share."""

    task: Task
    examples: Examples
    split: Split
    seed: int

    @property
    def targets(self) -> np.ndarray:
        """Of the test rows."""
        return np.asarray(self.examples.targets[self.split.test])

    def arm(self, arm: Arm, logits: FloatArray) -> ArmResult:
        """An arm's measurements, from its calibrated logits on the test rows."""
        predictions = Predictions(self.ids(self.split.test), np.asarray(logits, np.float64))
        return self.result(arm.name, arm.source, arm.method, arm.seconds, arm.validation, predictions)

    def gain(self, arm: ArmResult, over: ArmResult) -> Gain:
        """The paired difference in the task's metric, positive where the arm is better."""
        task, first, second = self.task, arm.predictions.logits, over.predictions.logits
        paired = evaluate.difference(task.metric, first, second, self.targets, task.problem)
        found = stats.paired_bootstrap(**paired._asdict(), seed=self.seed, resamples=RESAMPLES, level=LEVEL)
        test, p_value = f"paired bootstrap ({RESAMPLES} resamples)", None
        if task.problem == "classification":
            test += "; exact McNemar test of the rows that are right"
            p_value = stats.mcnemar(evaluate.correct(first, self.targets), evaluate.correct(second, self.targets))
        values = (arm.test[task.metric], over.test[task.metric])
        return Gain(over.name, task.metric, *found, LEVEL, test, p_value, None, rows(len(self.targets)), *values)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the verdict should know."""
        count, notes = len(self.split.test), []
        if (stats.detectable_gain(count) or 1.0) > COARSE:
            needed = int(np.ceil(stats.needed_rows(COARSE)))
            notes.append(
                f"Tiny test set ({rows(count)}): below {needed}, even a gain of {COARSE:.2f} in accuracy may be missed."
            )
        if self.task.problem == "classification" and count:
            absent = [label for number, label in enumerate(self.task.labels) if number not in self.targets]
            if absent:
                more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
                notes.append(f"Not among the test rows, so not tested: {', '.join(absent[:5])}{more}.")
        return tuple(notes)

    def result(
        self, name: str, source: str, method: str, seconds: float, validation: Predictions, test: Predictions
    ) -> ArmResult:
        """Predictions with their metrics."""
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

    def ids(self, numbers: IndexArray) -> tuple[str, ...]:
        """Names of these rows."""
        return tuple(self.examples.ids[row] for row in numbers)

    def inputs(self, numbers: IndexArray) -> list[object]:
        """Inputs of these rows."""
        return [self.examples.inputs[row] for row in numbers]


def baseline(task: Task, examples: Examples, split: Split, seed: int, name: str) -> tuple[ArmResult, str]:
    """A baseline fitted to the training rows, with its measurements, and what it is called in a sentence.

    Args:
        task: What is to be learned.
        examples: The table.
        split: The baseline learns from ``train`` alone.
        seed: Decides its folds.
        name: A name of the table of baselines.
    """
    begin, proof = time.perf_counter(), Measure(task, examples, split, seed)
    made = BASELINES[name](task, seed)
    made.fit(proof.inputs(split.train), examples.targets[split.train], split.folds)
    if len(split.validation):
        validation = Predictions(proof.ids(split.validation), made.logits(proof.inputs(split.validation)))
    else:
        validation = Predictions(proof.ids(split.train[made.held_out]), made.out_of_fold)
    predictions = Predictions(proof.ids(split.test), made.logits(proof.inputs(split.test)))
    seconds = time.perf_counter() - begin
    return proof.result(made.name, made.source, made.method, seconds, validation, predictions), str(made.title)


def adjusted(gains: Sequence[Gain]) -> tuple[Gain, ...]:
    """The gains with p-values adjusted by Holm for all of them together."""
    tested = [gain.p_value for gain in gains if gain.p_value is not None]
    values = iter(stats.holm(tested))
    return tuple(gain if gain.p_value is None else replace(gain, holm=float(next(values))) for gain in gains)


def calibrated(task: Task, arm: Arm, logits: FloatArray, targets: np.ndarray) -> Calibration | None:
    """How far the shipped arm's probabilities can be believed; None where they are not of one label a row."""
    if task.problem != "classification" or not len(targets):
        return None
    chances = calibration.probabilities(logits, task.problem)
    coverage, accuracy = conformal.abstention(chances.max(axis=1), evaluate.correct(logits, targets))
    before = evaluate.value("ece", logits * arm.head.temperature, targets, task.problem)
    return Calibration(
        arm.head.temperature, before, evaluate.value("ece", logits, targets, task.problem), coverage, accuracy
    )


def conformed(
    task: Task, examples: Examples, arm: Arm, logits: FloatArray | None, targets: np.ndarray
) -> Conformal | None:
    """Sets or intervals made from an arm's validation predictions, and how often they hold on test rows.

    Args:
        task: Decides which kind.
        examples: Holds the targets of the validation rows.
        arm: What ships.
        logits: Its logits on the test rows; None: unopened.
        targets: Of the test rows.
    """
    row = {name: number for number, name in enumerate(examples.ids)}
    seen = examples.targets[[row[name] for name in arm.validation.ids]] if arm.validation.ids else targets[:0]
    least = conformal.threshold(arm.validation.logits, seen, task.problem)
    if least is None:
        return None
    if logits is None or not len(targets):
        return Conformal(conformal.LEVEL, least, len(seen), None, None, None, None)
    inside, size = conformal.covered(logits, targets, task.problem, least)
    low, high = stats.wilson(int(inside.sum()), len(inside))
    return Conformal(conformal.LEVEL, least, len(seen), float(inside.mean()), low, high, size)


def rows(count: int) -> str:
    """``1 test row``, ``530 test rows``."""
    return f"{count:,} test row{'' if count == 1 else 's'}"
