"""Connections to the application database: SQLite, or PostgreSQL that may be slow, hang or go away for a while.

A service must not wait for a database longer than its client waits for an answer: every wait has an end, and a server
that could not be reached a moment ago is not tried again at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from features.sqlite import WAL_PAGES
from pipelines.breaker import Breaker, Patience
from pipelines.quote_time import longest_wait
from pipelines.settings import database_url

CONNECT_SECONDS = 2
SERVICE_SECONDS = 4
"""How long a request of the service waits for one answer of the database; a quote no longer than it has time left."""
REST_SECONDS = 1.0
"""How long a server that did not let us in is left alone at first."""
PATIENCE = Patience(failures=1, first_rest=REST_SECONDS, longest_rest=2 * REST_SECONDS)
START_SECONDS = 60.0
"""How long a start waits for a database that is starting itself."""
CONNECTIONS = 5

_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""A peer that is gone without a word is noticed within 11 seconds, by both ends: a dead machine keeps no lock."""


_READS = "huika_reads"
"""Option of connections that only read, one statement at a time."""

_JSON: dict[str, Any] = {
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": msgspec.json.decode,
}
"""Quotes are stored as JSON with every answer: a tenth of the standard library's time."""


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def open_engine(url: str, *, answer_seconds: float | None = None) -> sa.Engine:
    """Connections to a database. answer_seconds: after which a statement of PostgreSQL is given up; None: it may take
    long, as when all quotes are read."""
    if is_sqlite(url):
        engine = sa.create_engine(url, hide_parameters=True, **_JSON)
        event.listen(engine, "connect", lambda connection, record: configure_sqlite(connection))
        return engine
    engine = sa.create_engine(
        database_url(url),
        **_JSON,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=CONNECT_SECONDS,
        connect_args=_postgres_arguments(answer_seconds),
    )
    event.listen(engine, "do_connect", _Connecting(answer_seconds))
    return engine


def has_rows(url: str, table: sa.Table) -> bool:
    """Whether a database has this table with something in it. A file that is not there is not made."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return False
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(table.name):
                return False
            return connection.execute(sa.select(*table.primary_key.columns).limit(1)).first() is not None
    finally:
        engine.dispose()


def immediate_engine(url: str) -> sa.Engine:
    """Connections whose transactions take SQLite's write lock when they begin: what they read stays true until they
    write. Those of :func:`reading` take no lock."""
    engine = open_engine(url)
    if is_sqlite(url):
        event.listen(engine, "connect", _no_implicit_begin)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _no_implicit_begin(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_READS) and options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def reading(engine: sa.Engine) -> sa.Engine:
    """The same connections for single statements that only read: they wait for nobody's lock."""
    return engine.execution_options(**{_READS: True})


class DatabaseAway(RuntimeError):
    """The application database cannot be reached; the message says why, without its address."""


def await_database(url: str, *, seconds: float = START_SECONDS) -> None:
    """Wait until the database lets us in: it may be starting too. Raises DatabaseAway."""
    engine, end = open_engine(url), time.monotonic() + seconds
    try:
        while True:
            try:
                engine.connect().close()
                return
            except DBAPIError as error:
                if time.monotonic() >= end:
                    reason = type(error.orig).__name__
                    raise DatabaseAway(f"the application database cannot be reached: {reason}") from None
            time.sleep(REST_SECONDS / 2)
    finally:
        engine.dispose()


def _postgres_arguments(answer_seconds: float | None) -> dict[str, Any]:
    options = {f"tcp_{name}": value for name, value in _KEEPALIVE.items()}
    if answer_seconds is not None:
        # A little before we give up ourselves, so that nothing goes on in our name.
        milliseconds = int(answer_seconds * 900)
        options |= {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": 10_000}
    return {
        "connect_timeout": CONNECT_SECONDS,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        **_KEEPALIVE,
    }


@dataclass(eq=False)
class _Connecting:
    """Opens connections, and turns callers away for a while after one could not be opened: of many that want to reach a
    server that hangs one tries."""

    answer_seconds: float | None
    breaker: Breaker = field(default_factory=lambda: Breaker(patience=PATIENCE))

    def __call__(self, dialect: Any, record: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        import psycopg

        if self.breaker.rest_seconds():
            raise psycopg.OperationalError("the database was out of reach a moment ago")
        patience = self.answer_seconds
        kind = psycopg.Connection if patience is None else _impatient(patience, self.breaker)
        try:
            opened = kind.connect(*arguments, **named)
        except psycopg.OperationalError:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return opened


def _impatient(seconds: float, breaker: Breaker) -> Any:
    """A kind of connection that is closed when the server leaves a statement without an answer, and tells the breaker,
    so that whoever waited does not wait again for another connection.

    The server's own ``statement_timeout`` does not help where the server stands still.
    """
    import psycopg
    from psycopg.errors import _WaitTimeout  # pyright: ignore[reportAttributeAccessIssue]

    class Impatient(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval=interval, timeout=timeout or longest_wait(seconds))
            except _WaitTimeout:
                self.pgconn.finish()
                breaker.failed()
                raise psycopg.OperationalError("the database did not answer in time") from None

    return Impatient


@contextmanager
def advisory_lock(engine: sa.Engine, number: int) -> Iterator[None]:
    """Hold a lock of PostgreSQL, one holder at a time on all machines; it ends with the connection at the latest."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(number)))
        try:
            yield
        finally:
            _unlock(connection, number)


def _unlock(connection: sa.Connection, number: int) -> None:
    try:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(number)))
    except DBAPIError:
        connection.invalidate()  # the lock went with the server or goes with the connection


def configure_sqlite(connection: Any, *, busy_seconds: int = 5) -> None:
    """Readers and one writer side by side; what was acknowledged survives a power cut, for one wait for the disk a
    commit."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA busy_timeout={1_000 * busy_seconds}")
    connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database by URL; None for another database."""
    database = sa.make_url(url).database if is_sqlite(url) else None
    return None if not database else Path(database)


def move_wal(file: Path) -> None:
    """Move what SQLite's log of a file holds into it, without waiting for readers or the writer, and without letting
    them wait. Raises sqlite3.Error."""
    with closing(sqlite3.connect(file, timeout=0.0)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
