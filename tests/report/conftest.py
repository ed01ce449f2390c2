"""Run folders as a fit leaves them, without a fit: realistic, hostile and partial."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.evaluate import metrics
from headstart.store import Run
from headstart.types import (
    Arm,
    ArmResult,
    Audit,
    Calibration,
    Conformal,
    Curve,
    Exclusion,
    Exhibit,
    Exhibition,
    Finding,
    Gain,
    LabelsSaved,
    Learning,
    Ledger,
    LedgerRow,
    LinearHead,
    Map,
    MoreLabels,
    Predictions,
    RankedSource,
    Ranking,
    Receipt,
    Split,
    Suspect,
    Task,
)

PLAIN = (
    "card payment",
    "exchange rate",
    "lost card",
    "pending transfer",
    "top-up failed",
    "verify identity",
    "refund",
    "cash withdrawal",
)
HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(2)',
    "' onfocus='alert(3)' autofocus='",
    "</title></style><img src=x onerror=alert(4)>",
    "\u202eevil\u202c رقم 7 עברית",
    "javascript:alert(5) https://evil.example/?q=1",
    "x" * 5000,
    "\x00\x1b[31m \ufffe &amp; &#60;b&#62; {{7*7}} ${7*7}",
    "]]><!--<svg/onload=alert(6)>",
    "",
)
STEPS = ("read", "split", "rank", "initialize", "adapt", "prove", "audit", "exhibit", "ship")


def predictions(task: Task, rows: int, skill: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets and calibrated logits of a made-up model."""
    if task.problem == "regression":
        targets = rng.normal(50, 12, rows)
        return targets, (targets + rng.normal(0, 12 / skill, rows))[:, None]
    if task.problem == "multilabel":
        flags = rng.random((rows, task.outputs)) < 0.25
        return flags, 0.7 * ((flags * 2.0 - 1.2) * skill + rng.normal(0, 1.2, flags.shape))
    targets = rng.choice(task.outputs, rows, p=(w := 1 / (1 + 0.12 * np.arange(task.outputs))) / w.sum())
    logits = rng.normal(0, 1, (rows, task.outputs))
    logits[np.arange(rows), targets] += skill
    logits[np.arange(rows), (targets + 1) % task.outputs] += 0.45 * skill
    return targets.astype(np.int64), 0.62 * skill * logits


def learned(metric: str, rows: int) -> Learning:
    """Learning curves of a transfer and of what it is compared with."""
    sizes = (80, 160, 320, 640)
    rng = np.random.default_rng(1)

    def curve(arm: str, start: float, end: float) -> Curve:
        middle = np.linspace(start, end, len(sizes))[:, None]
        return Curve(arm, sizes, middle + rng.normal(0, 0.012, (len(sizes), 5)))

    curves = (curve("ridge on all-MiniLM-L6-v2", 0.74, 0.89), curve("classical baseline", 0.42, 0.81))
    saved = LabelsSaved(
        "classical baseline", 3.1, 2.4, 4.4, False,
        "The classical baseline needs about 3.1 times the labels (95% interval 2.4 to 4.4) for the same accuracy.",
    )  # fmt: skip
    more = MoreLabels(
        "ridge on all-MiniLM-L6-v2", 100, 0.008, 0.002, 0.015,
        "100 more labels would buy about 0.8 points (interval 0.2 to 1.5).",
    )  # fmt: skip
    return Learning(metric, curves, saved, more)


