"""Initialize a target from a source: every weight accounted for, by rules of one file each.

A rule does one or both of two things, and is found by name in one table:

    pair(scene, open)          which source tensor a target tensor is to come from
    fit(scene, pair, value)    how the source's values become values of the target's shape

Rules act in the order in which they are given; the first to pair a target tensor has it, and
every rule may work on the values in turn, so that another image size, other input channels and
fewer layers combine. What no rule explains stays as the target was made, and the ledger says so.
"""

from __future__ import annotations

from headstart.initialization.scene import Fitted, Pair, Rule, Scene
from headstart.initialization.shipping import begin, finish
from headstart.registry import Registry

__all__ = ["DEFAULT", "RULES", "Fitted", "Pair", "Rule", "Scene", "begin", "finish"]

RULES = Registry(
    "rule",
    {
        "depth": "headstart.initialization.rules.depth:Depth",
        "name": "headstart.initialization.rules.name:Name",
        "order": "headstart.initialization.rules.order:Order",
        "labels": "headstart.initialization.rules.labels:Labels",
        "vocabulary": "headstart.initialization.rules.vocabulary:Vocabulary",
        "pointwise": "headstart.initialization.rules.pointwise:Pointwise",
        "channels": "headstart.initialization.rules.channels:Channels",
        "patches": "headstart.initialization.rules.patches:Patches",
        "positions": "headstart.initialization.rules.positions:Positions",
        "relative": "headstart.initialization.rules.relative:Relative",
        "width": "headstart.initialization.rules.width:Width",
    },
)
DEFAULT = ("depth", "name", "order", "pointwise", "channels", "patches", "positions", "relative", "width")
"""The rules that need to be told nothing. ``labels`` and ``vocabulary`` need the names on both sides."""
