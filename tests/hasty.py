"""What tests do faster than the program: SQLite does not wait for the disk, as their databases need not survive a power
cut; the authorities that vouch for servers are read once, not by each client of the many services that tests start;
fraud models stop growing sooner, as their markets have little to learn from."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

PATIENCE = 10
"""Trees without a gain before growing stops; the program's own patience is half of what training a small log takes."""


def hurry() -> None:
    """From now on every SQLAlchemy connection to SQLite in this process leaves the writing to the system."""
    event.listen(sa.Pool, "checkout", _do_not_wait)


def know_authorities() -> None:
    """From now on equal TLS settings in this process are one object."""
    ssl.create_default_context = cache(ssl.create_default_context)


def stop_growing_sooner() -> None:
    """From now on training in this process, not in those that it starts, is impatient with the fraud model."""
    # not before `prepare_process`
    from models.fraud.growing import FraudFitSettings
    from pipelines.training import fraud

    fraud.FraudFitSettings = partial(FraudFitSettings, patience=PATIENCE)


@contextmanager
def as_careful_as_ever() -> Iterator[None]:
    """Connections opened in this block wait for the disk as they do outside tests."""
    event.remove(sa.Pool, "checkout", _do_not_wait)
    try:
        yield
    finally:
        hurry()


def _do_not_wait(connection: Any, record: Any, proxy: Any) -> None:
    """At checkout, after every listener that sets a connection up."""
    if isinstance(connection, sqlite3.Connection) and "hasty" not in record.info:
        record.info["hasty"] = True
        connection.execute("PRAGMA synchronous=OFF")
