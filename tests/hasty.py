"""Databases of tests that need not survive a power cut."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def hasty(engine: sa.Engine) -> sa.Engine:
    """The same connections, and SQLite does not wait for the disk: a busy one makes a test take minutes."""
    if engine.dialect.name == "sqlite":
        engine.dispose()
        event.listen(engine, "connect", _do_not_wait)
    return engine


def _do_not_wait(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
