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
    """What rows (m,) of a training matrix, ascending, say while labels pause: the columns (j,) that differ by that, and
    values (m, j), or what stands in the matrix's place once they are in it."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def drawn(cls, paused: Columns, encoding: Encoding, *, rows: int, seed: int) -> Paused:
        """``SHARE`` of the rows. paused: the columns (n,) that labels go into, had these come in a few batches."""
        chosen = np.flatnonzero(np.random.default_rng(seed).random(rows) < SHARE)
        places = [place for place, name in enumerate(encoding.names) if name in paused]
        values = np.empty((len(places), len(chosen))).T
        for number, place in enumerate(places):
            values[:, number] = paused[encoding.names[place]][chosen]
        return cls(chosen, np.array(places, dtype=int), values)

    def split(self, first: int) -> tuple[Paused, Paused]:
        """Of the rows before ``first``, and from it on; both look into the same values."""
        place = int(np.searchsorted(self.rows, first))
        return self._part(slice(None, place)), self._part(slice(place, None))

    def _part(self, rows: slice) -> Paused:
        return Paused(self.rows[rows], self.columns, self.values[rows])

    def swap(self, matrix: np.ndarray) -> None:
        """Exchange the values for what stands in the matrix; again, and both are as before. A column at a time: there
        is no second copy of either."""
        for number, column in enumerate(self.columns):
            former = matrix[self.rows, column]
            matrix[self.rows, column] = self.values[:, number]
            self.values[:, number] = former

    def says_nothing_new(self, matrix: np.ndarray) -> bool:
        return all(
            np.array_equal(matrix[self.rows, column], self.values[:, number], equal_nan=True)
            for number, column in enumerate(self.columns)
        )


def learned_with_pauses(rows: Rows, paused: Paused, encoding: Encoding, settings: FraudFitSettings) -> bool:
    """Whether the latest rows, half of them paused, are foretold surely better by trees that have seen pauses before,
    and more is gained so than lost, each by how often it is met. If so, ``rows`` have become that mixture; otherwise
    they are as before."""
    early, late = rows.early_and_late(settings)
    if paused.says_nothing_new(rows.matrix) or early.lacks_a_class(settings) or late.lacks_a_class(settings):
        return False
    early_paused, late_paused = paused.split(len(early.fraud))
    foretold = partial(
        _Foretold.of, early, late, late_paused, encoding=encoding, settings=settings, matrix=rows.matrix
    )
    late_paused.swap(rows.matrix)
    before = foretold()
    early_paused.swap(rows.matrix)
    after = foretold()
    surely = surely_better(
        before=before.mixed, after=after.mixed, fraud=late.fraud, weight=late.weight, errors=PAUSE_ERRORS
    )
    usual = _gain(before.usual, after.usual, late)
    in_pauses = 2 * _gain(before.mixed, after.mixed, late) - usual  # half of the mixture is paused
    if surely and in_pauses + USUALLY * usual > 0:
        return True
    paused.swap(rows.matrix)
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
        late_paused: Paused,
        *,
        encoding: Encoding,
        settings: FraudFitSettings,
        matrix: np.ndarray,
    ) -> _Foretold:
        """By trees of the early rows that stop where the mixture is foretold best. The mixture is in the matrix."""
        grown = grow_until(early, late, encoding, settings)
        predict = partial(grown.predict, raw_score=True, num_threads=settings.threads)
        mixed = np.asarray(predict(late.matrix))
        late_paused.swap(matrix)
        usual = np.asarray(predict(late.matrix))
        late_paused.swap(matrix)
        return cls(mixed, usual)
