"""The features' oracle: what was known at one trade's moment, by looping over plain rows. Slow, and easy to read.

It shares with the code under test the specification (entities, windows' lengths) and the catalogue, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa

from features.arithmetic import Value
from features.catalogue import Attribute, Catalogue, load_catalogue
from features.entities import ENTITIES, LINK_CAPS, LINK_EPOCH, MOST_COUNTED, network_of
from features.moment import Bids, Links, Moment, Rates
from features.rows import rate_to_ppm, to_microseconds
from features.windows import ALL, WINDOWS
from tests.features.naive_market import NaiveMarket, possible

TIMES = ("submitted_at", "decided_at", "resold_at", "fraud_known_at", "observed_at")


@dataclass(frozen=True)
class Log:
    """All trades with their outcomes, and all market rows: dictionaries whose times are µs since the epoch."""

    trades: list[dict]
    market: list[dict]

    @classmethod
    def of(cls, trades: pa.Table, market: pa.Table, spine: pa.Table | None = None) -> Log:
        """The tables' rows. Spine rows join them: without outcomes, or over the trade of the same id."""
        rows = {row["trade_id"]: row for row in trades.to_pylist()}
        unknown = dict.fromkeys(trades.column_names)
        for row in spine.to_pylist() if spine else []:
            rows[row["trade_id"]] = rows.get(row["trade_id"], unknown) | row
        return cls([_plain(row) for row in rows.values()], [_plain(row) for row in market.to_pylist()])

    def moments(self, trade_ids: Iterable[str]) -> Iterator[NaiveMoment]:
        """The moments of these trades, in the order of the log."""
        asked = set(trade_ids)
        for trade in self.trades:
            if trade["trade_id"] in asked:
                yield NaiveMoment(self, trade, load_catalogue())


