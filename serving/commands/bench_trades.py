"""``huika bench trades``: how many whole trades a second the recycling flow takes from submitted to paid."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer

from serving.commands.trade_drill import PROMPT_PAYEES, Drill, cpu_seconds, drill, judge, worker_process
from serving.refusals import Refusal

WINDOW = 120
"""Trades under way at once: sellers do not wait for each other, and a platform is never empty."""
SELLERS = 8
"""Who submit and accept at once."""
LONGEST_SECONDS = 900.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class TradesFound:
    """seconds: from the first submission until the last payout. cpu_ms: processor time a trade, by process. counted: of
    the worker, by kind; wrong: everything that must not be."""

    trades: int
    seconds: float
    cpu_ms: dict[str, float]
    counted: dict[str, int]
    wrong: tuple[str, ...]


def bench_trades(
    trades: Annotated[int, typer.Option(help="Trades that run.", min=1)] = 1_000,
    storage: Annotated[str, typer.Option(help="sqlite, or postgresql: a cluster of its own.")] = "sqlite",
    seed: Annotated[int, typer.Option(help="Of the trades.")] = 1,
) -> None:
    """Whole trades of live cards, each submitted, looked at, quoted, accepted, frozen, looked at again, taken over,
    settled and paid, with every commit on disk: a second, and processor time each. The price is a fixed rate."""
    found = run_trades(trades=trades, storage=storage, seed=seed)
    print(
        f"{found.trades:,} trades on {storage} in {found.seconds:.1f} s: {found.trades / found.seconds:.1f} a second"
    )
    cpu = ", ".join(f"{name} {ms:.1f}" for name, ms in found.cpu_ms.items())
    print(f"processor time a trade, ms: {cpu}")
    each = ", ".join(f"{count / found.trades:.2f} {name}" for name, count in found.counted.items())
    print(f"worker, a trade: {each}")
    for line in found.wrong:
        print(f"  WRONG: {line}")
    if found.wrong:
        raise Refusal(f"{len(found.wrong)} things are not as they must be")


def run_trades(*, trades: int, storage: str, seed: int) -> TradesFound:
    """Let trades run; what was found. Raises Refusal."""
    with drill(seed=seed, storage=storage, special_share=0.0, payees=PROMPT_PAYEES) as drilled:
        with worker_process(drilled.home) as worker:
            worker.await_ready()
            before = cpu_seconds(drilled, worker.pid)
            began = time.monotonic()
            _drive(drilled, trades)
            seconds = time.monotonic() - began
            after = cpu_seconds(drilled, worker.pid)
            worker.ask()
        counted = json.loads((drilled.home / "counted.json").read_text())
        wrong = judge(drilled).wrong
    cpu_ms = {name: 1_000 * (after[name] - before[name]) / trades for name in after}
    return TradesFound(trades, seconds, cpu_ms, counted, wrong)


def _drive(drilled: Drill, trades: int) -> None:
    """Sellers submit and accept until all are paid."""
    until = time.monotonic() + LONGEST_SECONDS
    under_way = 0
    with ThreadPoolExecutor(SELLERS) as sellers:
        while (len(drilled.ids) < trades or under_way) and time.monotonic() < until:
            first = len(drilled.ids)
            last = min(first + WINDOW - under_way, first + 4 * SELLERS, trades)
            drilled.ids += sellers.map(drilled.offer, range(first, last))
            drilled.accept_quoted(sellers.map)
            under_way = drilled.under_way()
            time.sleep(LOOK_SECONDS)
