"""LightGBM as the models use it: one row costs little and answers as many do, early stopping keeps the best trees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from models.discount.boosters import (
    BoosterSettings,
    binned,
    fit_rounds,
    fit_with_early_stop,
    load_booster,
    part_of,
    save_booster,
)
from models.trees import SINGLE_ROWS, predict

SETTINGS = BoosterSettings(threads=1, leaves=8, max_rounds=200, patience=10, min_rows_per_leaf=20)
LEAST_SQUARES: dict[str, object] = {"objective": "regression"}


@cache
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Inputs (3000, 5) with gaps and a category, and a target with noise."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3_000, 5))
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    matrix[:, 4] = rng.integers(0, 6, 3_000)
    signal = np.nan_to_num(matrix[:, 0]) + np.isin(matrix[:, 4], (1, 3))
    return matrix, signal + rng.normal(size=3_000)


def data() -> lightgbm.Dataset:
    return binned(matrix=rows()[0], names=list("abcde"), categorical=["e"], settings=SETTINGS)


@cache
def grown() -> lightgbm.Booster:
    return fit_rounds(data=data(), target=rows()[1], rounds=40, parameters=LEAST_SQUARES, settings=SETTINGS)


@pytest.mark.parametrize("count", [1, 2, SINGLE_ROWS, SINGLE_ROWS + 1])
def test_few_rows_score_as_in_lightgbm(count: int) -> None:
    """The call for single rows gives the bits of Booster.predict, for any layout of the matrix."""
    matrix = rows()[0]
    expected = np.asarray(grown().predict(matrix, raw_score=True))
    for start in range(0, 400, count):
        part = matrix[start : start + count]
        assert np.array_equal(predict(grown(), part), expected[start : start + count])
        assert np.array_equal(predict(grown(), np.asfortranarray(part)), expected[start : start + count])


def test_threads_share_a_booster() -> None:
    """Four threads asking one booster for single rows get what one would have got."""
    matrix = rows()[0]
    expected = predict(grown(), matrix)

    def ask(first: int) -> bool:
        return all(
            predict(grown(), matrix[row : row + 1])[0] == expected[row] for row in range(first, 3_000, 4)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))


def test_a_matrix_of_another_shape_is_refused() -> None:
    """The C function reads as many numbers as the model has inputs, whatever it is given."""
    with pytest.raises(ValueError, match="5 float64 columns"):
        predict(grown(), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="5 float64 columns"):
        predict(grown(), np.zeros((1, 5), dtype=np.float32))


def test_early_stop_keeps_the_trees_that_were_best_on_later_rows() -> None:
    """No other number of the first trees has a smaller error there."""
    matrix, target = rows()
    booster = fit_with_early_stop(
        data=data(), target=target, train_until=2_000, parameters=LEAST_SQUARES, settings=SETTINGS
    )
    later = slice(2_000, None)
    losses = [
        np.mean((target[later] - np.asarray(booster.predict(matrix[later], num_iteration=count))) ** 2)
        for count in range(1, booster.num_trees() + 1)
    ]
    assert 1 < booster.num_trees() < SETTINGS.max_rounds
    assert int(np.argmin(losses)) + 1 == booster.num_trees()


def test_part_has_its_own_rows_and_target() -> None:
    """Slices of binned inputs keep their rows' count and the target they were given."""
    target = rows()[1]
    part = part_of(data(), slice(500, 700), target[500:700])
    assert part.num_data() == 200
    np.testing.assert_allclose(np.asarray(part.get_label()), target[500:700], rtol=1e-6)


def test_saved_booster_scores_the_same(tmp_path: Path) -> None:
    """A booster read from its text answers bit for bit."""
    save_booster(grown(), tmp_path / "booster.txt")
    again = load_booster(tmp_path / "booster.txt")
    assert np.array_equal(predict(again, rows()[0]), predict(grown(), rows()[0]))
