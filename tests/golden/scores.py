"""Writes scores.json: every score by its dense textbook formula, float64, with loops and nothing clever.

The formulas are those of the papers, not of the repositories that came with them, some of which are wrong.
Regenerate with ``python tests/golden/scores.py``.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import multivariate_normal, spearmanr
from sklearn.covariance import ledoit_wolf

FILE = Path(__file__).with_suffix(".json")


def logme(x: np.ndarray, y: np.ndarray) -> float:
    """Log density of each 0/1 column under a Gaussian with covariance I / beta + X X' / alpha, maximised."""

    def minus(logs: np.ndarray, column: np.ndarray) -> float:
        covariance = np.eye(len(x)) * np.exp(-logs[1]) + x @ x.T * np.exp(-logs[0])
        return -float(multivariate_normal(np.zeros(len(x)), covariance).logpdf(column)) / len(x)

    found = []
    for label in np.unique(y):
        column = (y == label).astype(float)
        tries = [
            minimize(minus, start, (column,), "Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 4000})
            for start in ([0.0, 0.0], [3.0, 1.0], [-2.0, 3.0])
        ]
        found.append(-min(one.fun for one in tries))
    return float(np.mean(found))


def hscore(x: np.ndarray, y: np.ndarray) -> float:
    _, shrinkage = ledoit_wolf(x)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / x.shape[1] * np.eye(x.shape[1])
    means = np.array([centred[y == label].mean(0) for label in y])
    return float((1 - shrinkage) * np.trace(np.linalg.inv(shrunk) @ (means.T @ means / len(x))))


def knn(x: np.ndarray, y: np.ndarray, neighbours: int = 5) -> float:
    classes, total = np.unique(y), 0.0
    for row in range(len(x)):
        rest = [other for other in range(len(x)) if other != row]
        cosine = [float(x[row] @ x[i] / np.linalg.norm(x[row]) / np.linalg.norm(x[i])) for i in rest]
        near = [rest[place] for place in np.argsort(cosine)[::-1][:neighbours]]
        everyone = (sum(y[i] == y[row] for i in rest) + 1) / (len(rest) + len(classes))
        total += np.log((sum(y[i] == y[row] for i in near) + everyone) / (neighbours + 1))
    return total / len(x)


def discriminant(x: np.ndarray, y: np.ndarray, strength: float | None) -> tuple[np.ndarray, float]:
    labels = np.unique(y)
    shares = np.array([(y == label).mean() for label in labels])
    means = np.array([x[y == label].mean(0) for label in labels])
    within = sum(p * np.cov(x[y == k].T, bias=True) for p, k in zip(shares, labels, strict=True))
    if strength is None:
        strength = max(float(np.exp(-5 * np.linalg.eigvalsh(within).max())), 1e-10)
    shrunk = (1 - strength) * within + strength * np.trace(within) / x.shape[1] * np.eye(x.shape[1])
    inverse = np.linalg.inv(shrunk)
    logits = [[m @ inverse @ row - m @ inverse @ m / 2 + np.log(p) for m, p in zip(means, shares)] for row in x]  # noqa: B905
    return softmax(np.array(logits), axis=1), strength


def sfda(x: np.ndarray, y: np.ndarray) -> float:
    labels = np.unique(y)
    first, strength = discriminant(x, y, None)
    sure = softmax(first, axis=1)
    means = np.array([x[y == label].mean(0) for label in labels])
    moved = x.copy()
    for row, label in enumerate(y):
        others = np.mean([mean for mean, other in zip(means, labels, strict=True) if other != label], axis=0)
        moved[row] = sure[row, label] * x[row] + (1 - sure[row, label]) * others
    final, _ = discriminant(moved, y, strength)
    return float(np.mean([final[row, label] for row, label in enumerate(y)]))


def leep(theta: np.ndarray, y: np.ndarray) -> float:
    joint = np.zeros((y.max() + 1, theta.shape[1]))
    for row, label in zip(theta, y, strict=True):
        joint[label] += row / len(y)
    given = joint / joint.sum(0)
    return float(np.mean([np.log(given[label] @ row) for row, label in zip(theta, y, strict=True)]))


def nce(theta: np.ndarray, y: np.ndarray) -> float:
    labels = theta.argmax(1)
    return float(np.mean([np.log((y[labels == z] == k).mean()) for z, k in zip(labels, y, strict=True)]))


def gbc(x: np.ndarray, y: np.ndarray) -> float:
    """Spherical covariances; no principal axes are dropped at these sizes, and no variance is below the floor."""
    centred = x - x.mean(0)
    width = min(np.linalg.matrix_rank(centred), 64)
    total = 0.0
    for first, second in combinations(np.unique(y), 2):
        means = [x[y == label].mean(0) for label in (first, second)]
        variances = [((x[y == k] - m) ** 2).sum() / (y == k).sum() / width for k, m in zip((first, second), means)]  # noqa: B905
        middle = np.mean(variances)
        distance = ((means[0] - means[1]) ** 2).sum() / (8 * middle)
        distance += width / 2 * np.log(middle / np.sqrt(variances[0] * variances[1]))
        total += np.exp(-distance)
    return -float(total)


def transrate(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean(0)
    centred /= np.linalg.norm(centred)

    def rate(z: np.ndarray) -> float:
        return 0.5 * float(np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * 1e-4))[1])

    parts = [centred[y == k] for k in np.unique(y)]
    return rate(centred) - sum(len(part) / len(x) * rate(part - part.mean(0)) for part in parts)


