"""Plain fine-tuning: every layer and a fresh head, at one rate."""

from __future__ import annotations

from headstart.tuning import Tuned

__all__ = ["Full"]


class Full(Tuned):
    """Every parameter trains from the source's weights, under a random head (Yosinski et al. 2014)."""

    name = "full"
