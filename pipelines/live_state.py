"""Keeps the live state equal to history: told what was recorded, rebuilt from the tables only when it must be.

A stamp in the workspace says which tables the state stands for, together with the records of the live log told since.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from features.backfill import backfill
from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.entities import specification_version
from features.history import History
from features.online import LiveFeatures
from features.state import LAYOUT
from features.store import FeatureStore
from features.table_store import TableStore
from features.tables import TABLES
from pipelines.application_data import ApplicationData
from pipelines.live_log import LiveLog
from pipelines.workspace import Workspace

STAMP = "live_state.json"
LOCK = "live_state.lock"

Progress = Callable[[int, int], None]


def open_live_log(workspace: Workspace, *, store: FeatureStore, data: ApplicationData) -> LiveLog:
    """The workspace's live log and the state behind it."""
    live = LiveFeatures(states=store, registry=FEATURES, catalogue=workspace_catalogue(workspace.tables))
    return LiveLog(data=data, live=live, writing=partial(one_writer, workspace.home / LOCK))


def prepare_live_state(
    workspace: Workspace, *, log: LiveLog, store: FeatureStore, now: datetime, progress: Progress
) -> bool:
    """Bring the entity states up to date: tell the records they have not heard, or rebuild them where they stand for
    other tables or another specification, or where a write was torn. Returns whether they were rebuilt.

    Call it before the service starts and after its recorded quotes and events were collected into the tables.
    """
    stamp = workspace.home / STAMP
    known = json.loads(stamp.read_text()) if stamp.exists() else None
    if known == _stamp(workspace) and not log.live.torn and log.live.applied <= log.data.log_head:
        log.catch_up(now=now)
        return False
    rebuild_live_state(workspace, log=log, store=store, now=now, progress=progress)
    return True


def rebuild_live_state(
    workspace: Workspace, *, log: LiveLog, store: FeatureStore, now: datetime, progress: Progress
) -> int:
    """Write all entity states anew from the stored tables, which must hold everything recorded; returns how many."""
    tables, stamp = workspace.tables, workspace.home / STAMP
    with log.writing():
        stamp.unlink(missing_ok=True)
        store.clear_states()
        history = History(
            read=lambda name: tables.read("trades", [name])[name],
            market=tables.read("market"),
            catalogue=workspace_catalogue(tables),
        )
        written = backfill(history=history, sink=store, now=now, applied=log.data.log_head, progress=progress)
        stamp.write_text(json.dumps(_stamp(workspace)))
    return written


def follow_tables(home: Path, *, before: dict[str, str], after: dict[str, str]) -> None:
    """Recorded trades moved from the log into the tables: the state that stood for the old tables and the log stands
    for the new ones and the log."""
    stamp = home / STAMP
    if not stamp.exists():
        return
    known = json.loads(stamp.read_text())
    if known["tables"] == before:
        stamp.write_text(json.dumps(known | {"tables": after}))


def fingerprints(tables: TableStore) -> dict[str, str]:
    """What is stored now, by table."""
    return {name: tables.fingerprint(name) for name in TABLES}


def _stamp(workspace: Workspace) -> dict[str, object]:
    online = hashlib.sha256(workspace.settings.storage.online_url.encode()).hexdigest()[:8]
    return {
        "specification": f"{specification_version()}-{LAYOUT}",
        "online": online,
        "tables": fingerprints(workspace.tables),
    }


@contextmanager
def one_writer(lock: Path) -> Iterator[None]:
    """Hold the machine-wide lock under which entity states are read, changed and written back."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
