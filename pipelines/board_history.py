"""What the price board showed: each card type's lowest rate by the hour, and its reference card's price by the day.

The first is what a comparison may refer to: the lowest rate of the last 7 days. Only what was really offered counts: no
rate of a card type without an offer, none that stood in for a model that could not answer. The second is what daily
moves are measured from (:mod:`pipelines.reference_prices`), the same for a live quote and for the rows of a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import inf, nan
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from features.catalogue import Catalogue
from models.discount.move_cap import DayBefore
from pipelines.application_data import ApplicationData, UtcTime, board_prices, metadata
from pipelines.reference_prices import REMEMBERED_DAYS, Close, Closes, china_days

board_references = sa.Table(
    "board_references",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("card_type", sa.String(64), primary_key=True),
    sa.Column("shown_at", UtcTime, nullable=False),
    sa.Column("rate", sa.Float, nullable=False),
    sa.Column("market", sa.JSON, nullable=False),
)
"""The reference card's price before exploration and the features of the type's market, at a day's last board so far."""

REFERENCE = timedelta(days=7)
FRESH = timedelta(minutes=1)
HOUR = timedelta(hours=1)
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Shown:
    """The lowest rate that the board showed for a card type in the last 7 days, and since when it showed the type."""

    lowest: float
    since: datetime


class BoardHistory:
    """Writes the history into the application database and reads it: once a minute or day, not for each quote."""

    def __init__(self, data: ApplicationData, catalogue: Catalogue) -> None:
        with data.transaction() as connection:
            board_references.create(connection, checkfirst=True)
        self._data = data
        self._types = sorted(catalogue.types)
        self._closes = Closes(catalogue)
        self._recent: dict[str, list[Mapping[str, Any]]] = {}
        self._newest: datetime | None = None
        self._shown: dict[str, Shown | None] = {}
        self._read_at: datetime | None = None
        self._lowest_of_hour: tuple[datetime | None, dict[str, float]] = (None, {})

    # --- reading -------------------------------------------------------------------------------------------------

    def before(self, card_types: Sequence[str], submitted_ms: np.ndarray) -> DayBefore:
        """What the daily moves of n trades are measured from. submitted_ms (n,) int64; the card types are in the
        catalogue."""
        days = china_days(submitted_ms).tolist()
        wanted = {day - gap for day in set(days) for gap in range(1, REMEMBERED_DAYS + 1)}
        missing = sorted(day for day in wanted if day not in self._closes)
        if missing:
            self._closes.forget_before(min(wanted))
            self._load(missing)
        return self._closes.before(card_types, days)

    def _load(self, days: Sequence[int]) -> None:
        table = board_references
        within = table.c.day.between(_date(days[0]), _date(days[-1]))
        found: dict[int, dict[str, Close]] = {day: {} for day in days}
        for row in self._data.rows(sa.select(table).where(within)):
            day = (row["day"] - _EPOCH).days
            if day in found:
                market = {name: nan if value is None else value for name, value in row["market"].items()}
                found[day][row["card_type"]] = Close(day, row["rate"], market)
        for day, closes in found.items():
            self._closes.add(day, closes)

    def lowest(self, card_type: str, *, now: datetime) -> Shown | None:
        """The lowest rate of the last 7 days, as it stood within the last minute; None where none was shown."""
        if self._read_at is None or not timedelta(0) <= now - self._read_at < FRESH:
            self._read_recent(now)
            self._shown, self._read_at = {}, now
        if card_type not in self._shown:
            self._shown[card_type] = lowest_of(self._recent.get(card_type, []), now=now)
        return self._shown[card_type]

    def _read_recent(self, now: datetime) -> None:
        """Add the hours that have come since the last look, and drop those that a week has passed over. The newest
        hour may have got lower rates and more types since, and the one before it too, by a slower worker."""
        prices, start = board_prices.c, hour_of(now) - REFERENCE
        known = start if self._newest is None else max(start, self._newest - HOUR)
        for points in self._recent.values():
            while points and points[-1]["shown_at"] >= known:
                points.pop()
            while points and points[0]["shown_at"] < start:
                points.pop(0)
        # Named one by one, the card types let the primary key find the few newest of very many rows.
        since = sa.and_(prices.card_type.in_(self._types), prices.shown_at >= known)
        for row in self._data.rows(sa.select(board_prices).where(since).order_by(prices.shown_at)):
            self._recent.setdefault(row["card_type"], []).append(row)
            self._newest = row["shown_at"]

    def points(self, card_type: str, *, since: datetime) -> list[Mapping[str, Any]]:
        """The hours' lowest rates (``shown_at``, ``rate``) of a card type, in order."""
        return self._data.board_history(card_type, since=since)

    def has(self, hour: datetime) -> bool:
        """Whether the board of an hour is kept."""
        prices = board_prices.c
        chosen = sa.select(prices.card_type).where(prices.card_type.in_(self._types), prices.shown_at == hour)
        return bool(self._data.rows(chosen.limit(1)))

    # --- writing -------------------------------------------------------------------------------------------------

    def remember(self, rates: Mapping[str, float], closes: Mapping[str, Close], *, now: datetime) -> None:
        """Keep the rates that a board offered, by card type, and the reference cards' prices. Of the boards of an hour
        the lowest rate of each type is kept."""
        hour = hour_of(now)
        shown = [{"card_type": name, "shown_at": hour, "rate": rate} for name, rate in rates.items()]
        references = [
            {
                "day": _date(close.day),
                "card_type": name,
                "shown_at": now,
                "rate": close.rate,
                "market": {key: None if value != value else value for key, value in close.market.items()},
            }
            for name, close in closes.items()
        ]
        shown = [row for row in shown if row["rate"] < self._kept(hour).get(row["card_type"], inf)]
        if not shown and not references:
            return
        with self._data.transaction() as connection:
            if shown:
                connection.execute(_lower_one(connection), shown)
            if references:
                connection.execute(_later_one(connection), references)
        self._kept(hour).update({row["card_type"]: row["rate"] for row in shown})
        self._read_at = None

    def _kept(self, hour: datetime) -> dict[str, float]:
        """Rates of the hour by card type that this process kept already: most boards are as the one before."""
        if self._lowest_of_hour[0] != hour:
            self._lowest_of_hour = (hour, {})
        return self._lowest_of_hour[1]


