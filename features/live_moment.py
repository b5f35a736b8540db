"""The live evaluator: one trade, answered from the states of its entities with plain Python numbers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Any

from features.catalogue import Attribute, Catalogue
from features.channels import Extremes, extremes_in
from features.credibility import FRESH, SIDES
from features.entities import COUNTED, KEPT, MOST_COUNTED, Series, bid_window, check_counted, check_series
from features.events import Trade
from features.live_market import Believed, believe, bids_of, rates_of
from features.moment import Bids, Links, Moment, Rates
from features.rows import to_microseconds
from features.state import NEVER, Increment, State
from features.windows import ALL, WINDOWS

NAN = math.nan
EPOCH_DAY = date(1970, 1, 1).toordinal()

_SERIES: dict[tuple[str, str], tuple[int, Series]] = {
    (entity, series.name): (number, series)
    for entity, kept in KEPT.items()
    for number, series in enumerate(kept)
}
_LEVEL = {
    (series.name, window.name): [hop for hop, _ in series.levels].index(window.hop)
    for _, series in _SERIES.values()
    for window in series.windows
}
_VALUE = {
    (series.name, value): place for _, series in _SERIES.values() for place, value in enumerate(series.values)
}
_UNKNOWN = (NAN,) * 5

Markets = dict[tuple[Any, ...], Any]
"""What was worked out of the states of card types and categories, by their names and the hours it holds for: two trades
of one hour see the same, as long as nothing but submissions is told."""


class LiveMoment(Moment):
    """One trade. states: entity -> its state, absent where the trade has no such entity. markets: what other trades
    found out of the same states' markets; None: nothing."""

    def __init__(
        self,
        *,
        trade: Trade,
        states: Mapping[str, State],
        links: Links,
        catalogue: Catalogue,
        markets: Markets | None = None,
    ) -> None:
        self.time = to_microseconds(trade["submitted_at"])
        self.face_fen = trade["face_value_fen"]
        self.trade_id: str = trade["trade_id"]
        self._trade = trade
        self.states = states
        self._links = links
        self._card = catalogue.types.get(trade["card_type"])
        self._totals: dict[tuple[str, str, str], tuple[float, ...]] = {}
        self._tails: dict[str, list[list[Increment]]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._bids: dict[str, Bids] = {}
        self.markets: Markets = {} if markets is None else markets

    def text(self, column: str) -> str | None:
        return self._trade[column]

    def number(self, column: str) -> float:
        value = self._trade[column]
        return NAN if value is None else float(value)

    def card(self, attribute: Attribute) -> float | str | None:
        value = getattr(self._card, attribute, None)
        if attribute == "category":
            return value
        return NAN if value is None else float(value)

    @property
    def face_is_usual(self) -> float:
        usual = self._card.face_values_fen if self._card else None
        return float(self.face_fen in usual) if usual else NAN

    @property
    def expiry_day(self) -> float:
        last = self._trade["expires_on"]
        return NAN if last is None else float(last.toordinal() - EPOCH_DAY)

    def links(self) -> Links:
        return self._links

    # --- totals ------------------------------------------------------------------------------------------------

    def total(self, entity: str, series: str, value: str, window: str) -> float:
        key = (entity, series, window)
        found = self._totals.get(key)
        if found is None:
            found = self._totals[key] = self._sum(entity, series, window)
        return found[_VALUE[series, value]]

    def _sum(self, entity: str, name: str, window: str) -> tuple[float, ...]:
        check_series(entity, name, window)
        state = self.states.get(entity)
        if state is None:
            return _UNKNOWN
        number, series = _SERIES[entity, name]
        totals = state.totals[number]
        if window == ALL:
            first, end = NEVER, self.time + 1
            sums = totals.always.copy()
        else:
            first, end = self._span(window)
            hop = WINDOWS[window].hop
            rows = totals.levels[_LEVEL[name, window]]
            sums = _sum_rows(rows, first // hop, -(-end // hop), len(series.values), series.peak)
        newest = [item.values for item in self._tail(entity, state)[number] if first <= item.at < end]
        return tuple(map(float, _added([sums, *newest], series.peak) if newest else sums))

    def _span(self, window: str) -> tuple[int, int]:
        """First time inside a window and first time behind it, µs."""
        found = self._spans.get(window)
        if found is None:
            asked = WINDOWS[window]
            end = asked.end_bucket(self.time) * asked.hop if asked.delay else self.time + 1
            found = self._spans[window] = (asked.first_bucket(self.time) * asked.hop, end)
        return found

    def _tail(self, entity: str, state: State) -> list[list[Increment]]:
        """For each series the tail's events that stand before the moment; not the trade's own, should it be there
        already."""
        found = self._tails.get(entity)
        if found is None:
            own = self.trade_id
            moment = (self.time, own)
            found = self._tails[entity] = [[] for _ in KEPT[entity]]
            for item in state.tail:
                if item.id != own and (item.time, item.id) < moment:
                    found[item.series].append(item)
        return found

    def last_time(self, entity: str) -> float:
        return self._edge_time(entity, max, lambda state: state.last)

    def first_time(self, entity: str) -> float:
        return self._edge_time(entity, min, lambda state: state.first)

    def _edge_time(self, entity: str, choose, folded) -> float:
        check_series(entity, "submissions", ALL)
        state = self.states.get(entity)
        if state is None:
            return NAN
        times = [item.time for item in self._tail(entity, state)[0]]
        if folded(state) != NEVER:
            times.append(folded(state))
        return float(choose(times)) if times else NAN

    def distinct(self, entity: str, counted: str, window: str) -> float:
        check_counted(entity, counted, window)
        state = self.states.get(entity)
        if state is None:
            return NAN
        place, (first, end) = COUNTED[entity].index(counted), self._span(window)
        seen = {name for name, time in state.counted[place].items() if first <= time < end}
        seen.update(
            name
            for item in self._tail(entity, state)[0]
            if (name := item.names[place]) is not None and first <= item.time < end
        )
        return float(min(len(seen), MOST_COUNTED))

    # --- market --------------------------------------------------------------------------------------------------

    def bids(self, side: str) -> Bids:
        if side not in self._bids:
            self._bids[side] = bids_of(self.believed.bids[SIDES.index(side)], self.time)
        return self._bids[side]

    def rates(self, side: str, window: str) -> Rates:
        asked = bid_window(window)
        key = (self._trade["card_type"], side, window, asked.first_bucket(self.time), self._fresh)
        found = self.markets.get(key)
        if found is None:
            number = SIDES.index(side)
            seen, level = self.states["card_type"].market[number], self.believed.levels[number]
            found = self.markets[key] = rates_of(seen, level, window=asked, moment=self.time)
        return found

    @cached_property
    def believed(self) -> Believed:
        """Whom of the card type's market to believe at the moment."""
        key = (self._trade["card_type"], self._fresh)
        found = self.markets.get(key)
        if found is None:
            found = self.markets[key] = believe(self.states["card_type"].market, self.time)
        return found

    @property
    def extremes(self) -> Extremes | None:
        """The best and the worst channel of the card type's market at the moment."""
        key = ("extremes", self._trade["card_type"], self._fresh)
        if key not in self.markets:
            self.markets[key] = extremes_in(self.believed)
        return self.markets[key]

    @cached_property
    def _fresh(self) -> int:
        """Number of the oldest hop of fresh rates: what the moment decides about whom to believe."""
        return FRESH.first_bucket(self.time)


def _sum_rows(rows: list[int], first: int, end: int, values: int, peak: int) -> list[int]:
    """Totals of the rows, which stand in the order of their buckets, from bucket ``first`` to before ``end``."""
    width = 1 + values
    buckets = rows[::width]
    begin, stop = bisect_left(buckets, first) * width, bisect_left(buckets, end) * width
    columns = [rows[begin + place : stop : width] for place in range(1, width)]
    return [
        (max(column, default=0) if place == peak else sum(column)) for place, column in enumerate(columns)
    ]


def _added(rows: list[list[int]], peak: int) -> list[int]:
    """Sum of each column; of the one at ``peak`` its largest."""
    columns = list(zip(*rows, strict=True))
    sums = [sum(column) for column in columns]
    if peak >= 0:
        sums[peak] = max(columns[peak])
    return sums
