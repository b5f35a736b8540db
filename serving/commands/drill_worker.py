"""A recycling worker for drills: forked from a process that has everything imported, so that it can be killed often.

It prices by a fixed rate, so that a drill measures the flow and not the models.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.ports import Priced

if TYPE_CHECKING:
    from pipelines.recycling.durable import Worker

RATE_PERCENT = 90


class DrillPricing:
    """Quotes a fixed share of what is sold; the same quote for the same key."""

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        card = submission["card"]
        value = card.get("balance", card["face_value"])["amount_fen"]
        priced = Priced(
            quote_id=f"q-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
            payout_fen=value * RATE_PERCENT // 100,
            decision="pay",
            no_offer=False,
            valid_until=datetime.now(UTC) + timedelta(days=1),
            law_version="drill",
            reasons=(),
            degraded=(),
        )
        return Outcome("ok", priced)

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        return Outcome("ok", "recorded")


READY = "worker.ready"
"""A file of the workspace that is there once a worker runs."""
QUIET_SECONDS = 5.0
"""After which a provider that "never heard of it" is believed. The sandbox hangs for a second at most."""


def work(home: Path) -> None:
    """Run a worker on a workspace until the process is killed; asked to end, it writes what it counted."""
    from pipelines.recycling.durable import stop

    worker = _started(home)
    signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
    (home / READY).touch()
    worker.run()
    stop()
    machine = worker.machine
    counted = machine.runner.counted | {"phases": machine.phases, "batches": worker.batches}
    counted |= {"commits": machine.runner.commits}
    (home / "counted.json").write_text(json.dumps(counted))


def _started(home: Path) -> Worker:
    """A worker that is about to run. What its database refuses while it starts is tried again, as whoever watches over
    processes does by starting them again."""
    from sqlalchemy.exc import DBAPIError

    from pipelines.recycling.durable import stop

    while True:
        try:
            return _start(home)
        except DBAPIError:
            stop()
            time.sleep(0.2)


def _start(home: Path) -> Worker:
    from pipelines.databases import await_database
    from pipelines.recycling.durable import Worker, launch
    from pipelines.recycling.opening import open_recycling
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    await_database(workspace.application_url)
    opened = open_recycling(workspace, pricing=DrillPricing(), clock=lambda: datetime.now(UTC))
    system_url = workspace.settings.storage.application_url or f"sqlite:///{home / 'flow.db'}"
    flow = replace(opened.flow, payouts=replace(opened.flow.payouts, quiet_seconds=QUIET_SECONDS))
    machine = launch(flow, system_url=system_url, engine=opened.engine, executor="worker")
    return Worker(machine)


def main() -> None:
    """Fork a worker for every line on standard input and print its pid; end with the input."""
    home = Path(sys.argv[1])
    import pipelines.recycling.durable
    import pipelines.recycling.opening  # noqa: F401 - imported before forking

    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            work(home)
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
