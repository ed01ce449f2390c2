"""LEEP (Nguyen et al. 2020): how well the source's own classes predict the new ones."""

from __future__ import annotations

from headstart.scores import Score, expected_log_prediction, of_classes

__all__ = ["SCORE"]

SCORE = Score(of_classes(expected_log_prediction), problems=("classification", "multilabel"), source_head=True)
"""See `headstart.scores.expected_log_prediction`; the copies of it that leave out the logarithm are no LEEP."""
