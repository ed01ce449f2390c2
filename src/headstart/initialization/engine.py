"""``initialize``: give a module the weights of another one, by rules, with a ledger of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import UsageError, listed
from headstart.initialization import DEFAULT, RULES
from headstart.initialization.proof import equal_outputs
from headstart.initialization.scene import Pair, Pairs, Rule, Scene, shape_of
from headstart.store import sha256_array
from headstart.types import Ledger, LedgerRow

__all__ = ["HEADS", "LEAST", "initialize"]

LEAST = 0.9
"""Share of the backbone's parameters that must come from the source, unless told otherwise."""
HEADS = ("head", "classifier", "fc", "score", "logits")
"""What the head is called where neither the target nor the caller says."""


@torch.no_grad()
def initialize(
    target: nn.Module,
    source: Any,
    rules: Sequence[str | Rule] = DEFAULT,
    *,
    least: float = LEAST,
    heads: Sequence[str] | None = None,
    prove: Any = None,
) -> Ledger:
    """Gives ``target`` the weights of ``source`` and accounts for every tensor of both.

    The target is changed in place, and only if nothing is refused.

    Args:
        target: Any module, as it was made: what no rule explains stays as it is.
        source: A module, a mapping from names to tensors or arrays, or a `Source`.
        rules: Names of the rule table, or rules with settings of their own, in the order in which they act.
        least: Share of the target's parameters, its head aside, that must come from the source, in [0, 1].
        heads: Beginnings of the names of the target's head; None: as the target's library says, or `HEADS`.
        prove: A batch, or a function of a module: its outputs on both sides are compared, in evaluation
            mode. A dict is passed as keywords, a tuple as arguments.

    Raises:
        UsageError: If less than ``least`` is explained (both sides are listed), a rule is unknown, or
            the outputs differ.

    >>> from torch import nn
    >>> source = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 5))
    >>> target = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    >>> print(initialize(target, source, heads=["2"]))
    8.2% copied, 73.5% reshaped, 18.4% fresh of 98 parameters in 4 tensors; 2 source tensors unused
    tensor    status            shape  rule             reason
    2.weight  fresh             2 × 8  none             no rule makes 2 × 8 of 2.weight, 5 × 8
    2.bias    fresh                 2  none             no rule makes 2 of 2.bias, 5
    0.weight  reshaped  8 × 1 × 3 × 3  name + channels  same name; the 3 input channels summed
    2.weight  unused            5 × 8  none             2.weight is fresh: no rule makes 2 × 8 of 2.weight, 5 × 8
    2.bias    unused                5  none             2.bias is fresh: no rule makes 2 of 2.bias, 5
    0.bias    copied                8  name             same name
    """
    scene = Scene(_tensors(target), _tensors(source), target, _module(source), _heads(target, heads))
    acting = [RULES[rule]() if isinstance(rule, str) else rule for rule in rules]
    paired, left_out = _pair(scene, acting)
    made = {name: _fit(scene, acting, name, *paired.get(name, ("", "", ""))) for name in scene.target}
    rows = [row for row, _ in made.values()]
    tried = {one: name for name, (one, *_) in paired.items()}
    ledger = Ledger((*rows, *_unused(scene, rows, tried, left_out)))
    _refuse_unexplained(ledger, scene, least)
    values = {name: value for name, (_, value) in made.items()}
    if prove is None:
        target.load_state_dict(values, strict=True)
        proof = ""
    else:
        with _unchanged_if_refused(target):
            target.load_state_dict(values, strict=True)
            proof = equal_outputs(target, scene.origin, prove)
    if not proof and any(row.rule.startswith("order") for row in rows):
        proof = "matched by order and shape; outputs were not compared (see prove)"
    return replace(ledger, proof=proof)


def _pair(scene: Scene, acting: Sequence[Rule]) -> tuple[dict[str, tuple[str, str, str]], dict[str, tuple[str, str]]]:
    """Target tensor -> (source tensor, rule, reason), and source tensor -> (rule, why it is left out)."""
    paired: dict[str, tuple[str, str, str]] = {}
    left_out: dict[str, tuple[str, str]] = {}
    for rule in acting:
        open_ = [name for name in scene.target if name not in paired]
        found: Pairs = rule.pair(scene, open_)
        paired |= {name: (one, rule.name, found.reason) for name, one in found.of.items() if name in open_}
        left_out |= {name: (rule.name, why) for name, why in found.left_out.items() if name not in left_out}
    return paired, left_out


