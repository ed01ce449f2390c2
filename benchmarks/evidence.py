"""How often the proof is right where the truth is known: simulations of both protocols, no model and no data.

Run from the repository: ``python benchmarks/evidence.py [--trials 4000] [PART ...]``. The code under test is the
product's own: `headstart.stats`, the folds of `headstart.prove.resampling`, the verdict. Counted are, for N
rows: verdicts of "helped" where nothing is gained, intervals that cover the true gain, and calls of a planted
negative transfer. Every share comes with its own interval (Wilson, 95%). Results are written to
``benchmarks/results/evidence.json``; a fast version of the same is in ``tests/prove/test_evidence.py``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import evaluate, stats
from headstart.prove import protocol, resampling, verdict
from headstart.runtime import versions
from headstart.store import write_json
from headstart.types import Examples, FloatArray, Gain, IndexArray

RESULTS = Path(__file__).parent / "results" / "evidence.json"
CLASSES = np.array([0.5, 0.25, 0.15, 0.1])
"""Shares of the classes: unequal, so that balanced accuracy rests on few rows."""
RESAMPLES = 1000


@dataclass
class Count:
    """Outcomes of trials with a known truth."""

    trials: int = 0
    covered: int = 0
    helped: int = 0
    negative: int = 0
    width: float = 0.0

    def add(self, low: float, high: float, truth: float) -> None:
        """One more interval."""
        word = verdict.call(Gain("other", "accuracy", (low + high) / 2, low, high, 0.95, ""))
        self.trials += 1
        self.covered += low <= truth <= high
        self.helped += word == "helped"
        self.negative += word == "negative transfer"
        self.width += high - low

    def summary(self) -> dict[str, Any]:
        """Shares with their intervals."""

        def share(count: int) -> list[float]:
            return [round(x, 4) for x in (count / self.trials, *stats.wilson(count, self.trials))]

        return {
            "trials": self.trials,
            "coverage": share(self.covered),
            "helped": share(self.helped),
            "negative": share(self.negative),
            "mean_width": round(self.width / self.trials, 4),
        }


def held_out(rows: int, gain: float, discordant: float, metric: str, trials: int, seed: int = 0) -> Count:
    """Paired answers of two arms on ``rows`` test rows: independent rows of which these shares differ."""
    generator, count = np.random.default_rng(seed), Count()
    only_first, only_second = (discordant + gain) / 2, (discordant - gain) / 2
    for trial in range(trials):
        targets, draw = generator.choice(len(CLASSES), rows, p=CLASSES), generator.random(rows)
        first, second = draw >= only_second, (draw < only_second) | (draw >= discordant)
        both_wrong = draw > 0.9
        wrong = (targets + generator.integers(1, len(CLASSES), rows)) % len(CLASSES)
        ours, theirs = (np.eye(4)[np.where(right & ~both_wrong, targets, wrong)] for right in (first, second))
        paired = evaluate.difference(metric, ours, theirs, targets, "classification")
        found = stats.paired_bootstrap(**paired._asdict(), seed=trial, resamples=RESAMPLES)
        count.add(found.low, found.high, only_first - only_second)
    return count


def turns(rows: int, gain: float, discordant: float, trials: int, seed: int = 0) -> Count:
    """Repeated cross-validation of answers that are drawn: a row of which the arms differ does so in each repetition.

    What is random is which rows fall into which fold, and, of a fifth of the rows, what their answers are:
    there, learning from other rows changed them.
    """
    generator, count, repeats = np.random.default_rng(seed), Count(), _repeats(rows)
    shares = [(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant]

    def answers(*shape: int) -> FloatArray:
        return generator.choice([1.0, -1.0, 0.0], shape, p=shares)

    n_test = round(rows / protocol.FOLDS)
    for _ in range(trials):
        changed = generator.random((repeats, rows)) < 0.2
        given = np.where(changed, answers(repeats, rows), answers(rows))
        parts = [np.array_split(generator.permutation(one), protocol.FOLDS) for one in given]
        differences = [part.mean() for repeat in parts for part in repeat]
        found = stats.corrected_t(differences, rows - n_test, n_test)
        count.add(found.low, found.high, gain)
    return count


def _repeats(rows: int) -> int:
    return protocol.OFTEN if rows <= protocol.SMALL else protocol.SELDOM


def views(rows: int, skills: tuple[float, ...], generator: np.random.Generator) -> tuple[Examples, list[FloatArray]]:
    """Rows of three classes, and one embedding ``(rows, 20)`` of this skill a source; equal skills are exchangeable."""
    targets = generator.integers(0, 3, rows)
    means = generator.normal(size=(3, 20)) / np.sqrt(20) * 2
    seen = [generator.normal(size=(rows, 20)) + skill * means[targets] for skill in skills]
    names = tuple(map(str, range(rows)))
    digests = tuple(f"{number:032x}" for number in generator.permutation(rows))
    return Examples("text", names, names, digests, targets), seen


def ridge(targets: np.ndarray, embeddings: FloatArray, train: IndexArray, test: IndexArray) -> FloatArray:
    """Logits of a ridge on +-1 targets."""
    known, asked = embeddings[train], embeddings[test]
    center, wanted = known.mean(axis=0), np.eye(3)[targets[train]] * 2 - 1
    centred = known - center
    weights = np.linalg.solve(centred.T @ centred + 10 * np.eye(known.shape[1]), centred.T @ (wanted - wanted.mean(0)))
    return np.asarray((asked - center) @ weights + wanted.mean(axis=0))


def crossed(rows: int, skills: tuple[float, ...], trials: int, seed: int = 0) -> tuple[Count, float, float]:
    """The protocol of small data: the best of all sources but the last is picked inside, and compared with the last.

    Returns:
        The outcomes, the true gain (the mean over all trials, which is unbiased for training parts of this size),
        and the share of the rows that one arm alone gets right.
    """
    generator, found, discordant = np.random.default_rng(seed), [], []
    for trial in range(trials):
        examples, seen = views(rows, skills, generator)
        draws = resampling.crossed(examples, np.arange(rows), protocol.FOLDS, _repeats(rows), trial)
        parts = [part for draw in draws for part in draw]
        ours, theirs = (_hits(_picking(examples.targets, one), examples, parts) for one in (seen[:-1], seen[-1:]))
        gains = [float(a.mean() - b.mean()) for a, b in zip(ours, theirs, strict=True)]
        discordant.append(np.mean(np.concatenate(ours) != np.concatenate(theirs)))
        n_test = round(rows / protocol.FOLDS)
        found.append(stats.corrected_t(gains, rows - n_test, n_test))
    truth, count = float(np.mean([one.value for one in found])), Count()
    for one in found:
        count.add(one.low, one.high, truth)
    return count, truth, float(np.mean(discordant))


def _hits(learner: resampling.Learner, examples: Examples, parts: list[resampling.Part]) -> list[np.ndarray]:
    return [evaluate.correct(learner(part), examples.targets[part.test]) for part in parts]


def skill_for(rows: int, gain: float, other: float) -> float:
    """The skill that loses this gain against another one, by bisection."""
    low, high = 0.0, other
    for _ in range(7):
        middle = (low + high) / 2
        _, found, _ = crossed(rows, (middle, other), max(20, 6000 // rows), seed=1)
        low, high = (middle, high) if found < -gain else (low, middle)
    return (low + high) / 2


def _picking(targets: np.ndarray, seen: list[FloatArray]) -> Callable[[resampling.Part], FloatArray]:
    """The source that a ridge does best on in the training rows' first fold, learned from all of them."""

    def learn(part: resampling.Part) -> FloatArray:
        inside, held = part.train[part.folds != 0], part.train[part.folds == 0]
        hits = [np.mean(ridge(targets, one, inside, held).argmax(1) == targets[held]) for one in seen]
        return ridge(targets, seen[int(np.argmax(hits))] if len(seen) > 1 else seen[0], part.train, part.test)

    return learn