class NaiveMoment(Moment):
    """What was known about one trade of a log at its moment."""

    def __init__(self, log: Log, trade: dict, catalogue: Catalogue) -> None:
        self.log, self.trade, self.catalogue = log, trade, catalogue
        self.time: int = trade["submitted_at"]
        self.face_fen: int = trade["face_value_fen"]
        self._of_entity: dict[str, list[dict]] = {}
        self._links: Links | None = None
        self._found: dict[tuple[str, str], list[tuple[int, dict]]] = {}

    # --- the trade itself -----------------------------------------------------------------------------------

    def text(self, column: str) -> Value:
        return self.trade[column]

    def number(self, column: str) -> Value:
        known = self.trade[column]
        return math.nan if known is None else float(known)

    def card(self, attribute: Attribute) -> Value:
        return self.catalogue.attribute(self._card_types, attribute).tolist()[0]

    @property
    def face_is_usual(self) -> Value:
        return self.catalogue.usual_face(self._card_types, np.array([self.face_fen])).tolist()[0]

    @property
    def expiry_day(self) -> Value:
        last_day = self.trade["expires_on"]
        return math.nan if last_day is None else float((last_day - date(1970, 1, 1)).days)

    @property
    def _card_types(self) -> np.ndarray:
        return np.array([self.trade["card_type"]], dtype=object)

    # --- totals -----------------------------------------------------------------------------------------------

    def total(self, entity: str, series: str, value: str, window: str) -> Value:
        if self._value_of(self.trade, entity) is None:
            return math.nan
        found = [event[value] for time, event in self._events(entity, series) if self._inside(time, window)]
        return float(max(found, default=0) if value == "largest" else sum(found))

    def _events(self, entity: str, series: str) -> list[tuple[int, dict]]:
        """(time that counts for windows, values) of the entity's events of a series that are known; every window and
        value asks for them."""
        if (entity, series) not in self._found:
            each = (self._event(trade, series) for trade in self._trades_of(entity))
            self._found[entity, series] = [event for event in each if event is not None]
        return self._found[entity, series]

    def _event(self, trade: dict, series: str) -> tuple[int, dict] | None:
        """One trade's event of a series, None where it has none or it is not known yet."""
        match series:
            case "submissions" if self._is_earlier(trade):
                return trade["submitted_at"], _submission(trade)
            case "labels" if self._is_labelled(trade):
                return trade["fraud_known_at"], {"n": 1, "frauds": int(trade["fraud"])}
            case "cohorts" if self._is_labelled(trade):
                return trade["submitted_at"], {"n": 1, "frauds": int(trade["fraud"])}
            case "acceptances" if self._is_bought(trade):
                return trade["decided_at"], {"n": 1}
            case "resales" if self._is_resold(trade):
                return trade["resold_at"], {"n": 1, "ppm": rate_to_ppm(trade["resale_rate"])}
            case "purchases" if self._is_bought(trade):
                return trade["decided_at"], self._purchase(trade)
        return None

    def _purchase(self, trade: dict) -> dict:
        """What was bought, and what of it is sold: resold, and that after it was bought."""
        fen = trade["face_value_fen"]
        sold = self._is_resold(trade) and trade["resold_at"] > trade["decided_at"]
        return {
            "bought": 1,
            "bought_fen": fen,
            "sold": 1 if sold else 0,
            "sold_fen": fen if sold else 0,
            "sold_ppm": rate_to_ppm(trade["resale_rate"]) if sold else 0,
        }

    # --- submissions -------------------------------------------------------------------------------------------

    def last_time(self, entity: str) -> Value:
        times = [trade["submitted_at"] for trade in self._earlier_of(entity)]
        return max(times) if times else math.nan

    def first_time(self, entity: str) -> Value:
        times = [trade["submitted_at"] for trade in self._earlier_of(entity)]
        return min(times) if times else math.nan

    def distinct(self, entity: str, counted: str, window: str) -> Value:
        if self._value_of(self.trade, entity) is None:
            return math.nan
        different = {
            self._value_of(trade, counted)
            for trade in self._earlier_of(entity)
            if self._inside(trade["submitted_at"], window)
        }
        return float(min(len(different - {None}), MOST_COUNTED))

    # --- market ------------------------------------------------------------------------------------------------

    def bids(self, side: str) -> Bids:
        return self.market.bids(side)

    def rates(self, side: str, window: str) -> Rates:
        return self.market.rates(side, window)

    @cached_property
    def market(self) -> NaiveMarket:
        """The market of the trade's card type."""
        card_type = self.trade["card_type"]
        rows = [
            row for row in self.log.market if row["card_type"] == card_type and row["observed_at"] < self.time
        ]
        return NaiveMarket(possible(rows, self.catalogue.types.get(card_type)), self.time)

    # --- links --------------------------------------------------------------------------------------------------

    def links(self) -> Links:
        if self._links is None:
            group = self._group()
            known = [trade for trade in self.log.trades if self._is_labelled(trade) and self._is_near(trade)]
            frauds = sum(trade["fraud"] and trade["seller_id"] in group for trade in known)
            self._links = Links(sellers=float(len(group) - 1), frauds=float(frauds))
        return self._links

    def _group(self) -> set[str]:
        """The trade's own seller and everybody connected to it, or to who is linked to what the trade comes with."""
        linked = self._linked_sellers()
        own = self.trade["seller_id"]
        group = {own}
        for kind, cap in LINK_CAPS.items():
            sellers = linked.get((kind, self._value_of(self.trade, kind)), [])
            if own in sellers or 1 <= len(sellers) < cap:
                group.update(sellers)
        size = 0
        while size != len(group):
            size = len(group)
            for sellers in linked.values():
                if not group.isdisjoint(sellers):
                    group.update(sellers)
        return group

    def _linked_sellers(self) -> dict[tuple[str, str | None], list[str]]:
        """(kind, value) -> the sellers it links: the first ones of the earlier trades considered."""
        linked: dict[tuple[str, str | None], list[str]] = {}
        considered = [trade for trade in self.log.trades if self._is_earlier(trade) and self._is_near(trade)]
        for trade in sorted(considered, key=_order):
            for kind, cap in LINK_CAPS.items():
                value = self._value_of(trade, kind)
                if value is None:
                    continue
                sellers = linked.setdefault((kind, value), [])
                if trade["seller_id"] not in sellers and len(sellers) < cap:
                    sellers.append(trade["seller_id"])
        return linked

    def _is_near(self, trade: dict) -> bool:
        """Whether a trade is of the moment's own link epoch or of the one before."""
        return self.time // LINK_EPOCH - trade["submitted_at"] // LINK_EPOCH in (0, 1)

    # --- what is known -----------------------------------------------------------------------------------------

    def _inside(self, event: int, window: str) -> bool:
        if window == ALL:
            return True
        width, hop, delay = WINDOWS[window].width, WINDOWS[window].hop, WINDOWS[window].delay
        if event // hop < (self.time - delay - width) // hop:
            return False
        return delay == 0 or event // hop < (self.time - delay) // hop

    def _value_of(self, trade: dict, entity: str) -> str | None:
        value = trade[ENTITIES[entity]]
        if entity == "ip_net":
            return network_of(value)
        if entity == "card_category":
            row = self.catalogue.types.get(value)
            return None if row is None else row.category
        return value

    def _trades_of(self, entity: str) -> list[dict]:
        """All trades of the trade's entity, whenever they were; found once a moment."""
        if entity not in self._of_entity:
            own = self._value_of(self.trade, entity)
            self._of_entity[entity] = [
                trade for trade in self.log.trades if own is not None and self._value_of(trade, entity) == own
            ]
        return self._of_entity[entity]

    def _earlier_of(self, entity: str) -> list[dict]:
        return [trade for trade in self._trades_of(entity) if self._is_earlier(trade)]

    def _is_earlier(self, trade: dict) -> bool:
        return _order(trade) < _order(self.trade)

    def _is_labelled(self, trade: dict) -> bool:
        return trade["fraud"] is not None and self._is_past(trade["fraud_known_at"])

    def _is_bought(self, trade: dict) -> bool:
        return trade["accepted"] is True and self._is_past(trade["decided_at"])

    def _is_resold(self, trade: dict) -> bool:
        return trade["resale_rate"] is not None and self._is_past(trade["resold_at"])

    def _is_past(self, time: int | None) -> bool:
        return time is not None and time < self.time


def _plain(row: dict) -> dict:
    """A row whose times are µs since the epoch."""
    return {
        name: to_microseconds(value) if name in TIMES and value is not None else value
        for name, value in row.items()
    }


def _order(trade: dict) -> tuple[int, str]:
    return trade["submitted_at"], trade["trade_id"]


def _submission(trade: dict) -> dict:
    fen = trade["face_value_fen"]
    return {"n": 1, "fen": fen, "yuan_squared": (fen // 100) ** 2, "largest": fen}
