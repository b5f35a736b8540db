"""The flow as DBOS workflows: a phase that was cut off is taken up where it stopped, also by another process.

A trade that waits for somebody has no workflow and costs nothing: its row says when the machine is due again
(:func:`pipelines.recycling.trades.due`). Every start of a phase has an id made of the trade and its version, so
starting it twice is starting it once. Steps and results hold ids and plain facts, never a secret.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, SQLAlchemyDatasource

from pipelines.recycling.disputes import rule
from pipelines.recycling.flow import Facts, Flow, close, freeze, label, lapse, track
from pipelines.recycling.flow_pay import pay, resolve, verify
from pipelines.recycling.flow_review import review
from pipelines.recycling.trades import MovedMeanwhile, due

log = logging.getLogger("huika")

APPLICATION_VERSION = "recycling-2"
"""Pinned: workflows that are under way go on after an upgrade. A phase whose steps change gets a new number, and the
old ones are let run out first."""

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
    "closed": label,
    "reversed": label,
}
AT_ONCE = 8
IDLE_SECONDS = 0.1
MACHINE_ERROR = "machine_error"

_flow: Flow | None = None
_source: SQLAlchemyDatasource | None = None


class DurableRunner:
    """Steps and transactions of the running workflow."""

    def step(self, name: str, work: Callable[[], Facts]) -> Facts:
        return DBOS.run_step({"name": name}, work)

    def transaction(self, name: str, work: Callable[[sa.Connection], Facts]) -> Facts:
        assert _source is not None
        source = _source
        return source.run_tx_step({"name": name}, lambda: work(source.sql_session().connection()))


@DBOS.workflow(name="phase")
def run_phase(submission_id: str, state: str, version: int) -> Facts:
    """Do what is due for a trade in a state. version: of the trade when that was seen; only to tell starts apart."""
    assert _flow is not None
    return PHASES[state](_flow, DurableRunner(), submission_id)


def launch(flow: Flow, *, system_url: str, engine: sa.Engine, executor: str) -> None:
    """Start DBOS in this process; phases that were cut off under the same executor are taken up again."""
    global _flow, _source
    config: DBOSConfig = {
        "name": "huika",
        "system_database_url": system_url,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "ERROR",
        "enable_otlp": False,
        "max_executor_threads": 2 * AT_ONCE,
    }
    DBOS(config=config)
    _flow = flow
    _source = SQLAlchemyDatasource.create(
        database_url=str(engine.url), engine=engine, serializer=DBOSPortableJSONSerializer()
    )
    DBOS.launch()


def stop() -> None:
    """Let running phases end, and close DBOS."""
    global _flow, _source
    DBOS.destroy(workflow_completion_timeout_sec=10)
    _flow, _source = None, None


@dataclass
class Worker:
    """Starts what is due, ``AT_ONCE`` phases at a time, until it is told to stop."""

    flow: Flow
    engine: sa.Engine
    stopping: threading.Event = field(default_factory=threading.Event)
    _running: dict[str, Future[Any]] = field(default_factory=dict)
    ended: int = 0

    def run(self, *, until_idle: bool = False) -> None:
        """Work until ``stopping`` is set, or with ``until_idle`` until nothing is due."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="phase") as pool:
            while not self.stopping.is_set():
                self._forget_ended()
                started = self._start_due(pool, now=self.flow.clock())
                if until_idle and not started and not self._running:
                    return
                if not started:
                    self.stopping.wait(0.005 if self._running else IDLE_SECONDS)

    def _start_due(self, pool: ThreadPoolExecutor, *, now: datetime) -> int:
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return 0
        with self.engine.connect() as connection:
            found = due(connection, now=now, limit=room + len(self._running))
        started = 0
        busy = {key.rpartition(":")[0] for key in self._running}
        for trade in found:
            if trade["submission_id"] in busy or started >= room:
                continue
            key = f"{trade['submission_id']}:{trade['version']}"
            self._running[key] = pool.submit(self._one, key, dict(trade))
            started += 1
        return started

    def _one(self, key: str, trade: Mapping[str, Any]) -> None:
        try:
            with SetWorkflowID(key):
                run_phase(trade["submission_id"], trade["state"], trade["version"])
        except Exception as error:
            log.error("phase %s of trade %s: %s", trade["state"], key, type(error).__name__)
            self._put_off(trade)
        else:
            self._put_off(trade)  # only where the phase left the trade as it was

    def _put_off(self, trade: Mapping[str, Any]) -> None:
        """A phase that ended and left its trade due as it was would be started for ever: it failed."""
        with self.engine.begin() as connection:
            row = self.flow.book.read(connection, trade["submission_id"])
            if row["version"] == trade["version"] and row["due_at"] is not None:
                try:
                    self.flow.book.fail(connection, row, MACHINE_ERROR, now=self.flow.clock())
                except MovedMeanwhile:
                    return

    def _forget_ended(self) -> None:
        for key in [key for key, running in self._running.items() if running.done()]:
            del self._running[key]
            self.ended += 1


def overdue(connection: sa.Connection, *, now: datetime, by: timedelta) -> list[Mapping[str, Any]]:
    """Trades that the machine should have seen to long ago: for whoever watches it."""
    return [dict(row) for row in due(connection, now=now - by, limit=1_000)]
