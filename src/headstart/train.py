"""The only training loop: what the methods of `headstart.methods` have in common.

Every random number of a step (which examples, their augmentation, dropout) is a function of the
seed and the step, so the state of the data loader and of every generator is one number: the step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart import parallel, runtime
from headstart.batches import part_of, positions_of, to_device
from headstart.checkpoint import Checkpoint
from headstart.depthwise import CheapGradients
from headstart.errors import Diverged, ResourceError
from headstart.folding import folded
from headstart.interrupts import finishing
from headstart.pairs import onednn
from headstart.recipe import Batch, Feed, Group, Outcome, Recipe
from headstart.types import IndexArray

__all__ = ["Trainer", "cheap_steps"]

TIMED = 3
"""Steps that are timed, after one to warm up, to say how long the work will take."""
EXAMPLES = 8
"""Rows that tell whether `headstart.folding` changes nothing but the time."""
CALMER = 0.1
"""What the learning rate is multiplied by after a roll-back."""


Loss = Callable[[nn.Module, Batch], Tensor]


class Trainer:
    """Trains a model in place.

    Args:
        model: Lives on `headstart.runtime.device`; keeps its best weights at the end.
        groups: What trains; everything else of the model is frozen.
        loss: Mean loss of a batch.
        feed: Training examples.
        targets: (N,) or (N, C), in the order of the feed.
        recipe: How long and how fast.
        seed: Decides every random number.
        look: Loss on held-out rows, for early stopping; None: the last weights are kept.
        checkpoint: Where the state is kept, for a killed process; None: nowhere.
        on_progress: Called with (done, total) steps.
        shared: Whether the processes of `headstart.parallel` divide each batch: all make the same trainer, the
            first decides, and all hold the same weights.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        loss: Loss,
        feed: Feed,
        targets: np.ndarray,
        recipe: Recipe,
        seed: int,
        look: Callable[[], float] | None = None,
        checkpoint: Checkpoint | None = None,
        on_progress: Callable[[int, int], None] = lambda *_: None,
        shared: bool = False,
    ) -> None:
        self.model, self.groups, self.loss, self.feed, self.recipe, self.seed = model, groups, loss, feed, recipe, seed
        self.device, self.precision = runtime.device(), torch.bfloat16 if runtime.fast_bfloat16() else torch.float32
        self.targets, self.codes = _target_tensor(targets).to(self.device), targets
        self.look, self.checkpoint, self.on_progress, self.shared = look, checkpoint, on_progress, shared
        # Before the averages and the optimizer's moments are made or read, so that all lie in memory alike.
        model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = _freeze_all_but(model, groups)
        self.trained = dict(zip(self.names, (p for group in groups for p in group.parameters), strict=True))
        self.optimizer = torch.optim.AdamW(
            [{"params": list(g.parameters), "lr": 0.0, "weight_decay": recipe.decay * g.decay} for g in groups],
            betas=(0.9, 0.999),
            fused=self.device == "cpu",
        )
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self.pieces, self.calm, self.step = 1, 1.0, 0
        self.best: tuple[int, float, dict[str, Tensor]] = (0, math.inf, {})
        self.outcome = Outcome(0, 0, 0.0, 0.0)

    def planned(self) -> int | None:
        """The steps that a checkpoint of this training was laid out for, so that it ends as it would have."""
        found = self.checkpoint.load() if self.checkpoint else None
        return int(found[1]["steps"]) if found else None

    def pace(self) -> float:
        """Seconds a step, from a few timed ones that change nothing."""
        kept = {name: value.clone() for name, value in self.model.named_buffers()}
        taken = []
        with self._training(), torch.random.fork_rng(devices=()):
            for step in range(1 + TIMED):
                begin = time.perf_counter()
                self._gradients(step)
                taken.append(time.perf_counter() - begin)
        self.optimizer.zero_grad(set_to_none=True)
        for name, value in self.model.named_buffers():
            value.copy_(kept[name])
        return float(np.median(taken[1:]))

    def run(self, steps: int, until: int | None = None) -> Outcome:
        """Trains; finished steps of a checkpoint of the same training are not repeated.

        Args:
            steps: What the schedule is laid out for.
            until: Step to end at; None: ``steps``.

        Raises:
            Diverged: If the loss or gradient leaves the finite numbers twice.
            ResourceError: If memory does not suffice for a single example.
            KeyboardInterrupt: If the user stopped it; the state is saved before.
        """
        end, begin = min(steps, until if until is not None else steps), time.perf_counter()
        self.outcome.steps = steps
        self._resume()
        end = self._agree(end) if self.shared else end
        good = self._state()
        every = max(1, math.ceil(end / self.recipe.looks))
        with (
            self._training(),
            torch.random.fork_rng(devices=()),
            finishing() as stopped,
        ):
            while self.step < end:
                if not self._advance(self.step, self.outcome.steps):
                    self._roll_back(good)
                    continue
                self.step += 1
                self.on_progress(self.step, end)
                looking = self.step % every == 0 or self.step == end
                over = looking and self._look()
                over = parallel.agreed(over) if looking and self.shared else over
                if looking:
                    good = self._state()
                if self.checkpoint:
                    self.checkpoint.save(self._state, force=bool(stopped))
                if stopped:
                    stopped[0]()
                if over:
                    break
        self._keep_best()
        self.outcome.seconds = time.perf_counter() - begin
        self.outcome.pace = self.outcome.seconds / max(1, self.step)
        return self.outcome

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Training mode, all threads, and numbers too small to matter taken as zero: they cost tens of times more."""
        runtime.use_threads()
        _set_mode(self.model, self.recipe)
        torch.set_flush_denormal(True)
        try:
            with cheap_steps(self.model, self._example):
                yield
        finally:
            torch.set_flush_denormal(False)
            self.model.eval()

    def _example(self) -> float:
        """The loss of a few examples, the same each time."""
        positions = np.arange(min(EXAMPLES, len(self.codes)))
        inputs = to_device(self.feed.batch(positions, None), self.device, torch.float32)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            return float(self.loss(self.model, Batch(inputs, self.targets[: len(positions)], positions)).detach())

    def _agree(self, end: int) -> int:
        """Every process goes on from the state of the first one, to its end."""
        if parallel.number() == 0:
            tensors, facts = self._state()
            parallel.send({**facts, "end": end}, tensors)
            return end
        facts, tensors = parallel.receive()
        self._restore(tensors, facts)
        self.outcome.steps = int(facts["steps"])
        return int(facts["end"])

    def _advance(self, step: int, steps: int) -> bool:
        """One step of AdamW; False, and nothing changed, where loss or gradient is not finite."""
        loss = self._gradients(step)
        norm = nn.utils.clip_grad_norm_(list(self.trained.values()), self.recipe.clip)
        if not (math.isfinite(loss) and bool(torch.isfinite(norm))):
            return False
        rate = self.recipe.rate * self.calm * _schedule(step, steps, self.recipe.warmup)
        for given, group in zip(self.optimizer.param_groups, self.groups, strict=True):
            given["lr"] = rate * group.rate
        self.optimizer.step()
        horizon = self.recipe.average * steps
        keep = min(1 - 1 / horizon, (1 + step) / (10 + step)) if horizon > 1 else 0.0
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.trained.values()), 1 - keep)
        return True

    def _gradients(self, step: int) -> float:
        """Gradients of one step's mean loss, in as many pieces as memory asks for."""
        torch.manual_seed(self.seed * 1_000_003 + step)
        positions = positions_of(step, self.codes, self.feed.sizes, self.recipe, self.seed)
        rng = np.random.default_rng((self.seed, step, int(positions[0]))) if self.recipe.augment else None
        inputs = self.feed.batch(positions, rng)  # whole, so that its pieces vary as it would
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = sum(self._piece(inputs, positions, part, step) for part in self._parts(len(positions)))
                break
            except (RuntimeError, MemoryError) as error:
                if not _is_exhausted(error):
                    raise
                if self.pieces >= len(positions):
                    raise ResourceError("memory does not suffice to train on a single example") from error
            self.pieces *= 2
            size = math.ceil(len(positions) / self.pieces)
            self.outcome.events.append(f"memory ran out: batches of {size}, {self.pieces} a step, from step {step} on")
        return parallel.sum_gradients(list(self.trained.values()), loss) if self.shared else loss

    def _parts(self, rows: int) -> Iterator[IndexArray]:
        """This process's rows of a batch, in pieces."""
        mine = np.arange(rows)
        if self.shared:
            mine = np.array_split(mine, parallel.size())[parallel.number()]
        return (part for part in np.array_split(mine, self.pieces) if len(part))

    def _piece(self, inputs: Any, positions: IndexArray, part: IndexArray, step: int) -> float:
        """Adds the gradients of some rows of a batch; returns their share of its mean loss."""
        share = len(part) / len(positions)
        given = to_device(inputs if share == 1 else part_of(inputs, part), self.device)
        rows, done = positions[part], (step + 1) / max(step + 1, self.outcome.steps)
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            loss = self.loss(self.model, Batch(given, self.targets[torch.from_numpy(rows)], rows, done)) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _look(self) -> bool:
        """Measures the averaged weights on held-out rows; True where training may end."""
        if self.look is None:
            return False
        with _swapped(self.trained, self.average):
            self.model.eval()
            loss = self.look()
        _set_mode(self.model, self.recipe)
        self.outcome.looks.append((self.step, loss))
        if loss < self.best[1]:
            self.best = (self.step, loss, {name: value.clone() for name, value in self.average.items()})
        later = sum(step > self.best[0] for step, _ in self.outcome.looks)
        return later >= self.recipe.patience

    def _keep_best(self) -> None:
        """The model's weights become the best averaged ones, or the last averaged where nothing was looked at."""
        best = self.best[2] or self.average
        self.outcome.best = self.best[0] or self.step
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(best[name])
        self.model.eval()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.trained.values()):
            raise Diverged("training ended with weights that are not finite. Use a lower rate, or --method probe.")

    def _roll_back(self, good: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        """Back to the last good state at a lower rate, once."""
        if self.calm < 1:
            raise Diverged(
                f"training left the finite numbers twice, at step {self.step} for the last time, even at a tenth of "
                "the rate. Look at the data for extreme values, or use --method probe."
            )
        step = self.step
        self._restore(*good)
        self.calm = CALMER
        self.outcome.events.append(f"not finite at step {step}: back to step {self.step} at {CALMER:g} of the rate")

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything the rest of the training depends on: tensors, and plain JSON."""
        tensors = {f"model.{name}": value.detach().clone() for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value.clone() for name, value in self.average.items()}
        tensors |= {f"best.{name}": value.clone() for name, value in self.best[2].items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value.clone()
        best = [self.best[0], self.best[1] if math.isfinite(self.best[1]) else None]
        facts = {"steps": self.outcome.steps, "step": self.step, "pieces": self.pieces, "calm": self.calm, "best": best}
        return tensors, {**facts, "looks": self.outcome.looks, "events": self.outcome.events}

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value.clone() for name, value in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model."), strict=True)
        average = part("average.")  # a file holds tensors in an order of its own
        self.average = {name: average[name].to(self.device) for name in self.trained}
        self.optimizer.state.clear()
        for name, value in part("optimizer.step.").items():
            self.optimizer.state[self.trained[name]]["step"] = value.to("cpu")
        for key in ("exp_avg", "exp_avg_sq"):
            for name, value in part(f"optimizer.{key}.").items():
                # Laid out as its parameter: a file keeps no strides, and a fused step reads memory in its order.
                moment = torch.empty_like(self.trained[name].detach()).copy_(value)
                self.optimizer.state[self.trained[name]][key] = moment
        self.step, self.pieces, self.calm = int(facts["step"]), int(facts["pieces"]), float(facts["calm"])
        step, loss = facts["best"]
        self.best = (int(step), math.inf if loss is None else float(loss), part("best."))
        self.outcome.looks = [(int(at), float(value)) for at, value in facts["looks"]]
        self.outcome.events = list(facts["events"])

    def _resume(self) -> None:
        found = self.checkpoint.load() if self.checkpoint else None
        if found:
            self._restore(*found)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Multiple of the peak rate: linear rise, then a cosine to 0 (Loshchilov & Hutter 2017)."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _target_tensor(targets: np.ndarray) -> Tensor:
    return torch.from_numpy(targets.astype(np.int64 if targets.dtype.kind == "i" else np.float32))


def _is_exhausted(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _freeze_all_but(model: nn.Module, groups: Sequence[Group]) -> list[str]:
    """Names of the groups' parameters, in order; every other parameter gets no gradient."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    training = [parameter for group in groups for parameter in group.parameters]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in training:
        parameter.requires_grad_(True)
    return [names[id(parameter)] for parameter in training]


def _set_mode(model: nn.Module, recipe: Recipe) -> None:
    model.train()
    if recipe.freeze_statistics:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@contextmanager
def cheap_steps(model: nn.Module, example: Callable[[], float]) -> Iterator[None]:
    """What makes steps cheaper on a CPU, and changes nothing else.

    Args:
        model: In the mode it trains in.
        example: Loss of a few examples, without autocast, the same each time.
    """
    still = any(isinstance(one, nn.BatchNorm2d) and not one.training for one in model.modules())
    folding = folded(model, example) if still and onednn(runtime.device()) else nullcontext()
    with CheapGradients(), runtime.kept_memory(), folding:
        yield


@contextmanager
def _swapped(trained: Mapping[str, nn.Parameter], average: Mapping[str, Tensor]) -> Iterator[None]:
    """The averaged weights in place of the trained ones."""
    kept = {name: parameter.detach().clone() for name, parameter in trained.items()}
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(average[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(kept[name])
