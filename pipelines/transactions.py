"""One transaction on the application database, done again where PostgreSQL ended it in favour of another.

Two who lock the same rows in another order wait for each other until PostgreSQL ends one of them (deadlock); above READ
COMMITTED it also ends one whose reads another's writes overtook. Nothing of it was kept, so its work is simply done
again. To make that rare there is one order: a work that posts takes the ledger's lock
(:func:`pipelines.recycling.ledger.take_turn`) before it locks accounts and payouts, and whoever only moves trades
locks nothing but their rows. Works that are committed together may break it where one posts after another's end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

Done = TypeVar("Done")

LOST_RACES = frozenset({"40001", "40P01"})
"""SQL states of a transaction that PostgreSQL ended for another's sake: serialisation failure, deadlock."""
MOST_TRIES = 6
LONGEST_PAUSE_SECONDS = 0.5


def in_transaction(
    engine: sa.Engine, work: Callable[[sa.Connection], Done], *, rng: random.Random | None = None
) -> Done:
    """What the work returns, once it is committed. It may be done several times: it must change nothing but the
    database. rng: draws the pauses after a lost race; None: one of its own. Raises what the work raises, and what ends
    a transaction for another reason."""
    for tried in range(1, MOST_TRIES):
        try:
            return _once(engine, work)
        except DBAPIError as error:
            if not is_lost_race(error):
                raise
        # Not both at once again.
        rng = rng or random.Random()
        time.sleep(rng.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.01 * 4**tried)))
    return _once(engine, work)


def is_lost_race(error: BaseException) -> bool:
    """Whether the database ended a transaction in favour of another one."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in LOST_RACES


def begin_writing(connection: sa.Connection) -> None:
    """Take SQLite's write lock first: what is read stays true until it is written."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and not raw.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _once(engine: sa.Engine, work: Callable[[sa.Connection], Done]) -> Done:
    with engine.begin() as connection:
        begin_writing(connection)
        return work(connection)
