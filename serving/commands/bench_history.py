"""A synthetic history for the benchmarks of the live path: workspace, events in order, where states live."""

from __future__ import annotations

import heapq
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.refusals import Refusal

if TYPE_CHECKING:
    import pyarrow as pa

    from features.events import Event
    from features.online import LiveFeatures
    from features.state_book import StateStore
    from features.store import FeatureStore
    from pipelines.workspace import Workspace


def synthetic_workspace(folder: Path, online_url: str, trades: int, *, seed: int = 7) -> Workspace:
    """A workspace with an imported synthetic market that ends now."""
    from pipelines.demo import import_market, make_market
    from pipelines.workspace import Workspace

    folder.mkdir(parents=True, exist_ok=True)
    make_market(folder, trades=trades, seed=seed, until=datetime.now(UTC))
    home = folder / "home"
    home.mkdir()
    (home / "huika.toml").write_text(f'[storage]\nonline_url = "{online_url}"\n')
    workspace = Workspace.open(home)
    import_market(workspace, folder, now=datetime.now(UTC))
    return workspace


def trade_events(workspace: Workspace) -> Iterator[tuple[datetime, Event]]:
    """What happened to trades, by time; at one time submissions come before what is learned then."""
    from features.events import Submitted

    waiting: list[tuple[datetime, int, str, Event]] = []
    trades = ((row["submitted_at"], row) for row in _rows(workspace.tables.read("trades")))
    for at, row in trades:
        heapq.heappush(waiting, (at, 0, row["trade_id"], Submitted(row)))
        for outcome in _outcomes(row):
            heapq.heappush(waiting, outcome)
        while waiting[0][0] < at:  # nothing earlier can come any more
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: list[tuple[datetime, int, str, Event]]) -> tuple[datetime, Event]:
    at, _, _, event = heapq.heappop(waiting)
    return at, event


def events_of(workspace: Workspace) -> Iterator[tuple[datetime, Event]]:
    """Everything that happened, by time; at one time submissions come before what is learned then."""
    # at one moment the first of two merged streams comes first
    return heapq.merge(trade_events(workspace), _market_events(workspace), key=lambda item: item[0])


def _market_events(workspace: Workspace) -> list[tuple[datetime, Event]]:
    from features.events import Observed

    return [
        (
            row["observed_at"],
            Observed(row["card_type"], row["source"], row["side"], row["rate"], row["observed_at"]),
        )
        for row in _rows(workspace.tables.read("market"))
    ]


def _outcomes(row: dict[str, Any]) -> Iterator[tuple[datetime, int, str, Event]]:
    from features.events import Accepted, Labelled, Resold

    bought_at = row["decided_at"] if row["accepted"] else None
    trade_id = row["trade_id"]
    if bought_at is not None:
        yield bought_at, 1, f"{trade_id}/accepted", Accepted(row, bought_at)
    if row["resale_rate"] is not None and row["resold_at"] is not None:
        event = Resold(row, row["resale_rate"], row["resold_at"], bought_at)
        yield row["resold_at"], 2, f"{trade_id}/resold", event
    if row["fraud"] is not None and row["fraud_known_at"] is not None:
        event = Labelled(row, row["fraud"], row["fraud_known_at"])
        yield row["fraud_known_at"], 2, f"{trade_id}/labelled", event


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=20_000):
        yield from batch.to_pylist()


class MemoryStates:
    """States in a dictionary."""

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._states.get(key) for key in keys]

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        self._states.update(states)


def open_store(workspace: Workspace) -> FeatureStore:
    from pipelines.wiring import feature_store

    return feature_store(workspace)


def live_features(workspace: Workspace, states: StateStore) -> LiveFeatures:
    from features.catalogue import workspace_catalogue
    from features.definitions import FEATURES
    from features.online import LiveFeatures

    return LiveFeatures(states=states, registry=FEATURES, catalogue=workspace_catalogue(workspace.tables))


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis server on a free port of this machine, for as long as it is needed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _await_port(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()


def _await_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Refusal(f"the Redis server on port {port} did not start")
