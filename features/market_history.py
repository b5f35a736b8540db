"""What was known about the market, and believed, at the moments of a chunk of the log's rows.

The tests are those of :mod:`features.credibility`, over columns. Rows of one card type in one hour between the same two
market rows see the same market: a *situation*. Everything but the age of a bid is found once a situation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from features.arithmetic import at_most, ratio
from features.credibility import (
    ENOUGH,
    FACTOR,
    FRESH,
    HALF_AFTER_HOURS,
    MOST_PPM,
    NEAR_POINTS,
    POINT_PPM,
    POINTS,
    REMEMBERED,
    SIDES,
    SPREADS,
    WEIGHT,
    full_hours,
)
from features.entities import PPM, bid_window
from features.moment import Bids, Rates
from features.windows import HOUR

if TYPE_CHECKING:
    from features.market_index import MarketIndex

NO_RATE = np.int64(2**40)
"""Stands for a missing rate where rates are sorted: behind all of them."""


@dataclass(frozen=True)
class Levels:
    """For each situation the points (q,) from ``low`` to ``high`` that are near a side's level; none where
    ``low > high``."""

    low: np.ndarray
    high: np.ndarray


class MarketChunk:
    """Bids and rates for the card types ``code`` (m,) at the moments ``time`` (m,), µs."""

    def __init__(self, index: MarketIndex, *, code: np.ndarray, time: np.ndarray) -> None:
        self._index = index
        self._time = time
        place, hour = np.searchsorted(index.time, time), time // HOUR
        keys = np.stack([code.astype(np.int64), hour, place])
        order = np.lexsort(keys[::-1])
        new = np.ones(len(order), dtype=bool)
        new[1:] = (keys[:, order[1:]] != keys[:, order[:-1]]).any(axis=0)
        self._of = np.empty(len(order), dtype=np.int64)
        """Number of each row's situation (m,)."""
        self._of[order] = np.cumsum(new) - 1
        self._code, hour, self._place = keys[:, order[new]]
        self._moment = hour * HOUR
        """The full hour before each situation (q,): the edges of windows and ages in hours move at full hours."""
        self._oldest = FRESH.first_bucket(self._moment) * FRESH.hop
        self._newest = [self._newest_fresh(side) for side in range(len(SIDES))]
        self._levels: dict[int, Levels] = {}
        self._bids: dict[str, Bids] = {}
        self._rates: dict[tuple[str, str], Rates] = {}

    def bids(self, side: str) -> Bids:
        """Believed bids of one side, columns (m,)."""
        if side not in self._bids:
            self._bids[side] = self._find_bids(side)
        return self._bids[side]

    def rates(self, side: str, window: str) -> Rates:
        """Totals of one side's rates in a window, near its level, columns (m,). Raises NotKept."""
        if (side, window) not in self._rates:
            self._rates[side, window] = self._find_rates(side, window)
        return self._rates[side, window]

    def _find_bids(self, side: str) -> Bids:
        number = SIDES.index(side)
        level = self._level(number)
        low, high = level.low * POINT_PPM, (level.high + 1) * POINT_PPM - 1
        return self._summary(self._newest_within(number, low, high))

    def _find_rates(self, side: str, window: str) -> Rates:
        asked, level = bid_window(window), self._level(SIDES.index(side))
        cells, group = self._index.cells, self._group(SIDES.index(side))
        first = np.searchsorted(self._index.time, asked.first_bucket(self._moment) * asked.hop)
        sums = np.zeros((4, len(group)), dtype=np.int64)
        for step in range(int((level.high - level.low).max(initial=-1)) + 1):
            point = level.low + step
            near = np.flatnonzero(point <= level.high)
            near = near[cells.known[group[near] * POINTS + point[near]]]
            cell = group[near] * POINTS + point[near]
            start, stop = cells.between(cell, first[near], self._place[near])
            sums[0, near] += stop - start
            for place, running in enumerate(cells.running, start=1):
                sums[place, near] += running[stop] - running[start]
        return Rates(*sums.astype(np.float64)[:, self._of])

    # --- whom to believe ---------------------------------------------------------------------------------------

    def _group(self, side: int) -> np.ndarray:
        return self._code * len(SIDES) + side

    def _newest_fresh(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Row of each channel's newest rate (channels, q), -1 where it is stale, and the row of its first one."""
        last, start = self._index.channels.last_before(self._group(side), self._place)
        known = last >= start
        known[known] = self._index.channels.time[last[known]] >= self._oldest[np.nonzero(known)[1]]
        return np.where(known, last, -1), start

    def _ppm(self, row: np.ndarray) -> np.ndarray:
        """Rates of rows, ``NO_RATE`` for row -1."""
        return np.append(self._index.channels.ppm, NO_RATE)[row]

    @cached_property
    def _middle(self) -> np.ndarray:
        """Middle of the market (q,), -1 where there is none."""
        rates = self._ppm(np.concatenate([row for row, _ in self._newest]))
        middle, size = _lower_median(rates)
        return np.where(size >= ENOUGH, middle, -1)

    def _newest_within(self, side: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Row of each channel's newest remembered fresh rate in [low, high] (q,): (channels, q), -1 for none."""
        newest, start = self._newest[side]
        rates = self._ppm(newest)
        found = np.where((rates >= low) & (rates <= high), newest, -1)
        channel, asked = np.nonzero((newest >= 0) & (found < 0))
        row, first = newest[channel, asked], start[channel, asked]
        for _ in range(REMEMBERED - 1):
            row = row - 1
            going = (row >= first) & (self._index.channels.time[row] >= self._oldest[asked])
            channel, asked, row, first = channel[going], asked[going], row[going], first[going]
            rates = self._index.channels.ppm[row]
            hit = (rates >= low[asked]) & (rates <= high[asked])
            found[channel[hit], asked[hit]] = row[hit]
            channel, asked, row, first = channel[~hit], asked[~hit], row[~hit], first[~hit]
        return found

    def _level(self, side: int) -> Levels:
        if side not in self._levels:
            self._levels[side] = self._find_level(side)
        return self._levels[side]

    def _find_level(self, side: int) -> Levels:
        middle = self._middle
        low = np.where(middle < 0, 0, -(-middle // FACTOR))
        high = np.where(middle < 0, MOST_PPM, middle * FACTOR)
        rates = np.sort(self._ppm(self._newest_within(side, low, high)), axis=0)
        ppm, size = _lower_median(rates)
        if len(rates) > 1:
            upper = (size == 2) & (middle >= 0) & (np.abs(rates[1] - middle) < np.abs(rates[0] - middle))
            ppm = np.where(upper, rates[1], ppm)
        point = ppm // POINT_PPM
        away = np.where(rates == NO_RATE, NO_RATE, np.abs(rates // POINT_PPM - point))
        spread = np.where(size >= ENOUGH, SPREADS * _lower_median(away)[0], 0)
        tolerance = np.maximum(at_most(point // 2, NEAR_POINTS), spread)
        known = size > 0
        return Levels(
            low=np.where(known, np.maximum(point - tolerance, 0), 1),
            high=np.where(known, np.minimum(point + tolerance, POINTS - 1), 0),
        )

    # --- answers ------------------------------------------------------------------------------------------------

    def _summary(self, row: np.ndarray) -> Bids:
        """Bids (m,) from the rows that count (channels, q)."""
        known = row >= 0
        rates, sources = self._ppm(row), known.sum(axis=0)
        times = np.where(known, np.append(self._index.channels.time, 0)[row], 0)
        weights = np.where(known, WEIGHT // (HALF_AFTER_HOURS + full_hours(self._moment, times)), 0)
        counted = np.where(known, rates, 0)
        any_known = sources > 0
        best, worst = counted.max(axis=0, initial=0), rates.min(axis=0, initial=NO_RATE)
        level = ratio((weights * counted).sum(axis=0), weights.sum(axis=0)) / PPM
        age = (self._time - times.max(axis=0, initial=0)[self._of]) / HOUR
        return Bids(
            best=np.where(any_known, best / PPM, np.nan)[self._of],
            worst=np.where(any_known, worst / PPM, np.nan)[self._of],
            mean=(ratio(counted.sum(axis=0), sources) / PPM)[self._of],
            level=level[self._of],
            sources=sources.astype(np.float64)[self._of],
            age_hours=np.where(any_known[self._of], age, np.nan),
        )


def _lower_median(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower median of columns (s, q) in which ``NO_RATE`` stands for none, and how many there are. ``NO_RATE`` where
    there is none."""
    size = (rates != NO_RATE).sum(axis=0)
    if len(rates) == 0:
        return np.full(rates.shape[1], NO_RATE), size
    middle = np.maximum(size - 1, 0) // 2
    return np.take_along_axis(np.sort(rates, axis=0), middle[np.newaxis], axis=0)[0], size
