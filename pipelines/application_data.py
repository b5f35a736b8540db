"""What the service has said and heard: quotes, events, answers to repeated requests, the price board's history.

SQLAlchemy Core on SQLite (default) or PostgreSQL by URL. Rows are only added; a quote is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from pipelines.databases import advisory_lock, open_engine

metadata = sa.MetaData()

LOG_LOCK = 7_204_415
"""Number of the lock under which records are appended to the live log."""

TABLES_LOCK = 7_204_417
"""Number of the lock under which missing tables are made."""


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware UTC time with microseconds, stored as text that sorts by time on every database."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


quotes = sa.Table(
    "quotes",
    metadata,
    sa.Column("quote_id", sa.String(40), primary_key=True),
    sa.Column("trade_id", sa.String(128), nullable=False, index=True),
    sa.Column("submitted_at", UtcTime, nullable=False, index=True),
    sa.Column("valid_until", UtcTime, nullable=False),
    sa.Column("first", sa.Boolean, nullable=False),
    sa.Column("client_id", sa.String(128), nullable=False),
    sa.Column("trade", sa.JSON, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),
)
"""Every quote given. ``first``: the one by which its trade became known; later ones ask again about the same trade.
``client_id``: who asked, empty for this program itself; the trade belongs to who asked first."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("trade_id", sa.String(128), nullable=True, index=True),
    sa.Column("happened_at", UtcTime, nullable=False),
    sa.Column("known_at", UtcTime, nullable=False, index=True),
    sa.Column("body", sa.JSON, nullable=False),
)

