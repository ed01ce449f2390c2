"""Ways to adapt a source to a task: one a file, found by name in one table.

A method is a class made without arguments, with a ``run`` that returns an arm:

    run(context: Context) -> Arm

It sees train and validation rows only, and is deterministic given the context. One that trains
step by step derives from `headstart.tuning.Tuned` and overrides what differs: ``prepare``,
``parameter_groups``, ``loss``, ``finish``, or its ``settings``, a frozen dataclass. A new method
is one file and one line in the table.
"""

from __future__ import annotations

from headstart.registry import Registry
from headstart.tuning import Context, Method

__all__ = ["METHODS", "Context", "Method"]

METHODS = Registry(
    "method",
    {
        "probe": "headstart.methods.probe:Probe",
        "lpft": "headstart.methods.lpft:LPFT",
        "full": "headstart.methods.full:Full",
        "scratch": "headstart.methods.scratch:Scratch",
    },
)
