"""``huika bench parked``: what trades that wait for a person or a timer cost the worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from serving.commands.trade_drill import PROMPT_PAYEES, Drill, cpu_seconds, drill, worker_process

SETTLING_SECONDS = 5.0
"""Before the measurement: DBOS and the connections have started."""
WAITING = (("person_needed", None), ("quoted", timedelta(days=1)), ("paid", timedelta(days=7)))
"""What parked trades wait for: a person; the end of their quote; the end of the time for complaints."""


@dataclass(frozen=True)
class ParkedFound:
    """seconds: measured. cpu_seconds: processor time in them, by process."""

    trades: int
    seconds: float
    cpu_seconds: dict[str, float]

    @property
    def core_share(self) -> float:
        """Of one core, worker and database together."""
        return (self.cpu_seconds["worker"] + self.cpu_seconds.get("database", 0.0)) / self.seconds


def bench_parked(
    trades: Annotated[int, typer.Option(help="Trades that wait.", min=1)] = 10_000,
    seconds: Annotated[float, typer.Option(help="How long the worker is watched.", min=1)] = 120.0,
    storage: Annotated[str, typer.Option(help="sqlite, or postgresql: a cluster of its own.")] = "postgresql",
) -> None:
    """Park trades, a third each for a person, a quote's end and the end of complaints, and watch the worker idle:
    its processor time and that of its database."""
    found = run_parked(trades=trades, seconds=seconds, storage=storage)
    print(f"{found.trades:,} parked trades on {storage}, {found.seconds:.0f} s")
    cpu = ", ".join(f"{name} {spent:.2f} s" for name, spent in found.cpu_seconds.items())
    print(f"processor time: {cpu}: {found.core_share:.1%} of a core")


def run_parked(*, trades: int, seconds: float, storage: str) -> ParkedFound:
    """Park trades and watch; what was found. Raises Refusal."""
    with drill(seed=0, storage=storage, special_share=0.0, payees=PROMPT_PAYEES) as drilled:
        _park(drilled, trades)
        with worker_process(drilled.home) as worker:
            worker.await_ready()
            time.sleep(SETTLING_SECONDS)
            before, began = cpu_seconds(drilled, worker.pid), time.monotonic()
            time.sleep(seconds)
            after, watched = cpu_seconds(drilled, worker.pid), time.monotonic() - began
    spent = {name: after[name] - before[name] for name in ("worker", "database") if name in after}
    return ParkedFound(trades, watched, spent)


def _park(drilled: Drill, trades: int) -> None:
    """Write trades as they stand while they wait."""
    import sqlalchemy as sa

    from pipelines.recycling.trade_tables import submissions

    now = datetime.now(UTC)
    rows = [_row(number, now) for number in range(trades)]
    with drilled.opened.engine.begin() as connection:
        for start in range(0, trades, 1_000):
            connection.execute(sa.insert(submissions), rows[start : start + 1_000])


def _row(number: int, now: datetime) -> dict[str, Any]:
    state, wait = WAITING[number % len(WAITING)]
    texts = {"trouble": "", "profile": "head", "client_id": "drill", "card_id": f"card-{number}"}
    texts |= {"seller_id": f"s-{number % 50:02d}", "fingerprint": f"{number:064x}", "channel": "bank"}
    texts |= {"payee_ref": "payee-11", "quote_id": f"q-{number}", "decision": "pay", "law_version": "drill"}
    times = {"due_at": None if wait is None else now + wait, "created_at": now, "moved_at": now}
    times |= {"valid_until": now + timedelta(days=1)}
    card = {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": 50_000}}
    return {
        "submission_id": f"parked-{number}",
        "state": state,
        "version": 2,
        "failures": 0,
        "asked": {"card": card, "seller": {"seller_id": texts["seller_id"]}},
        "payout_fen": 45_000,
        "first_payout_fen": 0,
        "facts": {},
        **texts,
        **times,
    }
