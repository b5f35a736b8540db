"""``huika prune``: delete what is kept for a while only."""

from __future__ import annotations

from datetime import UTC, datetime

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal


def prune_command(home: Home = DEFAULT_HOME) -> None:
    """Delete what is older than [retention] in the settings says; quotes and events stay. A service may run on."""
    from pipelines.application_data import ApplicationData
    from pipelines.retention import prune
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    workspace = Workspace.open(home)
    data = ApplicationData(workspace.application_url)
    deleted = prune(data, workspace.settings.retention, now=datetime.now(UTC))
    for table, count in deleted.items():
        print(f"{table}: {count:,} rows deleted")
