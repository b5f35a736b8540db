"""The flow as a machine: takes up the trades that are due, and moves each on as far as it can now.

A trade's row is its checkpoint: every transaction changes its version, so a phase that is done again, after a crash or
by somebody else, finds that it was done. A trade that waits has no workflow and costs nothing: its row says when the
machine is due again (:func:`pipelines.recycling.trades.due`). Trades that become due together are started as one DBOS
workflow, which is taken up again after a crash. It holds their ids and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from pipelines.databases import configure_sqlite, is_sqlite, reading
from pipelines.group_commit import GroupCommit
from pipelines.recycling.disputes import rule
from pipelines.recycling.flow import Facts, Flow, Row, close, freeze, label, lapse, track
from pipelines.recycling.flow_pay import pay, resolve, verify
from pipelines.recycling.flow_review import review
from pipelines.recycling.returns import SENDING_BACK, send_back
from pipelines.recycling.trades import MovedMeanwhile, due

log = logging.getLogger("huika")

APPLICATION_VERSION = "recycling-3"
"""Pinned: batches that are under way are taken up again after an upgrade, too. Those of another version are left: their
trades are due all the same."""

PHASES: Mapping[str, Callable[[Flow, Any, str], Facts]] = {
    "submitted": review,
    "accepted": freeze,
    "shipping": track,
    "received": verify,
    "frozen": verify,
    "verified": pay,
    "paying": resolve,
    "quoted": lapse,
    "paid": close,
    "disputed": rule,
    **dict.fromkeys(SENDING_BACK, send_back),
    "closed": label,
    "reversed": label,
}
AT_ONCE = 32
"""Trades under way at once. Most of a trade's time is waiting for partners and for the disk."""
GATHER_SECONDS, IDLE_SECONDS, AWAY_SECONDS = 0.05, 0.2, 1.0
"""Between two looks for trades that are due: while some are under way, while none are, while the database is away."""
FORGET_SECONDS, MOST_FORGOTTEN = 60.0, 2_000
"""How often batches that ended are forgotten, and how many at most."""
MACHINE_ERROR = "machine_error"


class GroupRunner:
    """Runs phases of many trades at once; their transactions are committed together."""

    def __init__(self, engine: sa.Engine) -> None:
        self._reader = reading(engine)
        self._commits = GroupCommit(engine)
        self.counted = {"read": 0, "step": 0, "transaction": 0}

    @property
    def commits(self) -> int:
        return self._commits.commits

    def read(self, work: Callable[[sa.Connection], Row]) -> Row:
        self.counted["read"] += 1
        with self._reader.connect() as connection:
            return work(connection)

    def step(self, name: str, work: Callable[[], Facts]) -> Facts:
        self.counted["step"] += 1
        return work()

    def transaction(self, name: str, work: Callable[[sa.Connection], Facts]) -> Facts:
        self.counted["transaction"] += 1
        return self._commits.run(work)


class Machine:
    """Moves trades on, ``AT_ONCE`` at a time, each by one thread only."""

    def __init__(self, flow: Flow, engine: sa.Engine) -> None:
        self.flow = flow
        self.runner = GroupRunner(engine)
        self._reader = reading(engine)
        self.phases = 0
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="trade")
        self._taken: dict[str, str] = {}
        self._lock = threading.Lock()

    def due(self, *, limit: int) -> list[str]:
        """Trades with work for the machine, those that wait longest first."""
        with self._reader.connect() as connection:
            return [trade["submission_id"] for trade in due(connection, now=self.flow.clock(), limit=limit)]

    def taken(self) -> set[str]:
        """Trades under way."""
        with self._lock:
            return set(self._taken)

    def take(self, submission_ids: Collection[str], *, batch: str) -> list[str]:
        """Those of the trades that nobody has under way; they are this batch's then."""
        with self._lock:
            return [one for one in submission_ids if self._taken.setdefault(one, batch) == batch]

    def move_on(self, submission_ids: Collection[str], *, batch: str) -> None:
        """Move trades on until each waits for something."""
        mine = self.take(submission_ids, batch=batch)
        for moving in [self._pool.submit(self._trade, one) for one in mine]:
            moving.result()

    def leave(self, submission_ids: Collection[str]) -> None:
        """The trades are no longer under way."""
        with self._lock:
            for one in submission_ids:
                self._taken.pop(one, None)

    def close(self) -> None:
        self._pool.shutdown()

    def _trade(self, submission_id: str) -> None:
        try:
            row = self._read(submission_id)
            while row["due_at"] is not None and row["due_at"] <= self.flow.clock():
                row = self._phase(row)
        except DBAPIError as error:
            log.error("trade %s: the database is away: %s", submission_id, type(error.orig).__name__)
        except Exception:
            log.exception("trade %s was left where it is", submission_id)
        finally:
            self.leave([submission_id])

    def _phase(self, row: Row) -> Row:
        """Do what is due for a trade; the trade then."""
        submission_id, state = row["submission_id"], row["state"]
        try:
            PHASES[state](self.flow, self.runner, submission_id)
        except DBAPIError:
            raise
        except Exception as error:
            log.error("phase %s of trade %s: %s", state, submission_id, type(error).__name__)
        self.phases += 1
        after = self._read(submission_id)
        if after["version"] != row["version"] or after["due_at"] is None:
            return after
        return self._put_off(after)

    def _put_off(self, row: Row) -> Row:
        """A phase that left its trade due as it was would be started for ever: it failed."""

        def fail(connection: sa.Connection) -> Facts:
            return dict(self.flow.book.fail(connection, row, MACHINE_ERROR, now=self.flow.clock()))

        try:
            return self.runner.transaction("put_off", fail)
        except MovedMeanwhile:
            return self._read(row["submission_id"])

    def _read(self, submission_id: str) -> Row:
        return self.runner.read(lambda connection: self.flow.book.read(connection, submission_id))


