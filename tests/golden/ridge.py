"""Writes ridge.json: ridge solutions and held-out predictions by plain refits, float64.

Regenerate with ``python tests/golden/ridge.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_suffix(".json")


def refit(z: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight and free intercept of one ridge, by its normal equations and nothing clever."""
    columns = np.hstack([z, np.ones((len(z), 1))])
    shrinking = penalty * np.eye(columns.shape[1])
    shrinking[-1, -1] = 0
    solution = np.linalg.solve(columns.T @ columns + shrinking, columns.T @ y)
    return solution[:-1], solution[-1]


def held_out(z: np.ndarray, y: np.ndarray, penalty: float, folds: np.ndarray) -> np.ndarray:
    """Predictions of each row by a ridge refitted to the rows of the other folds."""
    predicted = np.empty_like(y)
    for fold in np.unique(folds):
        weight, intercept = refit(z[folds != fold], y[folds != fold], penalty)
        predicted[folds == fold] = z[folds == fold] @ weight + intercept
    return predicted


def case(rng: np.random.Generator, rows: int, dim: int) -> dict[str, Any]:
    x = rng.normal(size=(rows, dim)) * rng.uniform(0.1, 10, dim) + rng.normal(size=dim)
    x[:, 0] = 3.0
    x[1] = x[0]
    y = np.where(rng.integers(0, 3, rows)[:, None] == np.arange(3), 1.0, -1.0)
    folds = rng.permutation(rows) % 3
    folds[0] = folds[1]
    scale = x.std(0) + 1e-5
    z = (x - x.mean(0)) / scale
    fits = []
    for penalty in (dim * 1e-3, dim * 0.1, dim * 1e3):
        weight, intercept = refit(z, y, penalty)
        raw = weight.T / scale
        fits.append(
            {
                "penalty": penalty,
                "weight": raw.tolist(),
                "bias": (intercept - raw @ x.mean(0)).tolist(),
                "loo": held_out(z, y, penalty, np.arange(rows)).tolist(),
                "out_of_fold": held_out(z, y, penalty, folds).tolist(),
            }
        )
    return {"embeddings": x.tolist(), "responses": y.tolist(), "folds": folds.tolist(), "fits": fits}


def main() -> None:
    rng = np.random.default_rng(20)
    cases = {"tall": case(rng, 30, 4), "square": case(rng, 9, 9), "wide": case(rng, 10, 16)}
    FILE.write_text(json.dumps(cases) + "\n", "utf-8")


if __name__ == "__main__":
    main()
