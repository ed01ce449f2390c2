from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headstart.scores import SCORES

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "scores.json").read_text("utf-8"))
UNCHECKED = {"ridge_loo", "nleep"}
"""The one has its own golden file (ridge.json), the other has no closed form: see test_experimental.py."""


@pytest.mark.parametrize("name", sorted(set(SCORES.paths) - UNCHECKED))
@pytest.mark.parametrize("case", GOLDEN)
def test_score_is_the_dense_formula(case: str, name: str) -> None:
    x, y, theta = (np.array(GOLDEN[case][key]) for key in ("embeddings", "targets", "source_probabilities"))
    found = SCORES[name](x, y, "classification", theta)
    assert found == pytest.approx(GOLDEN[case]["scores"][name], rel=2e-6 if name == "pactran" else 1e-9)
