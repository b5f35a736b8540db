"""Block, watch and allow lists in the application database: every change is a row, and no row is ever changed."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from features.catalogue import Catalogue, detect
from features.rows import to_microseconds
from models.fraud.lists import KINDS, LISTS, NEVER_MS, ListChange, Lists
from pipelines.application_data import ApplicationData, UtcTime, metadata, one_at_a_time

log = logging.getLogger("huika")

screening_lists = sa.Table(
    "screening_lists",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("change", sa.String(8), nullable=False),
    sa.Column("list", sa.String(8), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("value", sa.String(128), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=True),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("why", sa.String(500), nullable=False),
    sqlite_autoincrement=True,
)
"""What was ``added``, put there in ``shadow``, or ``removed``, when, by whom and why. An entry holds until it expires
or the next change."""

REFRESH = timedelta(seconds=5)
"""How old the lists of a running service may be. The look for new rows costs one query by primary key."""

LISTS_LOCK = 7_204_416
"""Number of the lock under which changes are written."""

LEAST_NUMBER = 13
"""No issuer's batch number has so many digits; a card number may."""


class ListError(ValueError):
    """An entry that cannot be taken; the message says which and why."""


@dataclass(frozen=True)
class Entry:
    """One thing to be listed (``change`` = ``added``), listed in ``shadow``, or taken off (``removed``)."""

    list: str
    kind: str
    value: str
    author: str
    why: str
    expires_at: datetime | None = None
    change: str = "added"


def checked(entry: Entry, *, catalogue: Catalogue, now: datetime) -> Entry:
    """The entry with its texts trimmed. Raises ListError; a value that may be a card number is not repeated."""
    texts = {name: getattr(entry, name).strip() for name in ("list", "kind", "value", "author", "why")}
    entry = replace(entry, **texts)
    if entry.list not in LISTS:
        raise ListError(f"list: there is no {entry.list!r}; there are {', '.join(LISTS)}")
    if entry.kind not in KINDS:
        raise ListError(f"kind: there is no {entry.kind!r}; there are {', '.join(KINDS)}")
    if not entry.author or not entry.why:
        raise ListError("author and why: say who lists this and for what reason")
    for name, most in (("value", 128), ("author", 64), ("why", 500)):
        if not 0 < len(getattr(entry, name)) <= most:
            raise ListError(f"{name}: 1 to {most} characters")
    if entry.kind.startswith("card_") and _may_be_a_card(entry, catalogue):
        raise ListError(
            f"value: this looks like a card number; a {entry.kind} is listed as it stands in the trades"
        )
    if entry.kind == "ip" and not _is_address(entry.value):
        raise ListError(f"value: {entry.value!r} is not an IP address")
    if entry.expires_at is not None and entry.expires_at <= now:
        raise ListError(f"until: {entry.expires_at:%Y-%m-%d %H:%M} UTC is over")
    return entry


def _may_be_a_card(entry: Entry, catalogue: Catalogue) -> bool:
    digits = entry.value.replace(" ", "").replace("-", "")
    number = digits.isdigit() and (entry.kind == "card_fingerprint" or len(digits) >= LEAST_NUMBER)
    return number or bool(detect(entry.value, catalogue=catalogue))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class ListData:
    """Writes and reads the changes."""

    data: ApplicationData

    @classmethod
    def open(cls, data: ApplicationData) -> ListData:
        """The lists of an application database; their table is made where it is missing."""
        with data.transaction() as connection:
            screening_lists.create(connection, checkfirst=True)
        return cls(data)

    def write(self, entries: Sequence[Entry], *, now: datetime) -> int:
        """Write what changes anything, all or nothing; how many did. What is on a list until the same time in the same
        way already, or is to be taken off a list that it is not on, changes nothing."""
        with self.data.transaction() as connection:
            # Before the lists are read: readers go on by number, and what changes nothing depends on what is there.
            one_at_a_time(connection, LISTS_LOCK)
            lists = Lists()
            _take_in(lists, (dict(row) for row in connection.execute(_behind(0)).mappings()))
            rows = _changing(lists, entries, now)
            if rows:
                connection.execute(sa.insert(screening_lists), rows)
        return len(rows)

    def after(self, seq: int) -> list[Mapping[str, Any]]:
        """Changes with a number behind ``seq``, in order."""
        return self.data.rows(_behind(seq))

    def active(self, *, now: datetime) -> list[Mapping[str, Any]]:
        """The entries that hold at ``now``, in the order they were made."""
        newest = {(row["list"], row["kind"], row["value"]): row for row in self.after(0)}
        rows = sorted(newest.values(), key=lambda row: row["seq"])
        return [row for row in rows if row["change"] != "removed" and _holds(row, now)]


def _behind(seq: int) -> sa.Select[Any]:
    return sa.select(screening_lists).where(screening_lists.c.seq > seq).order_by(screening_lists.c.seq)


def _changing(lists: Lists, entries: Sequence[Entry], now: datetime) -> list[dict[str, Any]]:
    """Rows of the entries that change anything, each of which ``lists`` takes in."""
    rows = []
    for entry in entries:
        change = _change(asdict(entry) | {"at": now})
        last = lists.last(list=entry.list, kind=entry.kind, value=entry.value)
        if _state(last, change.at_ms) != _state(change, change.at_ms):
            lists.add(change)
            rows.append(asdict(entry) | {"at": now.astimezone(UTC)})
    return rows


def _holds(row: Mapping[str, Any], now: datetime) -> bool:
    return row["expires_at"] is None or now < row["expires_at"]


def _state(change: ListChange | None, at_ms: int) -> tuple[int, bool] | None:
    """Until when a value is listed as of a moment, and whether in shadow; None where it is not."""
    return None if change is None or change.until_ms <= at_ms else (change.until_ms, change.shadow)


def _change(row: Mapping[str, Any]) -> ListChange:
    at_ms = to_microseconds(row["at"]) // 1000
    until_ms = NEVER_MS if row["expires_at"] is None else to_microseconds(row["expires_at"]) // 1000
    return ListChange(
        list=row["list"],
        kind=row["kind"],
        value=row["value"],
        at_ms=at_ms,
        until_ms=at_ms if row["change"] == "removed" else until_ms,
        shadow=row["change"] == "shadow",
    )


def _take_in(lists: Lists, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        lists.add(_change(row))


def read_lists(data: ListData) -> Lists:
    """Everything that was ever listed, as of any moment."""
    lists = Lists()
    _take_in(lists, data.after(0))
    return lists


class ListReader:
    """The lists of a running service: looked at anew when they are older than REFRESH; only new rows are read.

    While the database is away the lists hold as they were last known."""

    def __init__(self, data: ListData) -> None:
        self._data = data
        self._seq = 0
        self._looked_at: datetime | None = None
        self._read_at: datetime | None = None
        self.lists = Lists()

    def refresh(self, *, now: datetime) -> None:
        """Take in what was changed, if the last look was long enough ago."""
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < REFRESH:
            return
        try:
            rows = self._data.after(self._seq)
        except DBAPIError as error:
            if self._looked_at is None:
                raise
            log.error("block and watch lists are as of %s: %s", self._read_at, type(error.orig).__name__)
            self._looked_at = now
            return
        _take_in(self.lists, rows)
        self._seq = rows[-1]["seq"] if rows else self._seq
        self._looked_at = self._read_at = now
