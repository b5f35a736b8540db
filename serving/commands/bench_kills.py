"""``huika bench kills``: worker and database killed over and over while trades run; nothing lost or paid twice."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Annotated

import typer

from serving.commands.bench_servers import Process
from serving.commands.trade_drill import (
    LONGEST_START_SECONDS,
    TROUBLED_PAYEES,
    Drill,
    Judged,
    WorkerProcess,
    drill,
    judge,
    worker_process,
)
from serving.refusals import Refusal

LONGEST_SECONDS = 3_600.0
LIFE_SECONDS = (0.05, 1.0)
"""How long a worker lives before it or its database is killed."""
STARTED_SHARE = 0.8
"""The share of kills that come while it works; the others may come while it starts."""
AWAY_SECONDS = (0.0, 1.5)
"""How long a killed database stays away."""
SPECIAL_SHARE = 0.15


@dataclass(frozen=True)
class KillsFound:
    """What came of a drill. kills: of the worker; database_kills: of the database server."""

    kills: int
    database_kills: int
    seconds: float
    judged: Judged


def bench_kills(
    trades: Annotated[int, typer.Option(help="Trades that run.", min=1)] = 1_000,
    kills: Annotated[int, typer.Option(help="Times that the worker is killed with -9.", min=0)] = 500,
    database_kills: Annotated[
        int, typer.Option(help="Times that the database server is killed and started again.", min=0)
    ] = 0,
    storage: Annotated[str, typer.Option(help="sqlite, or postgresql: a cluster of its own.")] = "sqlite",
    seed: Annotated[int, typer.Option(help="Of the trades and of the moments of the kills.")] = 1,
) -> None:
    """Kill worker and database at random points while trades run against the sandbox; then look for lost trades, double
    payouts, double redemptions and wrong books."""
    found = run_drill(trades=trades, kills=kills, database_kills=database_kills, storage=storage, seed=seed)
    judged = found.judged
    killed = f"{found.kills} kills of the worker, {found.database_kills} of the database"
    print(f"{sum(judged.states.values()):,} trades on {storage}, {killed}, {judged.paid:,} paid")
    print(f"{found.seconds:.0f} s")
    print("ended as: " + ", ".join(f"{state} {count}" for state, count in sorted(judged.states.items())))
    for line in judged.wrong:
        print(f"  WRONG: {line}")
    if judged.wrong:
        raise Refusal(f"{len(judged.wrong)} things are not as they must be")
    print("0 lost, 0 paid twice, 0 taken twice, the books sum to zero, every trade ended")


def run_drill(*, trades: int, kills: int, database_kills: int, storage: str, seed: int) -> KillsFound:
    """The drill; what was found. Raises Refusal."""
    if database_kills and storage != "postgresql":
        raise Refusal("--database-kills needs --storage postgresql: SQLite lives in the worker")
    with drill(seed=seed, storage=storage, special_share=SPECIAL_SHARE, payees=TROUBLED_PAYEES) as drilled:
        began = time.monotonic()
        with worker_process(drilled.home) as worker:
            victims = ["worker"] * kills + ["database"] * database_kills
            _kill(drilled, worker, trades, victims, random.Random(seed))
            _let_end(drilled, trades, until=began + LONGEST_SECONDS)
        return KillsFound(kills, database_kills, time.monotonic() - began, judge(drilled))


def _kill(drilled: Drill, worker: WorkerProcess, trades: int, victims: list[str], rng: random.Random) -> None:
    """Kill one after the other, in a drawn order, with some trades under way each time."""
    rng.shuffle(victims)
    for number, victim in enumerate(victims, start=1):
        wanted = trades * number // len(victims)
        until, started = time.monotonic() + LONGEST_START_SECONDS, rng.random() < STARTED_SHARE
        while started and not worker.is_ready and time.monotonic() < until:
            _live(drilled, until=time.monotonic() + 0.05, wanted=wanted)
        _live(drilled, until=time.monotonic() + rng.uniform(*LIFE_SECONDS), wanted=wanted)
        if victim == "worker":
            worker.kill()
            worker.start()
        elif drilled.postgres is not None:
            _kill_database(drilled.postgres.process, rng)


def _kill_database(server: Process, rng: random.Random) -> None:
    """As a power cut does, or as an immediate shutdown; it recovers from its log when it starts."""
    if rng.random() < 0.5:
        server.kill()
    else:
        server.stop_at_once()
    time.sleep(rng.uniform(*AWAY_SECONDS))
    server.start()


def _live(drilled: Drill, *, until: float, wanted: int) -> None:
    """Sellers submit and accept for a while."""
    while (left := until - time.monotonic()) > 0:
        _act(drilled, wanted)
        time.sleep(min(left, 0.02))


def _let_end(drilled: Drill, trades: int, *, until: float) -> None:
    """Nobody is killed any more until all trades have ended or been paid."""
    while time.monotonic() < until:
        if _act(drilled, trades) and len(drilled.ids) == trades:
            return
        time.sleep(0.02 if len(drilled.ids) < trades else 0.2)


def _act(drilled: Drill, wanted: int) -> bool:
    """Sellers submit one more card and accept what they are quoted; whether nothing is under way. What a database that
    is away refuses is tried again later."""
    from sqlalchemy.exc import DBAPIError

    try:
        if len(drilled.ids) < wanted:
            drilled.submit()
        drilled.accept_quoted()
        return not drilled.under_way()
    except DBAPIError:
        time.sleep(0.1)
        return False
