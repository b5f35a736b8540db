"""What the newest decisions say about a curve that was fitted on a whole log.

A log reaches back to markets that are gone. Where the decisions of the last week are better foretold by scores that
are stretched and moved a little, learnt from the weeks before, the curve is stretched and moved by what the newest
weeks say: two numbers, so that weeks are enough for them. How many weeks count is tried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from features.windows import DAY_MS
from models.discount.link import SMALLEST, Link

JUDGED_DAYS = 7
WINDOWS_DAYS = (14, 28, 56)
LEAST_ROWS = 1_000
LEAST_GAIN = 5.0
"""Log-likelihood that the correction must gain on the judged days: what chance hardly gives."""
PRIOR_PRECISION = 20.0
MOST_STRETCH, MOST_SHIFT = 1.0, 4.0


@dataclass(frozen=True)
class Recent:
    """Scores z become ``stretch z + shift``."""

    stretch: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Decided:
    """n decisions in time order: raw scores and the shape they stand for, the floors, 1 or 0, and int64 ms."""

    scores: np.ndarray
    link: Link
    floor: np.ndarray
    accepted: np.ndarray
    submitted_at: np.ndarray

    def between(self, from_ms: int, to_ms: int) -> Decided:
        rows = slice(*np.searchsorted(self.submitted_at, (from_ms, to_ms)).tolist())
        return Decided(
            scores=self.scores[rows],
            link=self.link.rows(rows),
            floor=self.floor[rows],
            accepted=self.accepted[rows],
            submitted_at=self.submitted_at[rows],
        )

    def lost(self, recent: Recent) -> float:
        """Negative log-likelihood."""
        honest = self.link.probability(recent.stretch * self.scores + recent.shift)
        p = np.clip(self.floor + (1.0 - self.floor) * honest, SMALLEST, 1.0 - SMALLEST)
        return float(-np.where(self.accepted > 0.5, np.log(p), np.log1p(-p)).sum())


def recent_change(decided: Decided) -> Recent:
    """The correction that foretold the newest JUDGED_DAYS best, fitted again up to the end; none where none did."""
    if len(decided.scores) == 0:
        return Recent()
    end = int(decided.submitted_at[-1]) + 1
    cut = end - JUDGED_DAYS * DAY_MS
    judged = decided.between(cut, end)
    best, least = None, judged.lost(Recent()) - LEAST_GAIN
    for days in WINDOWS_DAYS:
        window = decided.between(cut - days * DAY_MS, cut)
        if min(len(window.scores), len(judged.scores)) < LEAST_ROWS:
            continue
        lost = judged.lost(_fit(window))
        if lost < least:
            best, least = days, lost
    return Recent() if best is None else _fit(decided.between(end - best * DAY_MS, end))


def _fit(decided: Decided) -> Recent:
    """The most likely correction; log stretch and shift have a normal prior around none."""
    found = scipy.optimize.minimize(
        _posterior(decided),
        np.zeros(2),
        method="L-BFGS-B",
        bounds=[(-MOST_STRETCH, MOST_STRETCH), (-MOST_SHIFT, MOST_SHIFT)],
    )
    return _recent(found.x)


def _posterior(decided: Decided) -> Callable[[np.ndarray], float]:
    return lambda numbers: decided.lost(_recent(numbers)) + PRIOR_PRECISION * float(numbers @ numbers) / 2.0


def _recent(numbers: np.ndarray) -> Recent:
    return Recent(stretch=float(np.exp(numbers[0])), shift=float(numbers[1]))
