"""Every channel of a card type's market: who bids what, how old it is, and whether a price believes it.

A channel is one source on one side (``competitor_bid``, ``buyer_bid``, ``ask``). This is for people to look at: the
models read the same bids as features. The rules are in :mod:`features.credibility`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue
from features.credibility import FRESH, SHOWN, SIDES
from features.entities import PPM
from features.live_market import Believed, Bid, Side, believe, is_likely, note, observe
from features.rows import band_of, microseconds, rates_to_ppm, to_microseconds

STALE, OUT_OF_BAND, DECIMAL_POINT, FAR = "stale", "out_of_band", "decimal_point", "far_from_others"

WHY_NOT: dict[str, tuple[str, str]] = {
    STALE: ("报价已过期", "older than 7 days"),
    OUT_OF_BAND: ("超出卡种可能的价格区间", "outside what is possible for the card type"),
    DECIMAL_POINT: ("疑似小数点错位", "off the market by a factor of three or more: a slipped decimal point"),
    FAR: ("偏离其他渠道过多", "too far from the other channels"),
}
"""Why a bid is not believed, in Chinese and in English."""

SHOWN_SIDES = ("buyer_bid", "competitor_bid")
"""Best and worst are what buyers pay the platform; where none is believed, what others pay sellers."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Channel:
    """A rate (of face value) that one source showed on one side of the market.

    credible: whether prices count it. why: why not, a key of ``WHY_NOT``; empty where they do. A source whose latest
    rate is not believed stands there with that one, and with the former one that counts in its place, if any.
    """

    source: str
    side: str
    rate: float
    observed_at: datetime
    credible: bool
    why: str


@dataclass(frozen=True)
class Extremes:
    """The credible channels with the highest and with the lowest rate of one side; the same one where it is alone."""

    best: Channel
    worst: Channel

    @property
    def spread(self) -> float:
        """How far they are apart, in rate."""
        return self.best.rate - self.worst.rate


def channels_of(
    market: pa.Table, *, card_type: str, at: datetime, catalogue: Catalogue
) -> tuple[Channel, ...]:
    """The channels of a card type as of a moment, from the stored market table: each one's latest rate of 30 days.
    By side, then source, then newest first."""
    moment = to_microseconds(at)
    rows = market.filter(pc.equal(market["card_type"], card_type))
    times = microseconds(rows["observed_at"])
    told = rows.append_column("time", pa.array(times)).append_column(
        "ppm", pa.array(rates_to_ppm(rows["rate"]))
    )
    told = told.filter(pa.array((times < moment) & (times >= oldest_shown(moment))))
    sides, band = [Side() for _ in SIDES], band_of(catalogue, card_type)
    for row in told.select(["time", "ppm", "source", "side"]).to_pylist():
        side = sides[SIDES.index(row["side"])]
        observe(side, row["source"], Bid(row["time"], row["ppm"]), band=band, newest=moment, lag=0)
    return channels_in(sides, moment)


def channels_in(sides: Sequence[Side], moment: int) -> tuple[Channel, ...]:
    """The same, of what a live state remembers of the sides."""
    believed = believe(sides, moment)
    found = [
        channel
        for number, side in enumerate(sides)
        for source in sorted(side.bids.keys() | side.refused.keys())
        for channel in _channels(side, source, number, believed, moment)
    ]
    return tuple(found)


def best_and_worst(channels: Sequence[Channel], side: str) -> Extremes | None:
    """The extremes of a side, None where nothing is credible. The first by name where several have a rate."""
    credible = [channel for channel in channels if channel.side == side and channel.credible]
    if not credible:
        return None
    return Extremes(
        best=max(credible, key=lambda item: item.rate), worst=min(credible, key=lambda item: item.rate)
    )


