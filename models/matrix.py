"""From named feature columns to the matrix a LightGBM booster reads, the same way in training and live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np

Columns = Mapping[str, np.ndarray]
"""Feature name -> column (n,): float64 with NaN for null, or object with str/None for a categorical."""


def getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What gives the values of these names, in their order; many names take half the time of asking for each."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


class Taken(Mapping[str, np.ndarray]):
    """Some rows (m,) of columns, in any order, taken when a column is asked for: a second copy of all columns may not
    fit into memory. beside: more columns, of these rows in this order."""

    def __init__(self, columns: Columns, rows: np.ndarray, *, beside: Columns | None = None) -> None:
        beside = dict(beside or {})
        if isinstance(columns, Taken):
            beside = {name: column[rows] for name, column in columns._beside.items()} | beside
            columns, rows = columns._columns, columns._rows[rows]
        self._columns = columns
        self._rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        self._beside = beside

    def __getitem__(self, name: str) -> np.ndarray:
        return self._beside[name] if name in self._beside else self._columns[name][self._rows]

    def __contains__(self, name: object) -> bool:
        return name in self._beside or name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter([*self._columns, *self._beside])

    def __len__(self) -> int:
        return len(self._columns) + len(self._beside)


FEW_ROWS = 64
"""Up to so many rows joining all columns at once takes a fraction of the time of setting one after another."""


class MissingFeature(ValueError):
    """A model was asked to predict without a column it was trained on."""


@dataclass(frozen=True)
class Encoding:
    """The order of a model's inputs and the vocabulary of each categorical one.

    names: the matrix columns in order. vocabularies: categorical name -> the values seen in training,
    sorted; the code is the position, a value never seen is NaN (LightGBM's "missing").
    """

    names: tuple[str, ...]
    vocabularies: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, columns: Columns, names: Sequence[str]) -> Encoding:
        vocabularies = {
            name: tuple(sorted({value for value in columns[name] if value is not None}))
            for name in names
            if columns[name].dtype == object
        }
        return cls(names=tuple(names), vocabularies=vocabularies)

    def matrix(self, columns: Columns) -> np.ndarray:
        """Columns -> float64 matrix (n, len(names)). Raises MissingFeature naming what is absent."""
        try:
            rows = len(columns[self.names[0]]) if self.names else 0
            return self._joined(columns, rows) if 0 < rows <= FEW_ROWS else self._filled(columns, rows)
        except KeyError:
            absent = [name for name in self.names if name not in columns]
            raise MissingFeature(f"features missing: {', '.join(absent)}") from None

    def _joined(self, columns: Columns, rows: int) -> np.ndarray:
        inputs = list(self._inputs(columns))
        for place, codes in self._codes.items():
            inputs[place] = _coded(inputs[place], codes)
        flat = np.concatenate(inputs, dtype=np.float64)
        return np.ascontiguousarray(flat.reshape(len(self.names), rows).T)

    def _filled(self, columns: Columns, rows: int) -> np.ndarray:
        """One column after another: columns that are made when asked for are never all in memory."""
        matrix = np.empty((rows, len(self.names)), dtype=np.float64)
        for place, name in enumerate(self.names):
            codes = self._codes.get(place)
            matrix[:, place] = columns[name] if codes is None else _coded(columns[name], codes)
        return matrix

    @cached_property
    def _inputs(self) -> Callable[[Columns], Iterable[np.ndarray]]:
        return getter(self.names)

    @cached_property
    def _codes(self) -> dict[int, dict[str, float]]:
        """Place of a categorical input -> value -> code."""
        return {
            self.names.index(name): {value: float(code) for code, value in enumerate(vocabulary)}
            for name, vocabulary in self.vocabularies.items()
        }

    @property
    def categorical(self) -> list[str]:
        """Names of the categorical inputs, in matrix order."""
        return [name for name in self.names if name in self.vocabularies]

    def to_dict(self) -> dict[str, object]:
        return {"names": list(self.names), "vocabularies": {k: list(v) for k, v in self.vocabularies.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Encoding:
        vocabularies = data["vocabularies"]
        names = data["names"]
        assert isinstance(vocabularies, Mapping)
        assert isinstance(names, Sequence)
        return cls(
            names=tuple(names), vocabularies={key: tuple(values) for key, values in vocabularies.items()}
        )


def _coded(values: np.ndarray, codes: Mapping[str, float]) -> np.ndarray:
    return np.array([codes.get(value, np.nan) for value in values.tolist()])


def within(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Values held between bounds, the upper one where these cross, as ``np.clip``, which takes five times as long for
    one row."""
    return np.minimum(np.maximum(values, low), high)


def along(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Values (n,) shaped to go along ``grid``; grid: (n,) or (n, g)."""
    return values if values.ndim == grid.ndim else values[:, None]
