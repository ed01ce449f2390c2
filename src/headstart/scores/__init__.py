"""Transferability scores: how well a frozen source's embeddings suit a task, without training the source.

A score is a function

    score(embeddings, targets, problem) -> float

of embeddings ``(N, D)`` and the targets of a problem (classes ``(N,)`` int64, labels ``(N, C)`` bool,
values ``(N,)`` float64), training rows only. **Higher is better**, always. It is deterministic and
pure: it changes none of its arguments, and the order of the rows does not matter.
"""

from __future__ import annotations

from headstart.registry import Registry

__all__ = ["SCORES"]

SCORES = Registry("score", {"ridge_loo": "headstart.scores.ridge_loo:score"})
