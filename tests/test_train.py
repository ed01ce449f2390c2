"""The training loop: resumed bit for bit, and calm about bad numbers, little memory and full disks."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.checkpoint import Checkpoint
from headstart.errors import Diverged, ResourceError
from headstart.recipe import Batch, Group, Recipe
from headstart.train import Trainer

ROWS = 40
RECIPE = Recipe(rate=0.05, epochs=6, batch=8, looks=3)


class Points:
    """Two noisy classes in five dimensions; the noise is the augmentation."""

    def __init__(self) -> None:
        self.sizes = np.arange(ROWS) % 7 + 1
        self.targets = np.arange(ROWS) % 2
        self.points = np.random.default_rng(0).normal(self.targets[:, None], 1, (ROWS, 5)).astype(np.float32)

    def batch(self, positions: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        noise = rng.normal(0, 0.1, (len(positions), 5)) if rng is not None else 0
        return torch.from_numpy((self.points[positions] + noise).astype(np.float32))


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch.inputs).float(), batch.targets)


def network() -> nn.Module:
    """With a convolution, whose weights lie in memory by channels while it trains."""
    wide = nn.Sequential(nn.Linear(5, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Unflatten(1, (3, 4, 4)))
    return nn.Sequential(wide, nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 2))


def trainer(path: Path | None = None, loss: Any = loss_of, recipe: Recipe = RECIPE, **more: Any) -> Trainer:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        model = network()
    feed = Points()
    checkpoint = Checkpoint(path, "key", every=0.0) if path else None
    group = Group(tuple(model.parameters()))
    return Trainer(model, [group], loss, feed, feed.targets, recipe, 3, checkpoint=checkpoint, **more)


def state(one: Trainer) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in one.model.state_dict().items()}


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    one = trainer()
    one.run(30)
    return state(one)


class Died(BaseException):
    pass


def test_training_learns() -> None:
    one = trainer()
    one.run(60)
    feed = Points()
    right = one.model(torch.from_numpy(feed.points)).argmax(1).numpy() == feed.targets
    assert right.mean() > 0.85


@pytest.mark.parametrize("at", [1, 2, 9, 15, 29])
def test_a_training_that_dies_goes_on_to_the_same_bits(tmp_path: Path, whole: dict[str, bytes], at: int) -> None:
    def dying(done: int, total: int) -> None:
        if done == at:
            raise Died

    first = trainer(tmp_path / "state", on_progress=dying)
    with pytest.raises(Died):
        first.run(30)
    second = trainer(tmp_path / "state")
    assert second.planned() == (30 if at > 1 else None)
    second.run(30)
    assert state(second) == whole


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_a_training_that_dies_inside_a_write_goes_on_to_the_same_bits(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    original, left = Path.replace, [after]

    def dying(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return original(self, target)

    first = trainer(tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(Died):
            first.run(30)
    second = trainer(tmp_path / "state")
    second.run(30)
    assert state(second) == whole


def test_the_state_of_another_training_is_not_taken(tmp_path: Path, whole: dict[str, bytes]) -> None:
    one = trainer(tmp_path / "state")
    one.run(7)
    one.checkpoint.key = "other"  # type: ignore[union-attr]
    assert one.planned() is None
    (tmp_path / "state").write_bytes(b"no safetensors")
    assert trainer(tmp_path / "state").planned() is None


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as at a terminal: a shell starts what it runs in the background with that signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_step_and_saves(tmp_path: Path, whole: dict[str, bytes]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 12:
            os.kill(os.getpid(), signal.SIGINT)

    first = trainer(tmp_path / "state", on_progress=stop)
    first.checkpoint.every = 1e9  # type: ignore[union-attr]
    with pytest.raises(KeyboardInterrupt):
        first.run(30)
    second = trainer(tmp_path / "state")
    steps: list[int] = []
    second.on_progress = lambda done, total: steps.append(done)
    second.run(30)
    assert steps[0] == 13
    assert state(second) == whole


def test_timing_steps_changes_nothing(whole: dict[str, bytes]) -> None:
    one = trainer()
    assert one.pace() > 0
    one.run(30)
    assert state(one) == whole


class Failing:
    """The loss, but at some calls something happens to it."""

    def __init__(self, happens: Any, *calls: int) -> None:
        self.happens, self.calls, self.count = happens, calls, 0

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        self.count += 1
        loss = loss_of(model, batch)
        return self.happens(loss) if self.count in self.calls else loss


def test_a_loss_that_is_not_finite_is_rolled_back_once(whole: dict[str, bytes]) -> None:
    one = trainer(loss=Failing(lambda loss: loss * float("nan"), 14))
    outcome = one.run(30)
    assert outcome.events == ["not finite at step 13: back to step 10 at 0.1 of the rate"]
    assert all(np.isfinite(value.numpy()).all() for value in one.model.state_dict().values())


def test_a_second_time_is_divergence() -> None:
    with pytest.raises(Diverged, match="twice, at step 20"):
        trainer(loss=Failing(lambda loss: loss * float("inf"), 14, 25)).run(30)


def test_where_memory_runs_out_batches_are_halved_and_the_gradient_stays(whole: dict[str, bytes]) -> None:
    def exhausted(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    halved, usual = trainer(loss=Failing(exhausted, 5)), trainer()
    for one in (halved, usual):
        one.model[4].p = 0.0  # type: ignore[index,union-attr]
    outcome = halved.run(10)
    usual.run(10)
    assert outcome.events == ["memory ran out: batches of 4, 2 a step, from step 4 on"]
    for name, value in halved.model.state_dict().items():
        np.testing.assert_allclose(value, usual.model.state_dict()[name], rtol=0.05, atol=0.02)


def test_memory_for_not_even_one_example_is_an_error() -> None:
    def exhausted(model: nn.Module, batch: Batch) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(ResourceError, match="a single example"):
        trainer(loss=exhausted).run(3)


def test_a_full_disk_leaves_the_last_good_state(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    original, left = safetensors.torch.save_file, [10]

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(tensors, path, metadata)

    first = trainer(tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(ResourceError, match="free"):
            first.run(30)
    second = trainer(tmp_path / "state")
    assert second.checkpoint.load()[1]["step"] == 10  # type: ignore[index,union-attr]
    second.run(30)
    assert state(second) == whole


def test_the_best_weights_on_held_out_rows_are_kept() -> None:
    losses = iter([0.5, 0.2, 0.9, 0.8, 0.7, 0.6])
    kept: list[dict[str, bytes]] = []

    def look() -> float:
        kept.append(state(one))
        return next(losses)

    one = trainer(look=look, recipe=Recipe(rate=0.05, batch=8, looks=6, patience=3))
    outcome = one.run(30)
    assert (outcome.best, [step for step, _ in outcome.looks]) == (10, [5, 10, 15, 20, 25])
    assert state(one)["1.weight"] == kept[1]["1.weight"]
