"""Raw scores of a LightGBM booster and what each input adds to them, the fastest way for few rows and for many; always
the same bits."""

from __future__ import annotations

import ctypes
import weakref

import lightgbm
import numpy as np
from lightgbm.basic import _safe_call
from lightgbm.libpath import _LIB

RAW_SCORES, CONTRIBUTIONS, DOUBLES, ALL_ROUNDS = 1, 3, 1, -1
"""LightGBM's numbers for what is predicted (C_API_PREDICT_RAW_SCORE, C_API_PREDICT_CONTRIB), the type of a matrix
(C_API_DTYPE_FLOAT64), and all trees."""
SINGLE_ROWS = 4
"""Up to this many rows are predicted one by one: starting LightGBM for many costs more."""
ONE_THREAD_ROWS = 64
"""Up to this many rows one thread answers faster than waking the others."""


def predict(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """Raw scores (n,) of a booster that does not grow any more."""
    if len(matrix) == 0:
        return np.empty(0)
    if len(matrix) <= SINGLE_ROWS:
        return _single_row(booster, RAW_SCORES).predict(matrix)[:, 0]
    threads = 1 if len(matrix) <= ONE_THREAD_ROWS else 0
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads))


def contributions(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """What each input adds to the raw scores (n, inputs + 1), exactly (TreeSHAP), with the constant last."""
    if len(matrix) == 0:
        return np.empty((0, matrix.shape[1] + 1))
    if len(matrix) <= SINGLE_ROWS:
        return _single_row(booster, CONTRIBUTIONS).predict(matrix)
    threads = 1 if len(matrix) <= ONE_THREAD_ROWS else 0
    answer = booster.predict(matrix, raw_score=True, pred_contrib=True, num_threads=threads)
    return np.asarray(answer, dtype=np.float64)


class _SingleRow:
    """LightGBM's C function for one row after another, which its Python package does not use: the same bits as
    ``Booster.predict`` for a tenth of its time. LightGBM locks it, so threads may share it."""

    def __init__(self, booster: lightgbm.Booster, what: int) -> None:
        self._columns = booster.num_feature()
        self._answers = self._columns + 1 if what == CONTRIBUTIONS else 1
        self._prepared = ctypes.c_void_p()
        call = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit
        shape = ctypes.c_int(what), ctypes.c_int(0), ctypes.c_int(ALL_ROUNDS), ctypes.c_int(DOUBLES)
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
        """Answers (n, k) to a float64 matrix (n, columns)."""
        if matrix.shape[1] != self._columns or matrix.dtype != np.float64:
            raise ValueError(
                f"{self._columns} float64 columns needed, not {matrix.shape[1]} of {matrix.dtype}"
            )
        rows, answers = np.ascontiguousarray(matrix), np.empty((len(matrix), self._answers))
        size, call = ctypes.byref(ctypes.c_int64()), _LIB.LGBM_BoosterPredictForMatSingleRowFast
        row, answer = rows.ctypes.data, answers.ctypes.data
        for place in range(len(rows)):
            asked = ctypes.c_void_p(row + place * rows.strides[0])
            _safe_call(
                call(self._prepared, asked, size, ctypes.c_void_p(answer + place * answers.strides[0]))
            )
        return answers


_prepared: weakref.WeakKeyDictionary[lightgbm.Booster, dict[int, _SingleRow]] = weakref.WeakKeyDictionary()


def _single_row(booster: lightgbm.Booster, what: int) -> _SingleRow:
    of_booster = _prepared.setdefault(booster, {})
    found = of_booster.get(what)
    if found is None:
        found = of_booster[what] = _SingleRow(booster, what)
    return found