_machine: Machine | None = None


@DBOS.workflow(name="move_on")
def _move_on(submission_ids: list[str]) -> None:
    assert _machine is not None
    _machine.move_on(submission_ids, batch=DBOS.workflow_id or "")


def launch(flow: Flow, *, system_url: str, engine: sa.Engine, executor: str) -> Machine:
    """Start DBOS in this process; batches that were cut off under the same executor are taken up again."""
    global _machine
    config: DBOSConfig = {
        "name": "huika",
        "system_database_url": system_url,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "ERROR",
        "enable_otlp": False,
        "max_executor_threads": AT_ONCE,
    }
    if is_sqlite(system_url):
        config["system_database_engine"] = _sqlite_engine(system_url)
    else:
        config["db_engine_kwargs"] = {"pool_pre_ping": True, "hide_parameters": True}
    DBOS(config=config)
    _machine = Machine(flow, engine)
    DBOS.launch()
    return _machine


def _sqlite_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, record: Any) -> None:
    """As DBOS does, with a log of changes instead of a journal."""
    connection.isolation_level = "IMMEDIATE"
    configure_sqlite(connection, busy_seconds=30)
    connection.execute("PRAGMA foreign_keys=ON")


def stop() -> None:
    """Let trades that are under way come to where they wait, and close DBOS."""
    global _machine
    DBOS.destroy(workflow_completion_timeout_sec=10)
    if _machine is not None:
        _machine.close()
    _machine = None


@dataclass
class Worker:
    """Starts what is due until it is told to stop."""

    machine: Machine
    stopping: threading.Event = field(default_factory=threading.Event)
    batches: int = 0
    _forgets_at: float = field(default_factory=time.monotonic)

    def run(self, *, until_idle: bool = False) -> None:
        """Work until ``stopping`` is set, or with ``until_idle`` until nothing is due."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="batch") as pool:
            while not self.stopping.is_set():
                try:
                    started = self._start_due(pool)
                    self._forget_ended()
                except DBAPIError as error:
                    log.error("the database is away: %s", type(error.orig).__name__)
                    self.stopping.wait(AWAY_SECONDS)
                    continue
                busy = bool(self.machine.taken())
                if until_idle and not started and not busy:
                    return
                self.stopping.wait(GATHER_SECONDS if busy else IDLE_SECONDS)

    def _start_due(self, pool: ThreadPoolExecutor) -> Future[None] | None:
        """Start the trades that are due, if there are any, as one batch."""
        taken = self.machine.taken()
        room = AT_ONCE - len(taken)
        if room <= 0:
            return None
        free = [one for one in self.machine.due(limit=room + len(taken)) if one not in taken][:room]
        batch = uuid4().hex
        mine = self.machine.take(free, batch=batch)
        if not mine:
            return None
        self.batches += 1
        return pool.submit(self._batch, mine, batch)

    def _forget_ended(self) -> None:
        """Every now and then: batches that ended say nothing any more, their trades' rows say all."""
        if time.monotonic() < self._forgets_at:
            return
        self._forgets_at = time.monotonic() + FORGET_SECONDS
        ended = DBOS.list_workflows(
            status=["SUCCESS", "ERROR"], limit=MOST_FORGOTTEN, load_input=False, load_output=False
        )
        DBOS.delete_workflows([batch.workflow_id for batch in ended])

    def _batch(self, submission_ids: list[str], batch: str) -> None:
        try:
            with SetWorkflowID(batch):
                _move_on(submission_ids)
        except Exception as error:
            log.error("a batch of %d trades ended: %s", len(submission_ids), type(error).__name__)
            self.machine.leave(submission_ids)


def overdue(connection: sa.Connection, *, now: datetime, by: timedelta) -> list[Mapping[str, Any]]:
    """Trades that the machine should have seen to long ago: for whoever watches it."""
    return [dict(row) for row in due(connection, now=now - by, limit=1_000)]
