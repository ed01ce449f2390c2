"""Plain fine-tuning: every layer and a fresh head, at one rate."""

from __future__ import annotations

from headstart.recipe import Recipe
from headstart.tuning import Tuned

__all__ = ["Full"]


class Full(Tuned):
    """Every parameter trains from the source's weights, under a random head (Yosinski et al. 2014)."""

    name = "full"
    settings = Recipe(rate=2e-4)
    texts = Recipe(rate=1e-4, epochs=6, least_steps=60)
