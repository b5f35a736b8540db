"""Trades as they look while labels pause: whether the trees learn of them, and how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from models.fraud.calibrator import surely_better
from models.fraud.growing import FraudFitSettings, Rows, grow_until
from models.matrix import Columns, Encoding

SHARE = 0.5
"""Of the rows, drawn at random: the others are as they were while labels came in one by one."""

PAUSE_ERRORS = 1.8
"""Rows with paused labels are learned from where a mixture of the latest is foretold better so by this many standard
errors: on the tables where that helps the gain lies at 2.0 and above, on the others at 1.5 and below."""

USUALLY = 3.0
"""How often labels come for one time that they pause. What is lost while they come weighs so much more than what is
gained in a pause."""


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
    """Whether the latest rows, half of them paused, are foretold surely better by trees that have seen pauses before,
    and more is gained so than lost, each by how often it is met. If so, ``rows`` have become that mixture; otherwise
    they are as before."""
    early, late = rows.early_and_late(settings)
    split = len(early.fraud)
    if paused.says_nothing_new(rows.matrix) or early.lacks_a_class(settings) or late.lacks_a_class(settings):
        return False
    late_before = paused.since(split).put_into(rows.matrix)
    before = _Foretold.of(early, late, late_before, encoding, settings, matrix=rows.matrix)
    early_before = paused.before(split).put_into(rows.matrix)
    after = _Foretold.of(early, late, late_before, encoding, settings, matrix=rows.matrix)
    surely = surely_better(
        before=before.mixed, after=after.mixed, fraud=late.fraud, weight=late.weight, errors=PAUSE_ERRORS
    )
    usual = _gain(before.usual, after.usual, late)
    in_pauses = 2 * _gain(before.mixed, after.mixed, late) - usual  # half of the mixture is paused
    if surely and in_pauses + USUALLY * usual > 0:
        return True
    for part in (late_before, early_before):
        part.put_into(rows.matrix)
    return False


def _gain(before: np.ndarray, after: np.ndarray, rows: Rows) -> float:
    """What the rows' log-likelihood gains between two raw scores (n,)."""
    loss_before, loss_after = (np.logaddexp(0.0, score) - rows.fraud * score for score in (before, after))
    return float(rows.weight @ (loss_before - loss_after))


@dataclass(frozen=True)
class _Foretold:
    """Raw scores of the latest rows, some of them paused (mixed) and as they were (usual)."""

    mixed: np.ndarray
    usual: np.ndarray

    @classmethod
    def of(
        cls,
        early: Rows,
        late: Rows,
        late_before: Paused,
        encoding: Encoding,
        settings: FraudFitSettings,
        *,
        matrix: np.ndarray,
    ) -> _Foretold:
        """By trees of the early rows that stop where the mixture is foretold best."""
        grown = grow_until(early, late, encoding, settings)
        predict = partial(grown.predict, raw_score=True, num_threads=settings.threads)
        mixed = np.asarray(predict(late.matrix))
        pauses = late_before.put_into(matrix)
        usual = np.asarray(predict(late.matrix))
        pauses.put_into(matrix)
        return cls(mixed, usual)