def _fit(
    scene: Scene, acting: Sequence[Rule], name: str, source: str, rule: str, reason: str
) -> tuple[LedgerRow, Tensor]:
    """What becomes of one target tensor, and its values."""
    own = scene.target[name]
    if not source:
        return _row(name, own, "fresh", "none", "no source tensor has this name or place"), own
    value, rules, reasons, taken = scene.source[source], [rule], [reason], 1.0
    for one in acting:
        fitted = one.fit(scene, Pair(name, source), value)
        if fitted is not None:
            value, taken = fitted.value, taken * fitted.taken
            rules.append(one.name)
            reasons.append(fitted.reason)
    if value.shape != own.shape:
        why = f"no rule makes {shape_of(own)} of {source}, {shape_of(scene.source[source])}"
        return _row(name, own, "fresh", "none", why), own
    if taken == 0:
        return _row(name, own, "fresh", " + ".join(rules), "; ".join(reasons)), own
    if value.dtype != own.dtype:
        reasons.append(f"{_kind(value)} to {_kind(own)}")
    value = value.to(own.dtype)
    status = "reshaped" if len(rules) > 1 else "copied"
    row = _row(name, value, status, " + ".join(rules), "; ".join(reasons))
    return replace(row, sources=(source,), taken=taken), value


def _row(name: str, value: Tensor, status: Any, rule: str, reason: str) -> LedgerRow:
    return LedgerRow(name, status, tuple(value.shape), rule, reason, sha256=_hash(value))


def _unused(
    scene: Scene, rows: Sequence[LedgerRow], tried: Mapping[str, str], left_out: Mapping[str, tuple[str, str]]
) -> Iterator[LedgerRow]:
    """The source's tensors that nothing was taken from: left out by a rule, tried in vain, or never paired."""
    used = {name for row in rows for name in row.sources}
    target = {row.tensor: row for row in rows}
    namesakes = {scene.counterpart(name): name for name in target} | dict(tried)
    for name, value in scene.source.items():
        if name in used:
            continue
        same = target.get(namesakes.get(name, ""))
        why = f"{same.tensor} is {same.status}: {same.reason}" if same else "no target tensor has this name or place"
        rule, reason = left_out.get(name, ("none", why))
        yield LedgerRow(name, "unused", tuple(value.shape), rule, reason, sha256=_hash(value))


def _refuse_unexplained(ledger: Ledger, scene: Scene, least: float) -> None:
    backbone = Ledger(tuple(row for row in ledger.target if not scene.is_head(row.tensor)))
    explained = backbone.share("copied") + backbone.share("reshaped")
    if not backbone.parameters or explained >= least:
        return
    fresh = [f"{row.tensor} ({row.reason})" for row in backbone.rows if row.status == "fresh"]
    unused = [f"{row.tensor} {shape_of(scene.source[row.tensor])}" for row in ledger.unused]
    sides = listed({"fresh in the target": fresh, "unused in the source": unused})
    raise UsageError(
        f"only {explained:.1%} of the target's backbone would come from the source, {least:.0%} are asked for, so "
        f"nothing was changed: {sides}. Give a rule that explains them, or a lower least=."
    )


@contextmanager
def _unchanged_if_refused(target: nn.Module) -> Iterator[None]:
    before = {name: value.clone() for name, value in target.state_dict().items()}
    try:
        yield
    except BaseException:
        target.load_state_dict(before, strict=True)
        raise


def _tensors(source: Any) -> dict[str, Tensor]:
    """The tensors of a module, a mapping or a `Source`, in main memory."""
    if isinstance(source, nn.Module):
        found: Mapping[str, Any] = source.state_dict()
    else:
        found = source if isinstance(source, Mapping) else source.tensors()
    return {name: torch.as_tensor(value).detach().cpu() for name, value in found.items()}


def _module(source: Any) -> nn.Module | None:
    return source if isinstance(source, nn.Module) else None


def _heads(target: nn.Module, given: Sequence[str] | None) -> tuple[str, ...]:
    """Beginnings of the head's names: as given, as timm or transformers say, or by what heads are called."""
    if given is not None:
        return tuple(given)
    told = (getattr(target, "pretrained_cfg", None) or {}).get("classifier") or ()
    if told:
        return (told,) if isinstance(told, str) else tuple(told)
    children = [name for name, _ in target.named_children()]
    base = getattr(target, "base_model_prefix", "")
    if base and base in children:
        return tuple(name for name in children if name != base)
    return tuple(name for name in children if name in HEADS)


def _hash(value: Tensor) -> str:
    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        value = value.view(torch.int16)
    return sha256_array(value.numpy())


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
