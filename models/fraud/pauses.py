"""Trades as they look while labels pause: whether the trees learn of them, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.fraud.calibrator import surely_better
from models.fraud.growing import FraudFitSettings, Rows, grow_until
from models.matrix import Columns, Encoding

SHARE = 0.5
"""Of the rows, drawn at random: the others are as they were while labels came in one by one."""

PAUSE_ERRORS = 1.5
"""Rows with paused labels are learned from where a mixture of the latest is foretold better so by this many standard
errors. On ten tables what is gained lies above 1.9, and what costs a little while labels come below 1.0."""


@dataclass(frozen=True)
class Paused:
    """What rows (m,) of a training matrix (n, k) say while labels pause: the columns (j,) that differ by that, and
    values (m, j)."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def drawn(cls, paused: Columns, encoding: Encoding, *, rows: int, seed: int) -> Paused:
        """``SHARE`` of the rows. paused: the columns (n,) that labels go into, had these come in a few batches."""
        chosen = np.flatnonzero(np.random.default_rng(seed).random(rows) < SHARE)
        names = [name for name in encoding.names if name in paused]
        values = np.empty((len(chosen), len(names)))
        for place, name in enumerate(names):
            values[:, place] = paused[name][chosen]
        return cls(chosen, np.array([encoding.names.index(name) for name in names], dtype=int), values)

    def since(self, first: int) -> Paused:
        """Of the rows from ``first`` on."""
        later = self.rows >= first
        return Paused(self.rows[later], self.columns, self.values[later])

    def before(self, first: int) -> Paused:
        """Of the rows before ``first``."""
        earlier = self.rows < first
        return Paused(self.rows[earlier], self.columns, self.values[earlier])

    def put_into(self, matrix: np.ndarray) -> Paused:
        """Write the values into the matrix; what stood there, which puts them back. No second matrix is made."""
        places = np.ix_(self.rows, self.columns)
        former = Paused(self.rows, self.columns, matrix[places])
        matrix[places] = self.values
        return former

    def says_nothing_new(self, matrix: np.ndarray) -> bool:
        return bool(np.array_equal(matrix[np.ix_(self.rows, self.columns)], self.values, equal_nan=True))


def learned_with_pauses(rows: Rows, paused: Paused, encoding: Encoding, settings: FraudFitSettings) -> bool:
    """Whether the latest rows, some of them paused, are foretold surely better by trees that have seen pauses before.
    Where they are, ``rows`` have become that mixture; otherwise they are as before."""
    early, late = rows.early_and_late(settings)
    split = len(early.fraud)
    if paused.says_nothing_new(rows.matrix) or early.lacks_a_class(settings) or late.lacks_a_class(settings):
        return False
    late_before = paused.since(split).put_into(rows.matrix)

    def score() -> np.ndarray:
        grown = grow_until(early, late, encoding, settings)
        return np.asarray(grown.predict(late.matrix, raw_score=True, num_threads=settings.threads))

    before = score()
    early_before = paused.before(split).put_into(rows.matrix)
    if surely_better(before=before, after=score(), fraud=late.fraud, weight=late.weight, errors=PAUSE_ERRORS):
        return True
    for part in (late_before, early_before):
        part.put_into(rows.matrix)
    return False
