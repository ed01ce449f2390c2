"""Several processes train as one does: messages, sums, and the same weights."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart import parallel
from headstart.recipe import Batch, Group, Recipe
from headstart.train import Trainer
from headstart.types import Predictions

ROWS = 42
LAUNCHER = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
            "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip


class Points:
    """Noisy points; the noise is the augmentation."""

    sizes = np.ones(ROWS, np.int64)
    targets = np.arange(ROWS) % 2

    def batch(self, positions: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        points = np.random.default_rng(0).normal(self.targets[:, None], 1, (ROWS, 5))[positions]
        return torch.from_numpy((points + rng.normal(0, 0.1, points.shape)).astype(np.float32))


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch.inputs).float(), batch.targets)


def trainer(shared: bool) -> Trainer:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    feed, recipe = Points(), Recipe(rate=0.05, batch=7, looks=3)
    return Trainer(model, [Group(tuple(model.parameters()))], loss_of, feed, feed.targets, recipe, 3, shared=shared)


def gradients(one: Trainer) -> dict[str, Tensor]:
    one.model.eval()
    one._gradients(4)
    return {name: parameter.grad.clone() for name, parameter in one.trained.items()}


def test_gradients_of_the_parts_add_up_to_those_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows, so that the parts are unequal, and each row's noise must be that of the whole batch."""
    whole = gradients(trainer(shared=False))
    monkeypatch.setattr(parallel, "size", lambda: 3)
    monkeypatch.setattr(parallel, "sum_gradients", lambda parameters, loss: loss)
    parts = []
    for number in range(3):
        monkeypatch.setattr(parallel, "number", lambda number=number: number)
        parts.append(gradients(trainer(shared=True)))
    for name, expected in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), expected, rtol=1e-3, atol=1e-3)


def test_messages_come_as_they_were_sent() -> None:
    sent = {"taught": Predictions(("a", "b"), np.arange(4.0).reshape(2, 2)), "loss": float("inf"), "none": None}
    tensors = {"step": torch.tensor(3.0), "weight": torch.ones(2, 3)}
    value, found = parallel._unpacked(parallel._packed(sent, tensors))
    assert value["taught"].ids == ("a", "b")
    np.testing.assert_array_equal(value["taught"].logits, sent["taught"].logits)
    assert (value["loss"], value["none"]) == (float("inf"), None)
    assert found["step"].shape == ()
    assert torch.equal(found["weight"], tensors["weight"])


def test_alone_there_is_one_process_and_no_torch() -> None:
    code = "import sys; from headstart import parallel as p; print(p.size(), p.number(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "False"]


def launched(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same command in two processes, by the launcher."""
    given = {**os.environ, "HEADSTART_THREADS": "1", **environment}
    command = [sys.executable, *LAUNCHER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=300, check=False)


if __name__ == "__main__":  # what the launcher begins twice in the test below
    with parallel.joined() as number:
        one = trainer(shared=True)
        one.look = None if number else (lambda: float(one.step))  # the first decides alone
        outcome = one.run(18 if number == 0 else 1)
        state = {name: value.numpy() for name, value in one.model.state_dict().items()}
        weights = float(sum(np.abs(value).sum() for value in state.values()))
        Path(sys.argv[1], f"{number}.json").write_text(json.dumps([outcome.steps, one.step, weights]), "utf-8")
        if number:
            assert parallel.receive() == (None, {})  # the first one is done


@pytest.mark.slow
def test_two_processes_hold_the_weights_of_one(tmp_path: Path) -> None:
    done = launched(__file__, str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads((tmp_path / f"{number}.json").read_text("utf-8")) for number in (0, 1)]
    one = trainer(shared=False)
    one.look = lambda: float(one.step)
    one.run(18)
    expected = float(sum(np.abs(value.numpy()).sum() for value in one.model.state_dict().values()))
    assert found[0] == [18, 18, pytest.approx(expected, rel=1e-4)]
    assert found[1][:2] == [18, 18]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    words = {"food": ["soup", "bread", "rice"], "sport": ["goal", "match", "referee"]}
    path = tmp_path / "questions.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        for number in range(60):
            label = list(words)[number % 2]
            table.writerow([f"{number} {' '.join(rng.choice(words[label], 4))}", label])
    return path


def arm_of(run: Path) -> Any:
    from headstart.store import read_step

    return next(arm for arm in read_step(run, "adapt") if arm.method == "full")


@pytest.mark.slow
def test_a_fit_in_two_processes_gives_what_one_gives(tmp_path: Path, questions: Path) -> None:
    options = ["-m", "headstart", "fit", str(questions), "--source", "paraphrase-minilm-l3-v2", "--method", "full",
               "--proof", "off", "--budget", "1h", "--json", "--quiet"]  # fmt: skip
    done = launched(*options, "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["method"] == "full"  # one document: the first process alone prints
    given = {**os.environ, "HEADSTART_THREADS": "1"}
    command = [sys.executable, *options, "--out", str(tmp_path / "one")]
    subprocess.run(command, capture_output=True, check=True, env=given)
    two, one = (arm_of(tmp_path / name) for name in ("two", "one"))
    assert two.details["steps"] == one.details["steps"] > 5
    assert set(two.tensors) == set(one.tensors)
    np.testing.assert_allclose(two.head.weight, one.head.weight, rtol=0.05, atol=0.005)


@pytest.mark.slow
def test_what_the_first_process_cannot_read_ends_all(tmp_path: Path) -> None:
    done = launched("-m", "headstart", "fit", str(tmp_path / "none.csv"))
    assert done.returncode != 0
    assert done.stderr.count("headstart: ") == 1
