"""Keeps the live state equal to history: told what was recorded, rebuilt from the tables only when it must be.

A stamp in the workspace says which rebuild the states come from and which tables they stand for, together with the
records of the live log told since.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from features.backfill import backfill
from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.entities import specification_version
from features.online import LiveFeatures
from features.rows import to_microseconds
from features.state import LAYOUT
from features.state_book import StatesMissing, StateStore
from features.store import FeatureStore, OnlineStoreUnavailable
from features.table_store import TableStore
from features.tables import TABLES
from features.training_set import stored_history
from pipelines.application_data import ApplicationData
from pipelines.live_log import LiveLog
from pipelines.workspace import Workspace

logger = logging.getLogger("huika")

STAMP = "live_state.json"
LOCK = "live_state.lock"
REBUILD = "live_state_rebuild.lock"
WRITER_LOCK, REBUILD_LOCK = 7_204_418, 7_204_419
"""Numbers of the database's locks that stand in for the files where several machines may serve."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Held:
    """The tables at one moment, by their fingerprints. seq: number of the last record of the live log they hold."""

    seq: int
    tables: dict[str, str]


class TablesChanged(RuntimeError):
    """The tables are not those any more that were collected into; to be done again."""


def open_live_log(workspace: Workspace, *, store: StateStore, data: ApplicationData) -> LiveLog:
    """The workspace's live log and the state behind it."""
    live = LiveFeatures(states=store, registry=FEATURES, catalogue=workspace_catalogue(workspace.tables))
    # One writer on all machines where they share the database, else one on this machine.
    lock = partial(data.lock, WRITER_LOCK) if data.is_shared else partial(one_writer, workspace.home / LOCK)
    return LiveLog(data=data, live=live, writing=lock)


def prepare_live_state(
    workspace: Workspace,
    *,
    log: LiveLog,
    store: FeatureStore,
    now: datetime,
    progress: Progress,
    held: Held | None = None,
) -> bool:
    """Bring the entity states up to date: tell the records they have not heard, or rebuild them where they stand for
    other tables, another catalogue or another specification, or where the store holds others than those that were
    left in it. Returns whether they were rebuilt.

    Call it before the service starts and after its recorded quotes and events were collected into the tables.
    held: see :func:`rebuild_live_state`.
    """
    known = _read_stamp(workspace.home)
    generation = log.live.generation
    same = known == _stamp(workspace, generation=generation) and generation != ""
    if same and log.live.applied <= log.data.log_head:
        log.catch_up(now=now)
        return False
    rebuild_live_state(workspace, log=log, store=store, now=now, progress=progress, held=held)
    return True


def rebuild_live_state(
    workspace: Workspace,
    *,
    log: LiveLog,
    store: FeatureStore,
    now: datetime,
    progress: Progress,
    held: Held | None = None,
) -> int:
    """Write all entity states anew from the stored tables, and tell them what was recorded since; returns how many.

    held: what the tables hold; None: everything recorded, and nobody records meanwhile. Raises TablesChanged. A
    service may run: without states nobody reads or writes any, its quotes say so, and none waits.
    """
    with _one_rebuild(workspace, log.data):
        return _rebuild(workspace, log, store, now, progress, held)


def restore_live_state(
    workspace: Workspace,
    *,
    log: LiveLog,
    store: FeatureStore,
    now: datetime,
    progress: Progress,
    held: Held,
) -> int:
    """As :func:`rebuild_live_state`, if the states are missing; 0 where somebody else has written them meanwhile."""
    with _one_rebuild(workspace, log.data):
        if not states_missing(log):
            return 0
        return _rebuild(workspace, log, store, now, progress, held)


def states_missing(log: LiveLog) -> bool:
    """Whether the store was emptied. Raises OnlineStoreUnavailable."""
    try:
        return log.live.applied < 0
    except StatesMissing:
        return True


def states_gone(log: LiveLog) -> bool:
    """As :func:`states_missing`; False where the store does not answer, for then nobody knows."""
    try:
        return states_missing(log)
    except OnlineStoreUnavailable:
        return False


def _rebuild(
    workspace: Workspace,
    log: LiveLog,
    store: FeatureStore,
    now: datetime,
    progress: Progress,
    held: Held | None,
) -> int:
    generation = secrets.token_hex(8)
    with log.writing():
        stamp = _stamp(workspace, generation=generation)
        _check_tables(held, stamp["tables"])
        (workspace.home / STAMP).unlink(missing_ok=True)
        store.clear_states()
        applied = log.data.log_head if held is None else held.seq
    history = stored_history(workspace.tables)
    _check_tables(held, fingerprints(workspace.tables))
    written = backfill(
        history=history, sink=store, now=now, applied=applied, generation=generation, progress=progress
    )
    log.catch_up(now=now)
    if history.newest < to_microseconds(now):
        _write_stamp(workspace.home, stamp)
    else:
        warning = (
            "the tables hold moments that lie ahead; the live state is rebuilt at the next start, with them"
        )
        logger.warning(warning)
    return written


def _check_tables(held: Held | None, tables: dict[str, str]) -> None:
    if held is not None and held.tables != tables:
        raise TablesChanged("the tables were changed while the live state was being rebuilt; try again")


def _one_rebuild(workspace: Workspace, data: ApplicationData) -> AbstractContextManager[None]:
    return data.lock(REBUILD_LOCK) if data.is_shared else one_writer(workspace.home / REBUILD)


def follow_tables(home: Path, *, before: dict[str, str], after: dict[str, str]) -> None:
    """Recorded trades moved from the log into the tables: the state that stood for the old tables and the log stands
    for the new ones and the log."""
    known = _read_stamp(home)
    if known is not None and known["tables"] == before:
        _write_stamp(home, known | {"tables": after})


def _read_stamp(home: Path) -> dict[str, Any] | None:
    """The stamp, None where there is none that can be read."""
    try:
        stamp = json.loads((home / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and "tables" in stamp else None


def _write_stamp(home: Path, stamp: dict[str, Any]) -> None:
    temporary = home / f"{STAMP}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(stamp))
    temporary.replace(home / STAMP)


def fingerprints(tables: TableStore) -> dict[str, str]:
    """What is stored now, by table."""
    return {name: tables.fingerprint(name) for name in TABLES}


def _stamp(workspace: Workspace, *, generation: str) -> dict[str, Any]:
    catalogue = repr(list(workspace_catalogue(workspace.tables)))
    return {
        "generation": generation,
        "specification": f"{specification_version()}-{LAYOUT}",
        "catalogue": hashlib.sha256(catalogue.encode()).hexdigest()[:16],
        "tables": fingerprints(workspace.tables),
    }


@contextmanager
def one_writer(lock: Path) -> Iterator[None]:
    """Hold the machine-wide lock under which entity states are read, changed and written back."""
    descriptor = os.open(
        lock, os.O_RDWR | os.O_CREAT, 0o644
    )  # a Python file costs a quote twenty times as much
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and with it the lock
