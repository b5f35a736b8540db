"""Transactions of many threads, committed together: one wait for the disk acknowledges them all.

Each one's work runs in a savepoint of its own, so that one which is refused takes nothing of the others with it; one
that PostgreSQL ended in favour of another transaction is done again alone, by its own thread. Nobody hears that its
work is done before it is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from pipelines.transactions import begin_writing, in_transaction, is_lost_race

Done = TypeVar("Done")

MOST_TOGETHER = 32
"""Works in one transaction at most: others who write to the database wait that long."""
LOST = object()
"""Answer to a work that PostgreSQL ended in favour of another transaction: who asked for it does it again."""


@dataclass(eq=False)
class _Asked:
    work: Callable[[sa.Connection], Any]
    answer: Future[Any] = field(default_factory=Future)


class GroupCommit:
    """Runs transactions on a database. Whoever finds nobody committing commits for all who wait by then."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._waiting: list[_Asked] = []
        self._list = threading.Lock()
        self._turn = threading.Lock()
        self.commits = 0

    def run(self, work: Callable[[sa.Connection], Done]) -> Done:
        """What the work returns, once it is committed. Raises what the work raises, and what ends a transaction."""
        mine = _Asked(work)
        with self._list:
            self._waiting.append(mine)
        while not mine.answer.done():
            with self._turn:
                if not mine.answer.done():
                    self._commit(self._taken())
        answer = mine.answer.result()
        return self._again(work) if answer is LOST else answer

    def _taken(self) -> list[_Asked]:
        with self._list:
            taken, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        return taken

    def _commit(self, asked: Sequence[_Asked]) -> None:
        try:
            with self._engine.begin() as connection:
                begin_writing(connection)
                if len(asked) == 1:
                    ends = [partial(asked[0].answer.set_result, asked[0].work(connection))]
                else:
                    ends = [self._done(connection, one) for one in asked]
        except BaseException as error:
            ends = [_failed(one, error) for one in asked]
        else:
            self._count()
        for end in ends:
            end()

    def _again(self, work: Callable[[sa.Connection], Done]) -> Done:
        """Do a work that lost a race alone, by the thread that asked for it: its pauses hold up nobody else."""
        done = in_transaction(self._engine, work)
        self._count()
        return done

    def _count(self) -> None:
        with self._list:
            self.commits += 1

    def _done(self, connection: sa.Connection, asked: _Asked) -> Callable[[], None]:
        """Do one's work; what to do about it once all is committed. Raises where the whole transaction is at an end."""
        try:
            with connection.begin_nested():
                result = asked.work(connection)
        except Exception as error:
            if not _goes_on(connection):
                raise
            return _failed(asked, error)
        return partial(asked.answer.set_result, result)


def _failed(asked: _Asked, error: BaseException) -> Callable[[], None]:
    """What to do about a work that was not kept."""
    if is_lost_race(error):
        return partial(asked.answer.set_result, LOST)
    return partial(asked.answer.set_exception, error)


def _goes_on(connection: sa.Connection) -> bool:
    """Whether the transaction is still there: SQLite ends it by itself where the disk is full or broken."""
    if connection.invalidated:
        return False
    raw: Any = connection.connection.dbapi_connection
    return connection.dialect.name != "sqlite" or raw.in_transaction