SIZES = (60, 120, 300, 1000)
SKILL = 0.8
Keep = Callable[..., None]


def main() -> None:
    """Runs the simulations that were asked for and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000, help="of a cell; fewer where models are fitted")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of: {', '.join(PARTS)}; all by default")
    options = parser.parse_args()
    table = json.loads(RESULTS.read_text("utf-8"))["found"] if options.parts and RESULTS.is_file() else {}

    def keep(name: str, count: Count, **facts: Any) -> None:
        table[name] = {**facts, **count.summary()}
        print(f"{name:62} {table[name]}", flush=True)
        write_json(RESULTS, {"versions": versions(), "classes": CLASSES.tolist(), "found": table})

    for part in options.parts or PARTS:
        PARTS[part](options.trials, keep)


def of_held_out(trials: int, keep: Keep) -> None:
    """A held-out test: no gain, a gain, and losses of the size that is printed."""
    for rows in SIZES:
        for metric in ("accuracy", "balanced_accuracy"):
            for gain, discordant in ((0.0, 0.1), (0.0, 0.25), (0.1, 0.25), (0.1, 0.12)):
                count = held_out(rows, gain, discordant, metric, trials)
                name = f"held out, {rows} rows, {metric}, true gain {gain}, {discordant} discordant"
                keep(name, count, true_gain=gain)
    for rows in (60, 120, 194, 300, 780):
        printed = stats.detectable_gain(rows, protocol.DISCORDANT) or 1.0
        for planted in sorted({round(printed, 3), 0.1}):
            count = held_out(rows, -planted, max(protocol.DISCORDANT, planted), "accuracy", trials)
            name = f"held out, {rows} rows, planted negative transfer {planted}"
            keep(name, count, true_gain=-planted, printed_detectable_gain=printed)


def of_turns(trials: int, keep: Keep) -> None:
    """Cross-validation of drawn answers: no gain, and losses of the size that is printed for this discordance."""
    for rows in SIZES:
        for discordant in (protocol.DISCORDANT, protocol.DISAGREEING):
            printed = stats.detectable_gain_repeated(rows, protocol.FOLDS, _repeats(rows), discordant) or 1.0
            for gain in (0.0, -printed):
                name = f"cross-validation, {rows} rows, answers drawn, {discordant} discordant, true gain {gain:.3f}"
                count = turns(rows, gain, discordant, trials)
                keep(name, count, true_gain=round(gain, 4), printed_detectable_gain=printed)


def of_models(trials: int, keep: Keep) -> None:
    """Cross-validation with models fitted inside: no gain, and a source as bad as the printed figure says."""
    for rows in SIZES:
        fewer = trials // {60: 2, 120: 2, 300: 4, 1000: 16}[rows]
        printed = stats.detectable_gain_repeated(rows, protocol.FOLDS, _repeats(rows), protocol.DISAGREEING) or 1.0
        for name, skills in {
            "one source, no true gain": (SKILL, SKILL),
            "best of four sources, no true gain": (SKILL,) * 5,
            "negative transfer": (skill_for(rows, printed, SKILL), SKILL),
        }.items():
            count, truth, discordant = crossed(rows, skills, fewer)
            facts = {"true_gain": round(truth, 4), "discordant": round(discordant, 3)}
            keep(f"cross-validation, {rows} rows, {name}", count, **facts, printed_detectable_gain=printed)


PARTS = {"held-out": of_held_out, "turns": of_turns, "models": of_models}

if __name__ == "__main__":
    main()
