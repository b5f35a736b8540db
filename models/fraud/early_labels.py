"""Fraud that became known early: what trades too young for a certain label teach all the same.

Fraud surfaces within days, honesty is certain only weeks later. A model that waits for both learns nothing of the
newest weeks, which are most like those that it will meet. So a young trade whose fraud is known counts as 1 / (share of
frauds that are known at its age), for itself and for those that are not known yet, and every other young trade counts
as honest, which all but a few of them are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.fraud.labels import Lessons

LEAST_KNOWN = 0.5
"""Younger trades, of which fewer frauds than this share are known, teach nothing: each would stand for too many."""

LEAST_FRAUDS = 20
"""Delays of fewer frauds do not tell the share that is known at an age."""

LEAST_LABELLED = 0.9
"""Share of old trades with a label from which a young one without is only young. Trades that an offer did not reach,
or whose seller declined, never get one and say nothing."""


@dataclass(frozen=True)
class EarlyLabels:
    """Young trades to learn from. rows (m,): their places; fraud (m,) bool; weight (m,): trades each stands for."""

    rows: np.ndarray
    fraud: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def early_labels(
    *,
    submitted_at: np.ndarray,
    known_at: np.ndarray,
    fraud: np.ndarray,
    accepted: np.ndarray,
    refused: np.ndarray,
    taught: Lessons,
    mature: np.ndarray,
) -> EarlyLabels:
    """The young ones among n trades that can be learned from.

    submitted_at, known_at: int64 µs (n,), known_at -1 where there is no label. fraud, accepted: 1, 0 or NaN. refused
    (n,) bool: has no outcome of its own. taught: of the same trades. mature: places of the trades that are old enough
    for a label; every later one is young. Outcomes are taken as complete up to the last one known.
    """
    nothing = EarlyLabels(np.array([], dtype=np.int64), np.array([], dtype=bool), np.array([]))
    seen = fraud[mature] == 1
    if seen.sum() < LEAST_FRAUDS:
        return nothing
    newest = submitted_at[mature].max()
    young = submitted_at > newest
    delay = np.sort((known_at - submitted_at)[mature][seen])
    share_known = np.searchsorted(delay, known_at.max() - submitted_at, side="right") / len(delay)
    guilty = taught.counts & (fraud == 1)
    honest = _gets_label(accepted, fraud, ~young) & ~refused & ~guilty
    rows = np.flatnonzero(young & (share_known >= LEAST_KNOWN) & (guilty | honest))
    stands_for = np.where(guilty[rows], 1.0 / share_known[rows], 1.0)
    return EarlyLabels(rows, guilty[rows], taught.weight[rows] * stands_for)


def _gets_label(accepted: np.ndarray, fraud: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Whether trades (n,) like this one, by what became of the offer, nearly all had a label once they were ``old``."""
    answer = np.zeros(len(accepted), dtype=bool)
    for alike in (accepted == 1, accepted == 0, np.isnan(accepted)):
        of_old = np.isfinite(fraud[alike & old])
        if len(of_old) and of_old.mean() >= LEAST_LABELLED:
            answer |= alike
    return answer