def extremes_in(believed: Believed) -> Extremes | None:
    """The extremes of the first of ``SHOWN_SIDES`` on which anything is believed."""
    for side in SHOWN_SIDES:
        number = SIDES.index(side)
        shown = [_channel(source, number, bid, "") for source, bid in sorted(believed.bids[number].items())]
        if shown:
            return best_and_worst(shown, side)
    return None


def extremes_at(
    market: pa.Table, *, card_types: np.ndarray, moments: np.ndarray, catalogue: Catalogue
) -> list[Extremes | None]:
    """The extremes of n card types (n,), each as of its moment (n,) int64 µs, from the stored market table."""
    found: list[Extremes | None] = [None] * len(card_types)
    if not len(card_types):
        return found
    names, position = np.unique(card_types.astype(str), return_inverse=True)
    time = microseconds(market["observed_at"])
    first = FRESH.first_bucket(int(moments.min())) * FRESH.hop
    wanted = pc.and_(
        pc.is_in(market["card_type"], value_set=pa.array(names)),
        pa.array((time >= first) & (time < int(moments.max()))),
    )
    told = market.filter(wanted)
    types = told["card_type"].to_numpy(zero_copy_only=False).astype(str)
    for index, name in enumerate(names.tolist()):
        rows = np.flatnonzero(position == index)
        own = told.filter(pa.array(types == name))
        _walk(own, rows=rows, moments=moments, band=band_of(catalogue, name), found=found)
    return found


def _walk(
    told: pa.Table,
    *,
    rows: np.ndarray,
    moments: np.ndarray,
    band: tuple[int, int],
    found: list[Extremes | None],
) -> None:
    """Tell one card type's rates in the order of time, and fill in ``found`` for ``rows`` on the way."""
    time, ppm = microseconds(told["observed_at"]), rates_to_ppm(told["rate"])
    sources, sides_told = told["source"].to_pylist(), told["side"].to_pylist()
    order = np.lexsort((ppm, time)).tolist()
    sides, place = [Side() for _ in SIDES], 0
    known: tuple[int, int] | None = None
    last: Extremes | None = None
    for row in rows[np.argsort(moments[rows], kind="stable")].tolist():
        moment = int(moments[row])
        while place < len(order) and time[order[place]] < moment:
            event = order[place]
            side = sides[SIDES.index(sides_told[event])]
            note(side, sources[event], Bid(int(time[event]), int(ppm[event])), band=band)
            place += 1
        state = place, FRESH.first_bucket(moment)
        if state != known:  # nothing was told and nothing grew stale since: the same are believed
            known, last = state, extremes_in(believe(sides, moment))
        found[row] = last


def oldest_shown(moment: int) -> int:
    """The oldest rate that is shown at a moment, µs."""
    return SHOWN.first_bucket(moment) * SHOWN.hop


def _channels(side: Side, source: str, number: int, believed: Believed, moment: int) -> Iterator[Channel]:
    """A source's latest rate, and the one that counts where that is another."""
    counts = believed.bids[number].get(source)
    refused = side.refused.get(source)
    latest = Bid(*max(side.bids.get(source, [])[-1:] + ([] if refused is None else [refused])))
    if latest.time < oldest_shown(moment):
        return
    if latest != counts:
        why = OUT_OF_BAND if latest == refused else _why_not(latest, believed.middle, moment)
        yield _channel(source, number, latest, why)
    if counts is not None:
        yield _channel(source, number, counts, "")


def _why_not(bid: Bid, middle: int | None, moment: int) -> str:
    """Why a rate in the band does not count."""
    if bid.time < FRESH.first_bucket(moment) * FRESH.hop:
        return STALE
    return FAR if is_likely(bid.ppm, middle) else DECIMAL_POINT


def _channel(source: str, number: int, bid: Bid, why: str) -> Channel:
    return Channel(
        source=source,
        side=SIDES[number],
        rate=bid.ppm / PPM,
        observed_at=_EPOCH + timedelta(microseconds=bid.time),
        credible=not why,
        why=why,
    )
