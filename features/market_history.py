"""The latest rate of every source, as of a chunk of the log's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.arithmetic import ratio
from features.entities import PPM
from features.moment import Bids
from features.windows import DAYS_7, HOUR

if TYPE_CHECKING:
    from features.history import History, MarketEvents


def latest_bids(history: History, side: str, rows: np.ndarray) -> Bids:
    """Bids of one side for the card types of ``rows`` (m,): the latest of each source if seen within 7 days."""
    events = history.market
    size = len(rows)
    best, worst = np.full(size, -1, dtype=np.int64), np.full(size, np.iinfo(np.int64).max)
    total, sources, newest = (np.zeros(size, dtype=np.int64) for _ in range(3))
    code, time = history.codes("card_type")[rows], history.time[rows]
    chosen = events.side == side
    for source in np.unique(events.source[chosen]):
        seen, rate, at = _latest(events, np.flatnonzero(chosen & (events.source == source)), code, time)
        best = np.where(seen, np.maximum(best, rate), best)
        worst = np.where(seen, np.minimum(worst, rate), worst)
        total += np.where(seen, rate, 0)
        sources += seen
        newest = np.where(seen, np.maximum(newest, at), newest)
    known = sources > 0
    return Bids(
        best=np.where(known, best / PPM, np.nan),
        worst=np.where(known, worst / PPM, np.nan),
        mean=ratio(total, sources) / PPM,
        sources=sources.astype(np.float64),
        age_hours=np.where(known, (time - newest) / HOUR, np.nan),
    )


def _latest(
    events: MarketEvents, chosen: np.ndarray, code: np.ndarray, time: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a source's last rate before each moment is fresh (m,), that rate in ppm, and its time."""
    axis, span = events.time[chosen], len(chosen) + 1
    keys = events.code[chosen] * np.int64(span) + np.arange(len(chosen))
    order = np.argsort(keys, kind="stable")
    needles = code * np.int64(span) + np.searchsorted(axis, time, side="left")
    last = np.searchsorted(keys[order], needles, side="left") - 1
    row = chosen[order[np.maximum(last, 0)]]
    seen = (last >= 0) & (events.code[row] == code)
    seen &= events.time[row] // DAYS_7.hop >= DAYS_7.first_bucket(time)
    return seen, events.ppm[row], events.time[row]
