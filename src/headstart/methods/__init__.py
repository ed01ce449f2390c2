"""Ways to adapt a source to a task: one a file, found by name in one table.

A method is a class made without arguments, with a ``run`` that returns an arm:

    run(context: Context) -> Arm

It sees train and validation rows only, and is deterministic given the context. One that trains
step by step derives from `headstart.tuning.Tuned` (or `FromProbe`, whose head starts as the probe)
and overrides what differs: ``prepare``, ``parameter_groups``, ``loss``, ``finish``, ``obstacle``, or
its ``settings``, a frozen dataclass. A new method is one file and one line in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.registry import Registry
from headstart.tuning import Context, Method, Tuned, begin_with

if TYPE_CHECKING:
    from headstart.backbones.base import TargetModel

__all__ = ["METHODS", "Context", "FromProbe", "Method"]

METHODS = Registry(
    "method",
    {
        "probe": "headstart.methods.probe:Probe",
        "head": "headstart.methods.head:HeadOnly",
        "prefix": "headstart.methods.prefix:Prefix",
        "lpft": "headstart.methods.lpft:LPFT",
        "contrastive": "headstart.methods.contrastive:Contrastive",
        "full": "headstart.methods.full:Full",
        "discriminative": "headstart.methods.discriminative:Discriminative",
        "gradual": "headstart.methods.gradual:Gradual",
        "surgical-first": "headstart.methods.surgical:First",
        "surgical-middle": "headstart.methods.surgical:Middle",
        "surgical-last": "headstart.methods.surgical:Last",
        "bitfit": "headstart.methods.bitfit:BitFit",
        "norms": "headstart.methods.norms:Norms",
        "l2sp": "headstart.methods.l2sp:L2SP",
        "delta": "headstart.methods.delta:Delta",
        "bss": "headstart.methods.bss:BSS",
        "stochnorm": "headstart.methods.stochnorm:StochNorm",
        "cotuning": "headstart.methods.cotuning:CoTuning",
        "bituning": "headstart.methods.bituning:BiTuning",
        "lwf": "headstart.methods.lwf:LwF",
        "mixout": "headstart.methods.mixout:Mixout",
        "lora": "headstart.methods.lora:LoRA",
        "dora": "headstart.methods.lora:DoRA",
        "ia3": "headstart.methods.lora:IA3",
        "ssf": "headstart.methods.ssf:SSF",
        "reinit": "headstart.methods.reinit:Reinit",
        "soup": "headstart.methods.soup:Soup",
        "setfit": "headstart.methods.setfit:SetFit",
        "distillation": "headstart.methods.distillation:Distillation",
        "scratch": "headstart.methods.scratch:Scratch",
    },
)


class FromProbe(Tuned):
    """A tuning method whose head starts as the probe.

    A random head would send large, meaningless gradients through the source (Kumar et al. 2022).
    """

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Gives the model the probe's layer and its calibrated head."""
        import torch

        with torch.random.fork_rng(devices=()):  # building a source draws numbers, a cached embedding does not
            probe = METHODS["probe"]().run(context)
            model.read(probe.layer)
        begin_with(model, probe.head, context)
        return model
