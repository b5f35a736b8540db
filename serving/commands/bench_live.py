"""``huika bench live``: what one quote's features and one event cost, on SQLite and on Redis."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.bench_history import open_store, redis_server, synthetic_workspace

if TYPE_CHECKING:
    from features.events import Event
    from pipelines.workspace import Workspace

HOT_EVENTS = 100_000
BATCH = 500


def bench_live(
    trades: Annotated[int, typer.Option(help="Trades of the synthetic history.", min=2_000)] = 40_000,
    quotes: Annotated[int, typer.Option(help="Quotes and events to measure.", min=100)] = 2_000,
    redis: Annotated[bool, typer.Option(help="Measure on a Redis server of its own too.")] = True,
) -> None:
    """Processor time of one quote's features and of one event, on SQLite and Redis; and what a hot address costs."""
    from rich.table import Table

    from serving.output import console

    table = Table(
        "store", "step", "median ms", "p90 ms", title=f"processor time over {quotes:,} quotes and events"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huika-bench-")))
        urls = {"SQLite": ""}
        if redis and shutil.which("redis-server"):
            urls["Redis"] = stack.enter_context(redis_server())
        for name, url in urls.items():
            workspace = synthetic_workspace(folder / name, url, trades)
            for step, times in _live_times(workspace, quotes).items():
                table.add_row(name, step, *(f"{value:.3f}" for value in _quantiles(times)))
    console().print(table)
    if redis and "Redis" not in urls:
        print("Redis was not measured: there is no redis-server on the path")


def _live_times(workspace: Workspace, quotes: int) -> dict[str, list[float]]:
    """Processor milliseconds of each step."""
    from features.events import Record, Submitted
    from pipelines.application_data import ApplicationData
    from pipelines.live_state import open_live_log, rebuild_live_state

    store = open_store(workspace)
    log = open_live_log(workspace, store=store, data=ApplicationData(workspace.application_url))
    rebuild_live_state(
        workspace, log=log, store=store, now=datetime.now(UTC), progress=lambda done, total: None
    )
    live, now = log.live, datetime.now(UTC)
    trades = workspace.tables.read("trades")
    asked = [
        _asked(row, number, now) for number, row in enumerate(trades.slice(len(trades) - quotes).to_pylist())
    ]
    events = list(_recent(asked))
    times: dict[str, list[float]] = {"quote: read and derive": [], "quote: read alone": []}
    for trade in asked:
        times["quote: read and derive"].append(_cpu_ms(lambda trade=trade: live.answer(trade)))
        keys = live.keys(trade)
        times["quote: read alone"].append(_cpu_ms(lambda keys=keys: store.read_states(keys)))
    for seq, event in enumerate(events, start=1):
        record, step = Record(seq, event), f"{type(event).__name__} applied"
        times.setdefault(step, []).append(_cpu_ms(lambda record=record: live.apply([record], now=now)))
    hot = [trade | {"ip": "203.0.113.99"} for trade in asked]
    seq = len(events)
    for first in range(0, HOT_EVENTS, BATCH):
        batch = [_hot(asked[0], number, now) for number in range(first, first + BATCH)]
        live.apply([Record(seq + n + 1, Submitted(trade)) for n, trade in enumerate(batch)], now=now)
        seq += BATCH
    later = now + timedelta(seconds=1)
    times[f"quote: the same from an address with {HOT_EVENTS:,} events"] = [
        _cpu_ms(lambda trade=trade: live.answer(trade | {"submitted_at": later})) for trade in hot
    ]
    return times


def _asked(row: dict[str, Any], number: int, now: datetime) -> dict[str, Any]:
    return row | {"trade_id": f"bench-{number}", "submitted_at": now}


def _recent(asked: list[dict[str, Any]]) -> Iterator[Event]:
    """A mix of events as they come: submissions, acceptances, resales, labels, rates."""
    from features.events import Accepted, Labelled, Observed, Resold, Submitted

    for number, trade in enumerate(asked):
        at = trade["submitted_at"] + timedelta(milliseconds=number)
        submitted = trade | {"submitted_at": at}
        kinds: list[Event] = [
            Submitted(submitted),
            Accepted(submitted, at),
            Resold(submitted, 0.9, at, at),
            Labelled(submitted, number % 50 == 0, at),
            Observed(trade["card_type"], "bench", "buyer_bid", 0.9, at),
        ]
        yield kinds[number % len(kinds)]


def _hot(trade: dict[str, Any], number: int, now: datetime) -> dict[str, Any]:
    """One of many sellers behind one address, spread over 30 days before ``now``."""
    at = now - timedelta(days=30) + timedelta(days=30) * number / HOT_EVENTS
    own = {
        "trade_id": f"hot-{number}",
        "seller_id": f"hot-{number % 5_000}",
        "device_id": f"hot-{number % 7_000}",
    }
    return trade | own | {"ip": "203.0.113.99", "submitted_at": at, "payout_account": None}


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1_000


def _quantiles(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.9)]
