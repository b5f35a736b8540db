"""LightGBM as the discount model uses it: chosen rounds, fixed seeds, text files, one thread live."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from lightgbm.basic import _safe_call
from lightgbm.libpath import _LIB

RAW_SCORES, DOUBLES = 1, 1
"""LightGBM's names for what is predicted and for the type of a matrix: C_API_PREDICT_RAW_SCORE, C_API_DTYPE_FLOAT64."""
SINGLE_ROWS = 4
"""Up to this many rows are predicted one by one: starting LightGBM for many costs more."""
ONE_THREAD_ROWS = 64
"""Up to this many rows one thread answers faster than waking the others."""

Objective = Callable[[np.ndarray, lightgbm.Dataset], tuple[np.ndarray, np.ndarray]]
Metric = Callable[[np.ndarray, lightgbm.Dataset], tuple[str, float, bool]]


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
            "verbosity": -1,
        }


@dataclass(frozen=True)
class TrainingRows:
    """Rows in time order: matrix (n, k), target (n,), optional start scores (n,) or (n, classes)."""

    matrix: np.ndarray
    target: np.ndarray
    names: tuple[str, ...]
    categorical: list[str]
    start: np.ndarray | None = None

    def slice(self, rows: slice) -> TrainingRows:
        start = None if self.start is None else self.start[rows]
        return TrainingRows(self.matrix[rows], self.target[rows], self.names, self.categorical, start)

    def dataset(self, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            self.matrix,
            label=self.target,
            init_score=self.start,
            feature_name=list(self.names),
            categorical_feature=self.categorical,
            reference=reference,
        )


def fit_with_early_stop(
    *,
    rows: TrainingRows,
    train_until: int,
    parameters: dict[str, object],
    settings: BoosterSettings,
    metric: Metric | None = None,
) -> lightgbm.Booster:
    """Fit on the rows before ``train_until``; the number of rounds is the best on the rows from there on."""
    train = rows.slice(slice(0, train_until)).dataset()
    later = rows.slice(slice(train_until, None)).dataset(reference=train)
    return lightgbm.train(
        {**settings.parameters(), **parameters},
        train,
        num_boost_round=settings.max_rounds,
        valid_sets=[later],
        feval=metric,
        callbacks=[lightgbm.early_stopping(settings.patience, verbose=False)],
    )


def fit_rounds(
    *, rows: TrainingRows, rounds: int, parameters: dict[str, object], settings: BoosterSettings
) -> lightgbm.Booster:
    """Fit on all rows with a number of rounds found before."""
    return lightgbm.train(
        {**settings.parameters(), **parameters}, rows.dataset(), num_boost_round=max(rounds, 1)
    )


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
        rounds = booster.best_iteration if booster.best_iteration > 0 else -1
        shape = ctypes.c_int(RAW_SCORES), ctypes.c_int(0), ctypes.c_int(rounds), ctypes.c_int(DOUBLES)
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
    path.write_text(booster.model_to_string(num_iteration=booster.best_iteration), encoding="utf-8")


def load_booster(path: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
