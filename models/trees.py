"""Raw scores of a LightGBM booster, the fastest way for few rows and for many; always the same bits."""

from __future__ import annotations

import ctypes
import weakref

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
