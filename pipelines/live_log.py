"""The live log: everything the live state must hear of, written with what it stands for and told in order.

A record holds all it needs (the trade, its entities, the label it corrects), so telling it again needs nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from features.events import Accepted, Event, Labelled, Observed, Record, Resold, Submitted, Trade
from features.live_round import Round
from features.online import LiveFeatures
from features.rows import SPINE_COLUMNS
from features.state_book import StatesMissing
from features.store import OnlineStoreUnavailable
from pipelines.application_data import ApplicationData

log = logging.getLogger("huika")

BATCH = 500
"""Records told at a time when many are waiting."""

_KINDS: dict[str, type[Event]] = {
    "submitted": Submitted,
    "accepted": Accepted,
    "resold": Resold,
    "labelled": Labelled,
    "observed": Observed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class LiveLog:
    """Writes records and tells them. ``writing`` is held while states are read and written back, so that several
    workers on one machine do not lose each other's updates."""

    data: ApplicationData
    live: LiveFeatures
    writing: Callable[[], AbstractContextManager[None]]

    def append(self, connection: sa.Connection, event: Event, *, once: str) -> None:
        """Write a record in the caller's transaction. What carries the same ``once`` counts once."""
        self.data.append_to_log(connection, once=once, kind=_NAMES[type(event)], body=to_json(event))

    def append_all(self, connection: sa.Connection, events: Sequence[tuple[Event, str]]) -> list[int]:
        """Write records (event, once) in the caller's transaction, and their numbers. Nothing is written, and
        IntegrityError raised, where one ``once`` is in the log already."""
        rows = [{"once": once, "kind": _NAMES[type(event)], "body": to_json(event)} for event, once in events]
        return self.data.append_all_to_log(connection, rows)

    def catch_up(self, *, now: datetime) -> int:
        """Tell the live state every record it has not heard, in order; how many. Raises StatesMissing."""
        with self.writing():
            return self.tell_waiting(now=now)

    def tell_waiting(self, *, now: datetime) -> int:
        """As :meth:`catch_up`, for a caller that holds ``writing`` already."""
        told, rows = 0, self.data.log_after(self.live.applied, limit=BATCH)
        while rows:
            self.live.apply([record_of(row) for row in rows], now=now)
            told += len(rows)
            rows = self.data.log_after(rows[-1]["seq"], limit=BATCH) if len(rows) == BATCH else []
        return told

    def tell_round(self, told: Round | None, numbers: Sequence[int], *, now: datetime) -> None:
        """Let the live state keep what a round told its trades, if the records just written under ``numbers`` are all
        it has not heard; else tell it from the log. For a caller that holds ``writing``."""
        if told is not None and list(numbers) == list(range(told.first + 1, told.last + 1)):
            try:
                told.write(now=now)
            except OnlineStoreUnavailable as error:
                told.drop()
                log.error("%s; records stay in the log until it is back", error)
            return
        if told is not None:
            told.drop()
        self.try_to_tell(now=now)

    def try_to_tell(self, *, now: datetime) -> None:
        """As :meth:`tell_waiting`; a failure is logged, for the records stay and the next call tells them."""
        try:
            self.tell_waiting(now=now)
        except (OnlineStoreUnavailable, StatesMissing) as error:
            log.error("%s; records stay in the log until it is back", error)
        except Exception:
            log.exception("the live state could not be brought up to date; its records stay in the log")


def record_of(row: Mapping[str, Any]) -> Record:
    """A stored record as the live state takes it."""
    return Record(seq=row["seq"], event=from_json(row["kind"], row["body"]))


def to_json(event: Event) -> dict[str, Any]:
    """An event as plain JSON."""
    fields = dict(vars(event))
    if not isinstance(event, Observed):
        trade = {name: event.trade[name] for name in SPINE_COLUMNS}
        fields["trade"] = trade | {name: _plain(trade[name]) for name in ("submitted_at", "expires_on")}
    return {name: _plain(value) for name, value in fields.items()}


def from_json(kind: str, body: Mapping[str, Any]) -> Event:
    """The event that :func:`to_json` wrote."""
    fields = dict(body)
    if "trade" in fields:
        fields["trade"] = trade_from_json(fields["trade"])
    for name in ("decided_at", "resold_at", "known_at", "at"):
        if fields.get(name) is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    if fields.get("old") is not None:
        fields["old"] = (datetime.fromisoformat(fields["old"][0]), fields["old"][1])
    return _KINDS[kind](**fields)


def trade_from_json(trade: Mapping[str, Any]) -> Trade:
    """A trade stored as JSON with its times as times again."""
    expires_on = trade["expires_on"]
    return dict(trade) | {
        "submitted_at": datetime.fromisoformat(trade["submitted_at"]),
        "expires_on": None if expires_on is None else date.fromisoformat(expires_on),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
