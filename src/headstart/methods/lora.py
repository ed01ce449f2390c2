"""Low-rank and scaling adapters through peft: LoRA, DoRA and (IA)3, merged into the weights at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.errors import UsageError
from headstart.methods import Context, FromProbe
from headstart.recipe import Group, Recipe
from headstart.tuning import layered

if TYPE_CHECKING:
    from torch import nn

    from headstart.backbones.base import TargetModel

__all__ = ["DoRA", "IA3", "LoRA"]

RANK = 16
SCALE = 32
"""``alpha`` of LoRA: the update counts ``alpha / rank``."""
MARKS = ("lora_", "ia3_")


class LoRA(FromProbe):
    """Low-rank updates of every linear layer and pointwise convolution (Hu et al. 2022)."""

    name = "lora"
    settings = Recipe(rate=1e-3, decay=0.0)

    def obstacle(self, context: Context) -> str | None:
        """A source without linear layers."""
        return None if _targets(context.source.backbone().model) else "it has no linear layer to put an adapter on"

    def config(self, targets: list[str]) -> Any:
        """The adapters as peft wants them."""
        from peft import LoraConfig

        return LoraConfig(r=RANK, lora_alpha=SCALE, target_modules=targets)

    def prepare(self, model: TargetModel, context: Context) -> TargetModel:
        """Puts an adapter on every layer that takes one.

        Raises:
            UsageError: If peft is not installed.
        """
        try:
            from peft import inject_adapter_in_model
        except ImportError as error:
            raise UsageError(f"method '{self.name}' needs peft: pip install 'headstart[peft]'") from error
        model = super().prepare(model, context)
        inner = model.backbone.model
        inject_adapter_in_model(self.config(_targets(inner)), inner)
        return model

    def parameter_groups(self, model: TargetModel) -> list[Group]:
        """The adapters, and the head."""
        return layered(model, skip=lambda name: not any(mark in name for mark in MARKS))

    def finish(self, model: TargetModel) -> TargetModel:
        """Merges the adapters into the weights, which have the source's architecture again."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        inner = model.backbone.model
        for place, module in list(inner.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                parent, _, name = place.rpartition(".")
                setattr(inner.get_submodule(parent), name, module.get_base_layer())
        return model


class DoRA(LoRA):
    """LoRA of the direction of each weight, with its length trained apart (Liu et al. 2024)."""

    name = "dora"

    def config(self, targets: list[str]) -> Any:
        """As LoRA's, decomposed."""
        from peft import LoraConfig

        return LoraConfig(r=RANK, lora_alpha=SCALE, target_modules=targets, use_dora=True)


class IA3(LoRA):
    """A scale for every output of every linear layer and pointwise convolution ((IA)3, Liu et al. 2022)."""

    name = "ia3"
    settings = Recipe(rate=3e-3, decay=0.0)

    def config(self, targets: list[str]) -> Any:
        """Scales on all targets; peft's split of them into attention and feed-forward has no use here."""
        from peft import IA3Config

        return IA3Config(target_modules=targets, feedforward_modules=[])


def _targets(model: nn.Module) -> list[str]:
    """Names of linear layers and pointwise convolutions."""
    from torch import nn

    def taken(module: nn.Module) -> bool:
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        return isinstance(module, nn.Linear) or pointwise

    return [name for name, module in model.named_modules() if name and taken(module)]
