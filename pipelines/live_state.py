"""Makes the live state equal to history before a service starts: collect what was recorded, rebuild if needed."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from features.backfill import backfill
from features.catalogue import workspace_catalogue
from features.store import STATE_VIEW, FeatureStore
from features.tables import TABLES
from pipelines.workspace import Workspace

STAMP = "live_state.json"


def prepare_live_state(
    workspace: Workspace, *, store: FeatureStore, now: datetime, progress: Callable[[int, int], None]
) -> bool:
    """Rebuild the entity states from the stored tables unless they already stand for them; whether it did.

    Call it before the service starts and after its recorded quotes and events were collected into the tables.
    """
    stamp = {"view": STATE_VIEW} | {name: workspace.tables.fingerprint(name) for name in TABLES}
    path = workspace.home / STAMP
    if path.exists() and json.loads(path.read_text()) == stamp:
        return False
    path.unlink(missing_ok=True)
    store.clear_states()
    backfill(
        states=store,
        trades=workspace.tables.read("trades"),
        market=workspace.tables.read("market"),
        catalogue=workspace_catalogue(workspace.tables),
        now=now,
        progress=progress,
    )
    path.write_text(json.dumps(stamp))
    return True


@contextmanager
def one_writer(lock: Path) -> Iterator[None]:
    """Hold the machine-wide lock under which entity states are read, changed and written back."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