def parc(x: np.ndarray, y: np.ndarray) -> float:
    _, _, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    rows = (x - x.mean(0)) @ axes[: np.linalg.matrix_rank(x - x.mean(0))].T
    rows = rows[:, :32] * np.sign([column[np.abs(column).argmax()] for column in rows[:, :32].T])
    one_hot = (y[:, None] == np.unique(y)).astype(float)
    pairs = np.triu_indices(len(x), 1)
    far = 1 - np.corrcoef(rows / rows.std(0))[pairs]
    return float(spearmanr(far, (1 - np.corrcoef(one_hot)[pairs]).round(9)).statistic)


def pactran(x: np.ndarray, y: np.ndarray) -> float:
    centred, rows, dim = x - x.mean(0), len(x), x.shape[1]
    one_hot = (y[:, None] == np.unique(y)).astype(float)
    shape = (dim + 1, one_hot.shape[1])
    inputs = np.hstack([centred, np.ones((rows, 1))])

    def bound(flat: np.ndarray) -> float:
        weight = flat.reshape(shape)
        loss = -(one_hot * log_softmax(inputs @ weight, axis=1)).sum() / rows
        return float(loss + (weight[:-1] ** 2).sum() / (2 * rows))

    found = minimize(bound, np.zeros(shape[0] * shape[1]), method="BFGS", options={"gtol": 1e-7})
    chances = softmax(inputs @ found.x.reshape(shape), axis=1)
    unsure = chances * (1 - chances)
    hessian = np.vstack([(centred**2).T @ unsure + 1 / rows, unsure.sum(0)])
    size = dim * one_hot.shape[1]
    return -float(found.fun + 100 / dim * size / (2 * rows) * np.log(hessian.sum() * rows / size))


def case(rng: np.random.Generator, rows: int, dim: int, apart: float) -> dict[str, Any]:
    y = np.arange(rows) % 3
    x = rng.normal(size=(rows, dim)) * rng.uniform(0.1, 0.5, dim) + apart * rng.normal(size=(3, dim))[y]
    theta = softmax(2 * rng.normal(size=(rows, 4)) + 2 * np.eye(3, 4)[y], axis=1)
    of_embeddings = {f.__name__: f(x, y) for f in (logme, hscore, knn, sfda, gbc, transrate, parc, pactran)}
    of_source = {f.__name__: f(theta, y) for f in (leep, nce)}
    inputs = {"embeddings": x.tolist(), "targets": y.tolist(), "source_probabilities": theta.tolist()}
    return {**inputs, "scores": {**of_embeddings, **of_source}}


def main() -> None:
    rng = np.random.default_rng(20)
    FILE.write_text(json.dumps({"tall": case(rng, 40, 6, 0.3), "wide": case(rng, 18, 30, 0.1)}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
