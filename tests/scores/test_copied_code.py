"""Where the widely copied implementations of scores are wrong, and that these are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from headstart.scores import SCORES, leep


def noise(rows: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that know nothing of the classes."""
    return np.random.default_rng(seed).normal(size=(rows, dim)), np.arange(rows) % 2


def copied_logme(x: np.ndarray, y: np.ndarray, dimensions: bool) -> float:
    """LogME by fixed point as it is usually copied; ``dimensions`` puts its missing term back."""
    rows, dim = x.shape
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    sigma, found = s**2, []
    for label in np.unique(y):
        column = (y == label).astype(float)
        inside = (u.T @ column) ** 2
        outside = column @ column - inside.sum()
        alpha = beta = 1.0
        for _ in range(200):
            ratio = alpha / beta
            gamma = (sigma / (sigma + ratio)).sum()
            length = (sigma * inside / (ratio + sigma) ** 2).sum()
            misfit = (inside / (1 + sigma / ratio) ** 2).sum() + outside
            alpha, beta = gamma / length, (rows - gamma) / misfit
        shared = rows * np.log(beta) - beta * misfit - alpha * length - rows * np.log(2 * np.pi)
        determinant = np.log(alpha + beta * sigma).sum() + dimensions * (dim - len(s)) * np.log(alpha)
        found.append((dim * np.log(alpha) + shared - determinant) / 2 / rows)
    return float(np.mean(found))


@pytest.mark.parametrize(("rows", "dim"), [(60, 20), (60, 300)])
def test_logme_is_the_fixed_point_with_the_missing_term(rows: int, dim: int) -> None:
    x, y = noise(rows, dim)
    x[:, 0] += y
    assert SCORES["logme"](x, y, "classification") == pytest.approx(copied_logme(x, y, dimensions=True), abs=1e-4)


def test_copied_logme_is_no_log_evidence_with_fewer_rows_than_dimensions() -> None:
    x, y = noise(60, 300)
    x[:, 0] += y
    found, copied = SCORES["logme"](x, y, "classification"), copied_logme(x, y, dimensions=False)
    assert copied > found + 1
    # The evidence is a maximum: no alpha and beta explain the column better.
    for alpha in np.logspace(-1, 6, 15):
        for beta in np.logspace(-1, 3, 9):
            covariance = np.eye(60) / beta + x @ x.T / alpha
            assert multivariate_normal(np.zeros(60), covariance).logpdf((y == 1).astype(float)) / 60 < copied
            both = [multivariate_normal(np.zeros(60), covariance).logpdf((y == k).astype(float)) / 60 for k in (0, 1)]
            assert np.mean(both) <= found + 1e-9


def test_copied_logme_prefers_wide_noise_to_a_narrow_source_that_knows_the_classes() -> None:
    wide, y = noise(60, 2000)
    good = np.random.default_rng(1).normal(size=(60, 40))
    good[:, 0] += 3 * y
    assert copied_logme(wide, y, dimensions=False) > copied_logme(good, y, dimensions=False)
    assert SCORES["logme"](wide, y, "classification") < SCORES["logme"](good, y, "classification")


def test_unshrunk_hscore_calls_any_wide_source_perfect() -> None:
    """It is at most C - 1, and is that for every labelling as soon as no row depends on the others."""

    def unshrunk(x: np.ndarray, y: np.ndarray) -> float:
        centred = x - x.mean(0)
        means = np.array([centred[y == label].mean(0) for label in y])
        return float(np.trace(np.linalg.pinv(centred.T @ centred, rcond=1e-10) @ means.T @ means))

    wide, y = noise(60, 300)
    narrow, _ = noise(60, 5)
    narrow[:, 0] += 2 * y
    assert unshrunk(wide, y) == pytest.approx(1.0)
    assert SCORES["hscore"](wide, y, "classification") < SCORES["hscore"](narrow, y, "classification") < 1


def test_sfda_leaves_its_argument_alone() -> None:
    x, y = noise(30, 5)
    before = x.copy()
    SCORES["sfda"](x, y, "classification")
    np.testing.assert_array_equal(x, before)


def test_leep_has_its_logarithm() -> None:
    theta, y = np.full((30, 4), 0.25), np.arange(30) % 3
    assert leep.SCORE(theta, y, "classification", theta) == pytest.approx(np.log(1 / 3))


def test_transrate_without_centred_classes_is_blind_to_two_opposite_ones() -> None:
    x, y = noise(400, 5)
    x[:, 0] += np.where(y, 3, -3)

    def uncentred(x: np.ndarray) -> float:
        z = (x - x.mean(0)) / np.linalg.norm(x - x.mean(0))
        rates = [
            np.linalg.slogdet(np.eye(5) + part.T @ part / len(part) / 1e-4)[1] for part in (z, z[y == 0], z[y == 1])
        ]
        return float(rates[0] - (rates[1] + rates[2]) / 2) / 2

    assert uncentred(x) < 0.02 < 0.3 < SCORES["transrate"](x, y, "classification")
