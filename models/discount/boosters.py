"""LightGBM as the discount model uses it: chosen rounds, fixed seeds, text files, one thread live."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from lightgbm.basic import _safe_call
from lightgbm.libpath import _LIB

RAW_SCORES, DOUBLES, ALL_ROUNDS = 1, 1, -1
"""LightGBM's numbers for what is predicted (C_API_PREDICT_RAW_SCORE), the type of a matrix (C_API_DTYPE_FLOAT64), and
all trees."""
SINGLE_ROWS = 4
"""Up to this many rows are predicted one by one: starting LightGBM for many costs more."""
ONE_THREAD_ROWS = 64
"""Up to this many rows one thread answers faster than waking the others."""


@dataclass(frozen=True)
class BoosterSettings:
    """How trees are grown. ``threads`` 0: all cores. ``patience``: rounds without gain before stopping."""

    learning_rate: float = 0.06
    leaves: int = 31
    max_depth: int = 6
    min_rows_per_leaf: int = 60
    l2: float = 5.0
    max_rounds: int = 400
    patience: int = 30
    threads: int = 0
    seed: int = 7

    def parameters(self) -> dict[str, object]:
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_rows_per_leaf,
            "lambda_l2": self.l2,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }


def binned(
    *, matrix: np.ndarray, names: Sequence[str], categorical: list[str], settings: BoosterSettings
) -> lightgbm.Dataset:
    """Inputs (n, k) in LightGBM's bins, once for all boosters that learn from them; see :func:`part_of`."""
    return lightgbm.Dataset(
        matrix,
        label=np.zeros(len(matrix), dtype=np.float32),
        feature_name=list(names),
        categorical_feature=categorical,
        params=settings.parameters(),
    ).construct()


def part_of(data: lightgbm.Dataset, rows: slice, target: np.ndarray) -> lightgbm.Dataset:
    """The chosen rows of binned inputs, with their target."""
    chosen = np.arange(data.num_data())[rows]
    return data.subset(chosen.tolist()).construct().set_label(target)


def fit_with_early_stop(
    *,
    data: lightgbm.Dataset,
    target: np.ndarray,
    train_until: int,
    parameters: dict[str, object],
    settings: BoosterSettings,
) -> lightgbm.Booster:
    """Fit on the rows before ``train_until``; it has as many trees as were best on the rows from there on."""
    before, later = slice(0, train_until), slice(train_until, None)
    train = part_of(data, before, target[before])
    booster = lightgbm.Booster({**settings.parameters(), **parameters}, train)
    booster.add_valid(part_of(data, later, target[later]), "later")
    best, least = 0, np.inf
    for done in range(1, settings.max_rounds + 1):
        finished = booster.update()
        loss = booster.eval_valid()[0][2]
        if loss < least:
            best, least = done, loss
        if finished or done - best >= settings.patience:
            break
    return _grown(booster, best)


def fit_rounds(
    *,
    data: lightgbm.Dataset,
    target: np.ndarray,
    rounds: int,
    parameters: dict[str, object],
    settings: BoosterSettings,
) -> lightgbm.Booster:
    """Fit on all rows with a number of rounds found before."""
    booster = lightgbm.Booster({**settings.parameters(), **parameters}, data.set_label(target))
    for _ in range(max(rounds, 1)):
        booster.update()
    return _grown(booster, max(rounds, 1))


def _grown(booster: lightgbm.Booster, rounds: int) -> lightgbm.Booster:
    """The booster's first rounds, without the data it learned from."""
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=rounds))


def predict(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """Raw scores (n,) of a booster that does not grow any more."""
    if 0 < len(matrix) <= SINGLE_ROWS:
        return _single_row(booster).predict(matrix)
    threads = 1 if len(matrix) <= ONE_THREAD_ROWS else 0
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads))


class _SingleRow:
    """LightGBM's C function for one row after another, which its Python package does not use: the same bits as
    ``Booster.predict`` for a tenth of its time. LightGBM locks it, so threads may share it."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self._columns = booster.num_feature()
        self._prepared = ctypes.c_void_p()
        call = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit
        shape = ctypes.c_int(RAW_SCORES), ctypes.c_int(0), ctypes.c_int(ALL_ROUNDS), ctypes.c_int(DOUBLES)
        _safe_call(
            call(
                booster._handle,
                *shape,
                ctypes.c_int32(self._columns),
                b"num_threads=1",
                ctypes.byref(self._prepared),
            )
        )
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, self._prepared)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Raw scores (n,) of a float64 matrix (n, columns)."""
        if matrix.shape[1] != self._columns or matrix.dtype != np.float64:
            raise ValueError(
                f"{self._columns} float64 columns needed, not {matrix.shape[1]} of {matrix.dtype}"
            )
        rows, scores, size = np.ascontiguousarray(matrix), np.empty(len(matrix)), ctypes.c_int64()
        for place in range(len(rows)):
            _safe_call(
                _LIB.LGBM_BoosterPredictForMatSingleRowFast(
                    self._prepared,
                    ctypes.c_void_p(rows.ctypes.data + place * rows.strides[0]),
                    ctypes.byref(size),
                    ctypes.c_void_p(scores.ctypes.data + place * scores.itemsize),
                )
            )
        return scores


_prepared: weakref.WeakKeyDictionary[lightgbm.Booster, _SingleRow] = weakref.WeakKeyDictionary()


def _single_row(booster: lightgbm.Booster) -> _SingleRow:
    found = _prepared.get(booster)
    if found is None:
        found = _prepared[booster] = _SingleRow(booster)
    return found


def save_booster(booster: lightgbm.Booster, path: Path) -> None:
    path.write_text(booster.model_to_string(), encoding="utf-8")


def load_booster(path: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
