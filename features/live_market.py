"""What a live state remembers of one side of a card type's market, and whom it believes at a moment.

The tests are those of :mod:`features.credibility`, written for plain numbers; :mod:`features.market_history` does the
same with columns. Times are int64 µs, rates parts per million.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from features.arithmetic import at_most
from features.credibility import (
    ENOUGH,
    FACTOR,
    FRESH,
    HALF_AFTER_HOURS,
    NEAR_POINTS,
    POINT_PPM,
    POINTS,
    REMEMBERED,
    SHOWN,
    SPREADS,
    WEIGHT,
    full_hours,
)
from features.entities import BASIS_POINTS, BID_WINDOWS, PPM
from features.moment import Bids, Rates
from features.windows import HOUR, Window

NO_BIDS = Bids(math.nan, math.nan, math.nan, math.nan, 0.0, math.nan)


class Bid(NamedTuple):
    """A rate that was seen."""

    time: int
    ppm: int


class Side(msgspec.Struct, array_like=True, gc=False):
    """One side of a market. bids: source -> its newest rates in the band, oldest first. refused: source -> its newest
    rate out of the band. rows: for each of ``BID_WINDOWS``, hop · POINTS + point -> totals (``Rates``) of the rates of
    that point seen in that hop."""

    bids: dict[str, list[tuple[int, int]]] = {}
    refused: dict[str, tuple[int, int]] = {}
    rows: list[dict[int, list[int]]] = msgspec.field(default_factory=lambda: [{} for _ in BID_WINDOWS])


class Level(NamedTuple):
    """The level of a side, and how far from it a rate is believed; whole points."""

    point: int
    tolerance: int

    def is_near(self, ppm: int) -> bool:
        return abs(ppm // POINT_PPM - self.point) <= self.tolerance


class Believed(NamedTuple):
    """What is believed at a moment: the middle of the market (ppm, None without one), and for each side its level
    (None where nothing is fresh) and each source's bid."""

    middle: int | None
    levels: list[Level | None]
    bids: list[dict[str, Bid]]


# --- writing -------------------------------------------------------------------------------------------------


def observe(side: Side, source: str, bid: Bid, *, band: tuple[int, int], newest: int, lag: int) -> None:
    """Remember a rate. ``newest`` is the time of the newest event that the state was told; what a moment later than
    ``newest`` less ``lag`` cannot see is forgotten."""
    if note(side, source, bid, band=band):
        for rows, window in zip(side.rows, BID_WINDOWS, strict=True):
            _add(rows, window, bid, oldest=window.first_bucket(newest - lag))
    oldest = newest - lag - SHOWN.width - SHOWN.hop
    for old in [name for name, bids in side.bids.items() if bids[-1][0] < oldest]:
        del side.bids[old]
    for old in [name for name, last in side.refused.items() if last[0] < oldest]:
        del side.refused[old]


def note(side: Side, source: str, bid: Bid, *, band: tuple[int, int]) -> bool:
    """Remember a rate as its source's, for what is believed and not for totals; whether it lies in the band."""
    if not band[0] <= bid.ppm <= band[1]:
        if side.refused.get(source, bid)[0] <= bid.time:
            side.refused[source] = bid
        return False
    bids = side.bids.setdefault(source, [])
    insort(bids, bid)
    del bids[:-REMEMBERED]
    return True


def _add(rows: dict[int, list[int]], window: Window, bid: Bid, *, oldest: int) -> None:
    hop, point, bp = bid.time // window.hop, bid.ppm // POINT_PPM, bid.ppm // (PPM // BASIS_POINTS)
    if hop >= oldest:
        row = rows.setdefault(hop * POINTS + point, [0, 0, 0, 0])
        for place, amount in enumerate((1, bid.ppm, bp, bp * bp)):
            row[place] += amount
    for old in [key for key in rows if key < oldest * POINTS]:
        del rows[old]


# --- whom to believe -------------------------------------------------------------------------------------------


def believe(sides: Sequence[Side], moment: int) -> Believed:
    """Every side's level and bids at a moment later than all that was told."""
    fresh = [{source: _fresh(bids, moment) for source, bids in side.bids.items()} for side in sides]
    newest = sorted(bids[0].ppm for side in fresh for bids in side.values() if bids)
    middle = _lower_median(newest) if len(newest) >= ENOUGH else None
    levels = [_level(side, middle) for side in fresh]
    return Believed(middle, levels, [_near(*found) for found in zip(fresh, levels, strict=True)])


def _fresh(bids: list[tuple[int, int]], moment: int) -> list[Bid]:
    """A source's fresh rates, newest first."""
    oldest = FRESH.first_bucket(moment) * FRESH.hop
    return [Bid(*bid) for bid in reversed(bids) if bid[0] >= oldest]


def _level(fresh: Mapping[str, list[Bid]], middle: int | None) -> Level | None:
    newest = (next((bid.ppm for bid in bids if is_likely(bid.ppm, middle)), None) for bids in fresh.values())
    candidates = sorted(ppm for ppm in newest if ppm is not None)
    if not candidates:
        return None
    ppm = _lower_median(candidates)
    if len(candidates) == 2 and middle is not None:
        ppm = min(
            candidates, key=lambda each: abs(each - middle)
        )  # the first, lower one where both are as near
    point = ppm // POINT_PPM
    tolerance = at_most(point // 2, NEAR_POINTS)
    if len(candidates) >= ENOUGH:
        distances = sorted(abs(each // POINT_PPM - point) for each in candidates)
        tolerance = max(tolerance, SPREADS * _lower_median(distances))
    return Level(point, tolerance)


def _near(fresh: Mapping[str, list[Bid]], level: Level | None) -> dict[str, Bid]:
    if level is None:
        return {}
    found = {
        source: next((bid for bid in bids if level.is_near(bid.ppm)), None) for source, bids in fresh.items()
    }
    return {source: bid for source, bid in found.items() if bid is not None}


def is_likely(ppm: int, middle: int | None) -> bool:
    """Whether a rate is off the middle of the market by no more than ``FACTOR``."""
    return middle is None or (ppm * FACTOR >= middle and ppm <= middle * FACTOR)


def _lower_median(ascending: list[int]) -> int:
    return ascending[(len(ascending) - 1) // 2]


# --- answers -----------------------------------------------------------------------------------------------------


def bids_of(believed: Mapping[str, Bid], moment: int) -> Bids:
    """The bids of one side as features ask for them."""
    if not believed:
        return NO_BIDS
    bids = believed.values()
    rates = [bid.ppm for bid in bids]
    weights = [WEIGHT // (HALF_AFTER_HOURS + full_hours(moment, bid.time)) for bid in bids]
    weighed = sum(weight * rate for weight, rate in zip(weights, rates, strict=True))
    return Bids(
        best=max(rates) / PPM,
        worst=min(rates) / PPM,
        mean=sum(rates) / len(rates) / PPM,
        level=weighed / sum(weights) / PPM,
        sources=float(len(rates)),
        age_hours=(moment - max(bid.time for bid in bids)) / HOUR,
    )


def rates_of(side: Side, level: Level | None, *, window: Window, moment: int) -> Rates:
    """Totals of the rates of one side in a window, near its level."""
    n = ppm = bp = bp_squared = 0
    if level is not None:
        point, tolerance = level
        first = window.first_bucket(moment) * POINTS
        for key, row in side.rows[BID_WINDOWS.index(window)].items():
            if key >= first and -tolerance <= key % POINTS - point <= tolerance:
                n += row[0]
                ppm += row[1]
                bp += row[2]
                bp_squared += row[3]
    return Rates(float(n), float(ppm), float(bp), float(bp_squared))