live_log = sa.Table(
    "live_log",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("once", sa.String(160), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""What the live state must hear of, in order. ``once`` names what can happen only once (a trade's submission)."""

feature_lists = sa.Table(
    "feature_lists",
    metadata,
    sa.Column("list_id", sa.String(16), primary_key=True),
    sa.Column("names", sa.JSON, nullable=False),
)
quote_features = sa.Table(
    "quote_features",
    metadata,
    sa.Column("quote_id", sa.String(40), primary_key=True),
    sa.Column("trade_id", sa.String(128), nullable=False, index=True),
    sa.Column("submitted_at", UtcTime, nullable=False, index=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("list_id", sa.String(16), nullable=False),
    sa.Column("values", sa.LargeBinary, nullable=False),
)
"""The features a quote was answered from, in the order of the list; ``seq``: the last record they had seen."""

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("idempotency_key", sa.String(255), primary_key=True),
    sa.Column("route", sa.String(128), primary_key=True),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)
"""Answers given under idempotency keys. ``status`` 0: somebody works on it and was alive at ``created_at``."""

UNDER_WAY = 0
board_prices = sa.Table(
    "board_prices",
    metadata,
    sa.Column("card_type", sa.String(64), primary_key=True),
    sa.Column("shown_at", UtcTime, primary_key=True),
    sa.Column("rate", sa.Float, nullable=False),
)


_INSERT_RECORDS = sa.insert(live_log)


_ALL_QUOTES = sa.select(quotes).order_by(quotes.c.submitted_at, quotes.c.quote_id)
_ALL_EVENTS = sa.select(events).order_by(events.c.known_at, events.c.event_id)
_LOG_HEAD = sa.select(sa.func.coalesce(sa.func.max(live_log.c.seq), 0))


@dataclass(frozen=True)
class Recorded:
    """All quotes by submission and all events by the time they became known; ``seq``: number of the last record of the
    live log among them."""

    quotes: list[Mapping[str, Any]]
    events: list[Mapping[str, Any]]
    seq: int


@dataclass(frozen=True)
class Reply:
    """An answer given under an idempotency key, or, while its status is ``UNDER_WAY``, one to come."""

    request_sha256: str
    status: int
    body: Any


class ApplicationData:
    """The application database. answer_seconds: as :func:`pipelines.databases.open_engine` takes it; a service gives
    one."""

    def __init__(self, url: str, *, answer_seconds: float | None = None) -> None:
        self._engine = open_engine(url, answer_seconds=answer_seconds)
        make_missing_tables(self._engine, metadata)

    @property
    def is_shared(self) -> bool:
        """Whether several machines may work on it."""
        return self._engine.dialect.name == "postgresql"

    def lock(self, number: int) -> AbstractContextManager[None]:
        """A lock that one holder at a time has on all machines, for a database that ``is_shared``."""
        return advisory_lock(self._engine, number)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing; whatever a request must leave behind is written in one of these."""
        with self._engine.begin() as connection:
            yield connection

    def quote(self, quote_id: str) -> Mapping[str, Any] | None:
        return self._one(sa.select(quotes).where(quotes.c.quote_id == quote_id))

    def first_quotes_of(self, trade_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The quotes by which trades became known, by trade_id: each carries the trade as it was submitted."""
        if not trade_ids:
            return {}
        rows = self.rows(sa.select(quotes).where(quotes.c.trade_id.in_(trade_ids), quotes.c.first))
        return {row["trade_id"]: row for row in rows}

    def last_quote_of(self, trade_id: str) -> Mapping[str, Any] | None:
        """The newest quote of a trade."""
        chosen = sa.select(quotes).where(quotes.c.trade_id == trade_id)
        return self._one(chosen.order_by(quotes.c.submitted_at.desc(), quotes.c.quote_id.desc()).limit(1))

    def recorded(self) -> Recorded:
        """Everything that was said and heard, as of one moment."""
        with self._snapshot() as connection:
            return Recorded(
                quotes=_mappings(connection, _ALL_QUOTES),
                events=_mappings(connection, _ALL_EVENTS),
                seq=connection.execute(_LOG_HEAD).scalar_one(),
            )

    @contextmanager
    def _snapshot(self) -> Iterator[sa.Connection]:
        """A connection whose queries all see the same moment."""
        with self._engine.connect() as connection:
            if self.is_shared:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def all_quotes(self) -> list[Mapping[str, Any]]:
        return self.rows(_ALL_QUOTES)

    def append_to_log(self, connection: sa.Connection, *, once: str, kind: str, body: Any) -> None:
        """Put a record at the end of the live log, unless ``once`` is in it already."""
        one_at_a_time(connection, LOG_LOCK)
        insert_once(connection, live_log, {"once": once, "kind": kind, "body": body})

    def append_all_to_log(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Put records (``once``, ``kind``, ``body``) at the end of the live log; their numbers, in their order. Raises
        IntegrityError where one ``once`` is in it already."""
        if not rows:
            return []
        one_at_a_time(connection, LOG_LOCK)
        connection.execute(_INSERT_RECORDS, rows)
        # Nobody else appends meanwhile, so they have the last numbers; asked for one by one, each is a statement.
        last = connection.execute(_LOG_HEAD).scalar_one()
        return list(range(last - len(rows) + 1, last + 1))

    def log_after(self, seq: int, *, limit: int) -> list[Mapping[str, Any]]:
        """Records of the live log behind number ``seq``, in order."""
        return self.rows(
            sa.select(live_log).where(live_log.c.seq > seq).order_by(live_log.c.seq).limit(limit)
        )

    @property
    def log_head(self) -> int:
        """Number of the newest record of the live log, 0 without one."""
        with self._engine.connect() as connection:
            return connection.execute(_LOG_HEAD).scalar_one()

    def event(self, event_id: str) -> Mapping[str, Any] | None:
        return self._one(sa.select(events).where(events.c.event_id == event_id))

    def all_events(self) -> list[Mapping[str, Any]]:
        """Events by the time they became known."""
        return self.rows(_ALL_EVENTS)

    def events_of(self, trade_id: str) -> list[Mapping[str, Any]]:
        """Events of one trade by the time they became known."""
        chosen = sa.select(events).where(events.c.trade_id == trade_id)
        return self.rows(chosen.order_by(events.c.known_at, events.c.event_id))

    def reply(self, key: str, route: str) -> Reply | None:
        found = self._one(
            sa.select(replies).where(replies.c.idempotency_key == key, replies.c.route == route)
        )
        return None if found is None else Reply(found["request_sha256"], found["status"], found["body"])

    def board_history(self, card_type: str, *, since: datetime) -> list[Mapping[str, Any]]:
        chosen = sa.select(board_prices).where(
            board_prices.c.card_type == card_type, board_prices.c.shown_at >= since
        )
        return self.rows(chosen.order_by(board_prices.c.shown_at))

    def _one(self, statement: sa.Select[Any]) -> Mapping[str, Any] | None:
        with self._engine.connect() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else dict(row)

    def rows(self, statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
        """All rows of a query."""
        with self._engine.connect() as connection:
            return _mappings(connection, statement)


def _mappings(connection: sa.Connection, statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def one_at_a_time(connection: sa.Connection, lock: int) -> None:
    """Let one transaction with this lock write at a time; the next goes on when the one before it is committed.

    For tables that are read on by number. PostgreSQL draws a number before its row can be seen: without this a reader
    could pass a number that becomes visible later, and never read it. SQLite has one writer at a time by itself.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


def make_missing_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make those of some tables that a database does not have."""
    with engine.begin() as connection:
        one_at_a_time(connection, TABLES_LOCK)  # PostgreSQL's CREATE TABLE IF NOT EXISTS may still collide
        there = set(sa.inspect(connection).get_table_names())  # one question, not one a table
        missing = [table for table in tables.tables.values() if table.name not in there]
        if missing:
            tables.create_all(connection, tables=missing, checkfirst=False)


def insert_once(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row, unless one with the same key is there already; whether it was inserted."""
    insert = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = insert(table).values(dict(row)).on_conflict_do_nothing()
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount > 0