def picture(seed: int) -> str:
    """A small made-up photograph as a data URI."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:96, :128]
    waves = [128 + 100 * np.sin(rows / rng.integers(6, 20) + columns / rng.integers(6, 25) + k) for k in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.stack(waves, 2).clip(0, 255).astype(np.uint8)).save(stream, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def shown(task: Task, ids: tuple[str, ...], modality: str, text: str) -> Exhibition:
    """Previews of every example, a map and marks."""
    if modality == "image":
        drawn = [Exhibit(picture(n % 7), picture(90 + n % 7) if n % 5 == 0 else "") for n in range(len(ids))]
    else:
        words = tuple(f"{word} " for word in f"I waited a week for {text} and nothing came".split(" "))
        weights = tuple(np.linspace(-1, 1, len(words)).round(3).tolist())
        drawn = [Exhibit(words=words, weights=weights if n % 3 else ()) for n in range(len(ids))]
    rng = np.random.default_rng(2)
    points = rng.normal(0, 1, (240, 2)).astype(np.float32)
    targets = rng.normal(50, 9, 240) if task.problem == "regression" else rng.integers(0, max(1, len(task.labels)), 240)
    parts = tuple("test" if n % 4 == 0 else "train" for n in range(240))
    method = "t-SNE (perplexity 30) of 50 principal components, 93% of the variance."
    return Exhibition(dict(zip(ids, drawn, strict=True)), Map(points, targets, parts, method), "Marked words matter")


def audited(ids: tuple[str, ...], labels: tuple[str, ...], arms: list[ArmResult]) -> Audit:
    """An audit with a finding of every severity."""
    groups = ((ids[0], ids[-1]), (ids[0], ids[len(ids) // 2]))
    given, likely = (labels or ("3.5", "9.1"))[0], (labels or ("3.5", "9.1"))[-1]
    findings = (
        Finding("copies across splits", "serious", 2, "2 test rows have a copy outside the test.", "Remove them.",
                groups, (f"{given} / {likely}", "train / test")),
        Finding("labels that look wrong", "look", 3, "3 examples look like another label.", "Look at them.",
                tuple((one,) for one in ids[:3]), (f"given {given}",) * len(ids[:3])),
        Finding("exact copies", "note", 1, "1 example repeats another.", "Keep one.", groups[:1]),
    )  # fmt: skip
    suspects = tuple(Suspect(one, given, likely, 0.01) for one in ids[:3])
    clean = {arm.name: {**arm.test, "n": len(ids) - 2} for arm in arms}
    return Audit(findings, 1200, "all-MiniLM-L6-v2", ("exact copies", "outliers"), suspects, ids[:2], clean)


def results(
    labels: tuple[str, ...], problem: str, rows: int, verdict: str, text: str = "row", modality: str = "text"
) -> dict[str, Any]:
    """Step name -> result of a whole run."""
    metric = {"classification": "accuracy", "multilabel": "macro_f1", "regression": "mae"}[problem]
    task = Task(problem, modality, () if problem == "regression" else labels, metric)  # type: ignore[arg-type]
    ids = tuple(f"{text} {index}" for index in range(rows))
    skills = {
        "ridge on all-MiniLM-L6-v2": 3.4,
        "last-2-stages on all-MiniLM-L6-v2": 3.3,
        "ridge on wordllama": 2.6,
        "classical baseline": 2.1,
        "majority baseline": 0.05,
    }
    made, targets = [], None
    for index, (arm, skill) in enumerate(skills.items()):
        targets, logits = predictions(task, rows, skill, np.random.default_rng(3))
        method, _, source = arm.partition(" on ")
        figures = metrics(logits, targets, task.problem)
        seconds = (3.21, 58.4, 0.92, 2.05, 0.0)[index]
        made.append(
            ArmResult(arm, source, method, seconds, {metric: figures[metric] + 0.01}, figures, Predictions(ids, logits))
        )
    gains = (
        Gain(
            "classical baseline",
            metric,
            0.083,
            0.041,
            0.126,
            0.95,
            "paired bootstrap, 10,000 draws; exact McNemar",
            0.00021,
        ),
        Gain(
            "majority baseline", metric, 0.612, 0.561, 0.660, 0.95, "paired bootstrap, 10,000 draws; exact McNemar", 0.0
        ),
    )
    if verdict != "helped":
        shift = 0.17 if verdict == "negative transfer" else 0.07
        gains = tuple(
            Gain(g.over, g.metric, g.value - shift, g.low - shift, g.high - shift, 0.95, g.test, 0.03) for g in gains
        )
    sentence = {
        "helped": "Starting from all-MiniLM-L6-v2 gets 8.3 more of 100 rows right than the classical baseline.",
        "no evidence": "Starting from all-MiniLM-L6-v2 was not measurably better than the classical baseline.",
        "negative transfer": "Starting from all-MiniLM-L6-v2 was worse than the classical baseline; use the baseline.",
    }[verdict]
    receipt = Receipt(
        verdict,
        sentence,
        next(iter(skills)),
        metric,
        gains,
        tuple(made),
        {"train": 640, "validation": 160, "test": rows},
        0.047,
        "not measured",
        ("Test rows were opened once.", "McNemar counts the rows on which exactly one of the two arms is right."),
        targets,
        learning=learned(metric, rows) if problem != "regression" else None,
        calibration=Calibration(1.42, 0.081, 0.027, np.linspace(0.05, 1, 20), np.linspace(1, 0.893, 20)),
        conformal=Conformal(0.9, 0.11, 640, 0.912, 0.88, 0.937, 1.4),
    )
    ranked = (
        RankedSource(
            "all-MiniLM-L6-v2",
            -0.712,
            0.021,
            {"ridge_loo": -0.712, "knn": -0.702},
            4.4,
            tied=True,
            parameters=22_700_000,
            licence="Apache-2.0",
        ),
        RankedSource(
            "wordllama",
            -0.741,
            0.025,
            {"ridge_loo": -0.741, "knn": -0.752},
            0.3,
            tied=True,
            parameters=16_000_000,
            licence="MIT",
        ),
        RankedSource(
            "bert-tiny",
            -1.204,
            0.030,
            {"ridge_loo": -1.204, "knn": -1.311},
            1.1,
            parameters=4_400_000,
            licence="Apache-2.0",
        ),
        RankedSource(
            "gte-small", None, None, {}, 0.0, error="weights are not on this machine; install headstart[sources]"
        ),
    )
    head = LinearHead("ridge", np.zeros((task.outputs, 4), np.float32), np.zeros(task.outputs, np.float32))
    arm = Arm(
        next(iter(skills)),
        "all-MiniLM-L6-v2",
        "ridge",
        0,
        3.21,
        "last",
        head,
        Predictions(ids[:3], made[0].predictions.logits[:3]),
    )
    rows_of = [
        LedgerRow(
            f"encoder.layer.{n}.attention.{part}.weight",
            "copied",
            (384, 384),
            "name",
            "same name and shape",
            frozen=True,
            sha256="0f" * 8,
        )
        for n in range(6)
        for part in "qkvo"
    ]
    rows_of += [LedgerRow("embeddings.word.weight", "copied", (30522, 384), "name", "same name and shape")]
    rows_of += [
        LedgerRow("embeddings.position.weight", "reshaped", (256, 384), "positions", "512 positions cut to 256")
    ]
    rows_of += [
        LedgerRow("head.weight", "fresh", (task.outputs, 384), "none", "new head"),
        LedgerRow("pooler.weight", "unused", (384, 384), "none", "mean pooling is used"),
    ]
    left = tuple(Exclusion(f"{text} {900 + n}", "empty text" if n % 3 else "unreadable: not UTF-8") for n in range(12))
    return {
        "read": {
            "task": task,
            "counts": {"examples": 1200, "labels": len(labels)},
            "excluded": left,
            "notes": (
                "The column 'text' was taken as the input and 'label' as the label.",
                "No column names a split, so 20% of the rows were held out.",
            ),
        },
        "split": Split(
            np.arange(640),
            np.arange(640, 800),
            np.arange(800, 800 + rows),
            np.zeros(0, np.int64),
            "Stratified by label with seed 0.",
        ),
        "rank": Ranking(ranked, "all-MiniLM-L6-v2", 640),
        "initialize": Ledger(tuple(rows_of)),
        "adapt": (arm,),
        "prove": receipt,
        "audit": audited(ids, task.labels, made),
        "exhibit": shown(task, ids, modality, text),
        "ship": {
            "bundle": "runs/banking/bundle",
            "ledger": Ledger(tuple(rows_of)),
            "sha256": "9f2c" * 16,
            "chosen": arm.name,
        },
    }


def write_run(
    folder: Path,
    labels: tuple[str, ...] = PLAIN,
    problem: str = "classification",
    rows: int = 400,
    verdict: str = "helped",
    steps: tuple[str, ...] = STEPS,
    text: str = "row",
    facts: bool = True,
    modality: str = "text",
) -> Path:
    """A run folder with these steps finished."""
    made = results(labels, problem, rows, verdict, text, modality)
    with Run(folder) as run:
        for name in steps:
            run.step(name, made.__getitem__, name)
        if facts:
            run.describe(
                command=["headstart", "fit", "bank questions.csv", "--out", "runs/banking", "--label", "topic"],
                config={"source": "auto", "method": "auto", "budget": None, "seed": 0, "test_share": 0.2},
                versions={"headstart": "0.1.0", "python": "3.11.9", "torch": "2.4.1", "numpy": "2.1.0"},
                machine={"system": "Linux x86_64", "processor": "AMD EPYC (avx2, avx512f)", "threads": 2},
                data="bank questions.csv",
                seconds={"read": 0.4, "split": 0.02, "rank": 6.1, "adapt": 61.6, "prove": 2.9, "ship": 0.8},
            )
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(**changes)``: a run folder, see `write_run`; each call makes another one."""
    made = []

    def make(**changes: Any) -> Path:
        made.append(write_run(tmp_path / f"run{len(made)}", **changes))
        return made[-1]

    return make


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture
def step_names() -> tuple[str, ...]:
    return STEPS
