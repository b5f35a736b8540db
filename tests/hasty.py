"""Databases of tests need not survive a power cut: SQLite does not wait for the disk, which took most of their time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def hurry() -> None:
    """From now on every SQLAlchemy connection to SQLite in this process leaves the writing to the system."""
    event.listen(sa.Pool, "checkout", _do_not_wait)


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
