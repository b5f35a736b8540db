"""``huika bench replay``: a whole history told event by event, every feature of every quote compared with offline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.bench_history import (
    MemoryStates,
    events_of,
    live_features,
    open_store,
    redis_server,
    synthetic_workspace,
)
from serving.refusals import Refusal

if TYPE_CHECKING:
    from features.state_book import StateStore
    from pipelines.workspace import Workspace

MOST_EXAMPLES = 10


def bench_replay(
    trades: Annotated[int, typer.Option(help="Trades of the synthetic history.", min=1_000)] = 400_000,
    online: Annotated[str, typer.Option(help="Where the states live: memory, sqlite or redis.")] = "memory",
    seed: Annotated[int, typer.Option(help="Seed of the market.")] = 11,
) -> None:
    """Tell a whole history event by event, ask at every submission, and compare every feature with offline."""
    from serving.progress import bar

    if online not in ("memory", "sqlite", "redis"):
        raise Refusal(f"--online is memory, sqlite or redis, not {online}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huika-bench-")))
        url = stack.enter_context(redis_server()) if online == "redis" else ""
        workspace = synthetic_workspace(folder, url, trades, seed=seed)
        with bar("offline features") as progress:
            expected = _offline(workspace, folder / "features.parquet", progress)
        states = MemoryStates() if online == "memory" else open_store(workspace)
        with bar("replay") as progress:
            found = _replay(workspace, states, expected, progress)
    print(
        f"{found.events:,} events told, {found.asked:,} quotes of {found.features} features compared: "
        f"{found.different:,} values differ"
    )
    for line in found.examples:
        print(f"  {line}")
    if found.different:
        raise Refusal("the live path does not give the offline values")


def _offline(workspace: Workspace, path: Path, progress: Callable[[int, int], None]) -> Path:
    import numpy as np

    from features.definitions import FEATURES
    from features.training_set import stored_history, write_features

    rows = np.arange(workspace.tables.rows("trades"))
    history = stored_history(workspace.tables)
    write_features(history=history, registry=FEATURES, rows=rows, path=path, progress=progress)
    return path


class _Comparison:
    """Live values against offline columns, trade after trade in log order."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._batches = pq.ParquetFile(path).iter_batches(batch_size=5_000)
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.names: list[str] = []
        self.events = self.asked = self.different = 0
        self.examples: list[str] = []

    @property
    def features(self) -> int:
        return len(self.names) - 2

    def _next(self) -> tuple[Any, ...]:
        row = next(self._rows, None)
        if row is None:
            batch = next(self._batches)
            self.names = batch.schema.names
            self._rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            row = next(self._rows)
        return row

    def compare(self, trade_id: str, values: dict[str, Any]) -> None:
        row = self._next()
        wanted = dict(zip(self.names, row, strict=True))
        if wanted["trade_id"] != trade_id:
            raise Refusal(f"the replay is at {trade_id}, the offline features at {wanted['trade_id']}")
        self.asked += 1
        for name, value in values.items():
            known = None if value != value else value
            if known != wanted[name]:
                self.different += 1
                if len(self.examples) < MOST_EXAMPLES:
                    self.examples.append(f"{name} of {trade_id}: live {value}, offline {wanted[name]}")


def _replay(
    workspace: Workspace, states: StateStore, expected: Path, progress: Callable[[int, int], None]
) -> _Comparison:
    from features.events import Record, Submitted

    live, found = live_features(workspace, states), _Comparison(expected)
    live.start(generation="replay", now=datetime.now(UTC))
    total = workspace.tables.rows("trades")
    waiting: list[Record] = []
    for seq, (at, event) in enumerate(events_of(workspace), start=1):
        if isinstance(event, Submitted):
            live.apply(waiting, now=at)
            waiting.clear()
            found.compare(event.trade["trade_id"], live.answer(event.trade).values)
            if found.asked % 500 == 0:
                progress(found.asked, total)
        waiting.append(Record(seq, event))
        found.events = seq
    live.apply(waiting, now=datetime.now(UTC))
    progress(total, total)
    return found