def lowest_of(points: Sequence[Mapping[str, Any]], *, now: datetime) -> Shown | None:
    """The lowest of an ordered history in the last 7 days, whole hours."""
    recent = [point for point in points if point["shown_at"] >= hour_of(now) - REFERENCE]
    if not recent:
        return None
    return Shown(lowest=min(point["rate"] for point in recent), since=recent[0]["shown_at"])


def hour_of(now: datetime) -> datetime:
    """The first moment of the hour."""
    return now.replace(minute=0, second=0, microsecond=0)


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def _lower_one(connection: sa.Connection) -> sa.Insert:
    """Insert a card type's rate of an hour, in the place of a higher one."""
    insert = _insert_into(board_prices, connection)
    return insert.on_conflict_do_update(
        index_elements=["card_type", "shown_at"],
        set_={"rate": insert.excluded.rate},
        where=board_prices.c.rate > insert.excluded.rate,
    )


def _insert_into(table: sa.Table, connection: sa.Connection) -> postgresql.Insert | sqlite.Insert:
    postgres = connection.dialect.name == "postgresql"
    return (postgresql.insert if postgres else sqlite.insert)(table)


def _later_one(connection: sa.Connection) -> sa.Insert:
    """Insert a day's reference, in the place of an earlier one."""
    insert = _insert_into(board_references, connection)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["day", "card_type"],
        set_={"shown_at": new.shown_at, "rate": new.rate, "market": new.market},
        where=board_references.c.shown_at < new.shown_at,
    )
