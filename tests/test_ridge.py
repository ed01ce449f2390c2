from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import ridge
from headstart.errors import DataError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ridge.json").read_text("utf-8"))
CASES = [(name, number) for name in GOLDEN for number in range(len(GOLDEN[name]["fits"]))]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    name, number = request.param
    arrays = {key: np.array(value) for key, value in GOLDEN[name].items() if key != "fits"}
    return arrays | {key: np.array(value) for key, value in GOLDEN[name]["fits"][number].items()}


def test_solution_equals_a_plain_refit(golden: dict[str, Any]) -> None:
    weight, bias = ridge.factorize(golden["embeddings"]).solve(golden["responses"], float(golden["penalty"]))
    np.testing.assert_allclose(weight, golden["weight"], atol=1e-10)
    np.testing.assert_allclose(bias, golden["bias"], atol=1e-10)


def test_leave_one_out_equals_refits(golden: dict[str, Any]) -> None:
    found = ridge.factorize(golden["embeddings"]).loo(golden["responses"], float(golden["penalty"]))
    np.testing.assert_allclose(found, golden["loo"], atol=1e-10)


def test_out_of_fold_equals_refits(golden: dict[str, Any]) -> None:
    factor = ridge.factorize(golden["embeddings"])
    found = factor.out_of_fold(golden["responses"], float(golden["penalty"]), golden["folds"])
    np.testing.assert_allclose(found, golden["out_of_fold"], atol=1e-10)


@given(rows=st.integers(2, 40), dim=st.integers(1, 40), seed=st.integers(0, 10**6), level=st.sampled_from([0, 12, 24]))
@settings(max_examples=40, deadline=None)
def test_folds_of_one_row_are_leave_one_out(rows: int, dim: int, seed: int, level: int) -> None:
    rng = np.random.default_rng(seed)
    factor, y = ridge.factorize(rng.normal(size=(rows, dim))), rng.normal(size=(rows, 2))
    penalty = float(ridge.penalties(dim)[level])
    np.testing.assert_allclose(factor.out_of_fold(y, penalty, np.arange(rows)), factor.loo(y, penalty), atol=1e-7)


def test_standardising_makes_predictions_blind_to_scale_and_shift() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 1))
    moved = ridge.factorize(x * 1000 + 50).loo(y, 1.0)
    np.testing.assert_allclose(ridge.factorize(x * 10 - 7).loo(y, 1.0), moved, atol=1e-4)


def test_float32_rows_are_factored_in_float64() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 20)).astype(np.float32) + 100, rng.normal(size=(300, 1))
    wide = ridge.factorize(x.astype(np.float64)).loo(y, 0.02)
    np.testing.assert_allclose(ridge.factorize(x).loo(y, 0.02), wide, atol=1e-10)


def test_many_rows_are_factored_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 1))
    whole = ridge.factorize(x).loo(y, 1.0)
    monkeypatch.setattr(ridge, "CHUNK", 7)
    np.testing.assert_allclose(ridge.factorize(x).loo(y, 1.0), whole, atol=1e-12)


def test_nothing_to_learn_from_predicts_zero() -> None:
    factor = ridge.factorize(np.ones((1, 3)))
    assert factor.loo(np.ones((1, 2)), 1.0).tolist() == [[0, 0]]
    both = ridge.factorize(np.eye(2))
    assert both.out_of_fold(np.ones((2, 1)), 1.0, np.zeros(2, np.int64)).tolist() == [[0], [0]]


def test_constant_embeddings_predict_the_mean_of_the_others() -> None:
    y = np.array([[1.0], [2.0], [6.0]])
    np.testing.assert_allclose(ridge.factorize(np.full((3, 4), 0.1)).loo(y, 1.0), [[4], [3.5], [1.5]])


def test_grid_is_the_documented_one() -> None:
    grid = ridge.penalties(384)
    assert len(grid) == 25
    np.testing.assert_allclose(grid[[0, 12, 24]], [0.384, 384, 384_000])


@pytest.mark.parametrize(("embeddings", "said"), [(np.zeros((0, 3)), "no examples"), ([[0, 1], [np.nan, 1]], "row 1")])
def test_unusable_embeddings_are_refused(embeddings: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ridge.factorize(np.asarray(embeddings, np.float32))


@pytest.mark.parametrize("targets", [[0, -1], [0, 2]])
def test_classes_out_of_range_are_refused(targets: list[int]) -> None:
    with pytest.raises(DataError, match=r"outside 0 \.\. 1"):
        ridge.respond(np.array(targets), "classification", 2)


def test_unlabelled_values_are_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        ridge.respond(np.array([1.0, np.nan]), "regression", 1)


def test_responses_undo_to_the_values() -> None:
    values = np.array([1e9, 1e9 + 4, 1e9 + 8])
    found = ridge.respond(values, "regression", 1)
    assert found.values.std() == pytest.approx(1)
    np.testing.assert_allclose(found.values[:, 0] * found.scale + found.center, values)


def test_selection_is_the_best_penalty_of_the_whole_grid() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 60)
    x = rng.normal(size=(60, 30)) + 0.7 * rng.normal(size=(3, 30))[y]
    found = ridge.select(x, y, "classification", 3)
    every = [loo_loss(x, y, penalty) for penalty in ridge.penalties(30)]
    assert found.penalty == ridge.penalties(30)[int(np.argmin(every))]
    assert found.losses.mean() == pytest.approx(min(every), abs=1e-9)
    assert found.temperature < 0.5


def loo_loss(x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    from headstart.calibration import log_losses, temperature

    raw = ridge.factorize(x).loo(ridge.respond(y, "classification", 3).values, penalty)
    return float(log_losses(raw / temperature(raw, y, "classification"), y, "classification").mean())


def test_duplicates_fool_leave_one_out_but_not_folds() -> None:
    rng = np.random.default_rng(5)
    x, y = np.repeat(rng.normal(size=(40, 60)), 2, 0), np.repeat(rng.integers(0, 2, 40), 2)
    assert ridge.select(x, y, "classification", 2).losses.mean() < 0.3
    whole = ridge.select(x, y, "classification", 2, np.repeat(np.arange(40), 2))
    assert whole.losses.mean() > 0.6


@pytest.mark.parametrize("lowest", [0, 1, 7, 13, 24])
def test_descent_finds_the_lowest_of_a_valley_without_trying_all(lowest: int) -> None:
    tried: list[int] = []
    assert ridge.descend(lambda i: tried.append(i) or abs(i - lowest), range(0, 25, 4), 25, 2) == lowest
    assert len(tried) == len(set(tried)) <= 12


def test_descent_stays_where_nothing_is_gained() -> None:
    assert ridge.descend(lambda _: 1.0, [5], 9, 2) == 5


def test_blocks_are_the_rows_of_each_fold() -> None:
    assert [rows.tolist() for rows in ridge.blocks(np.array([7, 2, 7, 3]))] == [[1], [3], [0, 2]]
