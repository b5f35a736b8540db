"""``huika bench kills``: the recycling worker killed over and over while trades run; nothing lost or paid twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.opening import Recycling

PLAIN = tuple(range(80))
SPECIAL = (80, 81, 82, 83, 85, 87, 88, 89, 91, 99)
"""Last digits by which the sandbox's cards are dead, emptier, or slow to answer, and end by themselves all the same."""
PAYEES = ("payee-11", "payee-12", "payee-13", "payee-85", "payee-94")
"""Paid at once; at the second look; paid without an answer."""
FACE_FEN, FUNDS_FEN = 50_000, 10**12
LONGEST_SECONDS = 3_600.0
LIFE_SECONDS = (0.2, 3.0)
"""How long a worker lives before it is killed. DBOS looks once a second for what was cut off."""


@dataclass(frozen=True)
class KillsFound:
    """What came of a drill. wrong: everything that must not be, in words."""

    trades: int
    kills: int
    seconds: float
    states: dict[str, int]
    paid: int
    wrong: tuple[str, ...]


def bench_kills(
    trades: Annotated[int, typer.Option(help="Trades that run.", min=1)] = 1_000,
    kills: Annotated[int, typer.Option(help="Times that the worker is killed with -9.", min=0)] = 500,
    seed: Annotated[int, typer.Option(help="Of the trades and of the moments of the kills.")] = 1,
) -> None:
    """Kill the worker at random points while trades run against the sandbox; then look for lost trades, double payouts,
    double redemptions and wrong books."""
    with tempfile.TemporaryDirectory(prefix="huika-kills-") as folder:
        found = run_drill(Path(folder), trades=trades, kills=kills, seed=seed)
    print(f"{found.trades:,} trades, {found.kills} kills, {found.paid:,} paid")
    print(f"{found.seconds:.0f} s, {found.trades / found.seconds:.1f} trades/s")
    print("ended as: " + ", ".join(f"{state} {count}" for state, count in sorted(found.states.items())))
    for line in found.wrong:
        print(f"  WRONG: {line}")
    if found.wrong:
        raise Refusal(f"{len(found.wrong)} things are not as they must be")
    print("0 lost, 0 paid twice, 0 taken twice, the books sum to zero, every trade ended")


def run_drill(folder: Path, *, trades: int, kills: int, seed: int) -> KillsFound:
    """The drill in an empty folder; what was found."""
    from pipelines.recycling.opening import open_recycling
    from pipelines.workspace import Workspace
    from serving.commands.drill_worker import DrillPricing

    rng = random.Random(seed)
    with _sandbox(folder) as url:
        home = _workspace(folder, url)
        workspace = Workspace.open(home)
        opened = open_recycling(workspace, pricing=DrillPricing(), clock=lambda: datetime.now(UTC))
        _fund(opened)
        ids = [_submit(opened, number, rng) for number in range(trades)]
        began = time.monotonic()
        done = _kill_until_done(opened, home, ids, kills=kills, rng=rng)
        seconds = time.monotonic() - began
        return _judged(opened, url, ids, kills=done, seconds=seconds)


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    from serving.commands.bench_servers import free_port

    port = free_port()
    huika = [sys.executable, "-c", "import sys; from serving.cli import main; main(sys.argv[1:])"]
    command = [*huika, "sandbox", "--port", str(port), "--hang", "1"]
    with (folder / "sandbox.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise Refusal("the sandbox did not start")
        try:
            httpx.get(f"{url}/sandbox/log", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise Refusal("the sandbox does not answer")


def _workspace(folder: Path, url: str) -> Path:
    home = folder / "home"
    home.mkdir()
    lines = ["[adapters]", "timeout_seconds = 3.0", "attempts = 2"]
    lines += [f'{name}_url = "{url}/{name}"' for name in ("issuer", "identity")]
    lines += ["[books]", f'payout_url = "{url}"', "payout_timeout_seconds = 0.5"]
    (home / "huika.toml").write_text("\n".join(lines) + "\n")
    return home


def _fund(opened: Recycling) -> None:
    from pipelines.recycling import bookings, ledger

    with opened.engine.begin() as connection:
        money = bookings.fund(transfer_id="start", channel="bank", amount_fen=FUNDS_FEN)
        ledger.post(connection, money, now=datetime.now(UTC))


def _submit(opened: Recycling, number: int, rng: random.Random) -> str:
    from pipelines.recycling.intake import Offered
    from pipelines.recycling.secret import Secret

    ending = rng.choice(PLAIN) if rng.random() < 0.85 else rng.choice(SPECIAL)
    offered = Offered(
        number=Secret(f"JDV{number:014d}0{ending:02d}"),
        secret=Secret(f"DRILL{number:011d}"),
        asked={
            "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": FACE_FEN}},
            "seller": {"seller_id": f"s-{rng.randrange(50):02d}"},
        },
        payee_ref=rng.choice(PAYEES),
        channel="bank",
        submission_id=f"drill-{number}",
    )
    return opened.intake.submit(offered, by="drill")["submission_id"]


def _kill_until_done(opened: Recycling, home: Path, ids: list[str], *, kills: int, rng: random.Random) -> int:
    """Start the worker, kill it after a random while, again and again; then let the last one end all trades."""
    command = [sys.executable, "-m", "serving.commands.drill_worker", str(home)]
    # A group of its own: a worker that outlives the one it was forked from is found by it.
    parent = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    done, began = 0, time.monotonic()
    try:
        while True:
            parent.stdin.write("start\n")
            parent.stdin.flush()
            pid = int(parent.stdout.readline())
            until = time.monotonic() + (rng.uniform(*LIFE_SECONDS) if done < kills else LONGEST_SECONDS)
            ended = False
            while time.monotonic() < until and not ended:
                ended = _accept_quoted(opened, ids)
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            parent.stdout.readline()
            done += 1
            if (ended and done > kills) or time.monotonic() - began > LONGEST_SECONDS:
                return done - 1
            if ended:
                ids += [_submit(opened, len(ids) + number, rng) for number in range(20)]
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(10)


def _accept_quoted(opened: Recycling, ids: list[str]) -> bool:
    """Sellers accept their quotes; whether all trades have ended or been paid."""
    import sqlalchemy as sa

    from pipelines.recycling.intake import IntakeRefused
    from pipelines.recycling.states import STATES, ForbiddenMove
    from pipelines.recycling.trade_tables import submissions
    from pipelines.recycling.trades import MovedMeanwhile

    chosen = sa.select(submissions.c.submission_id, submissions.c.state, submissions.c.quote_id)
    with opened.engine.connect() as connection:
        rows = list(connection.execute(chosen).mappings())
    for row in rows:
        if row["state"] == "quoted":
            try:
                opened.intake.accept(row["submission_id"], quote_id=row["quote_id"], by="drill")
            except (IntakeRefused, ForbiddenMove, MovedMeanwhile):
                continue
    return len(rows) == len(ids) and all(
        STATES[row["state"]].is_end or row["state"] == "paid" for row in rows
    )


def _judged(opened: Recycling, url: str, ids: list[str], *, kills: int, seconds: float) -> KillsFound:
    import sqlalchemy as sa

    from pipelines.recycling.flow_pay import payout_id_of
    from pipelines.recycling.ledger_audit import audit
    from pipelines.recycling.states import STATES
    from pipelines.recycling.trade_tables import steps, submissions

    wrong: list[str] = []
    with opened.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(submissions)).mappings()]
        taken_steps = Counter(
            (row["submission_id"], row["target"]) for row in connection.execute(sa.select(steps)).mappings()
        )
        books = audit(connection)
    lost = set(ids) - {row["submission_id"] for row in rows}
    wrong += [f"{one} is lost" for one in sorted(lost)]
    wrong += [
        f"{row['submission_id']} is {row['state']}, {row['trouble'] or 'without a trouble'}"
        for row in rows
        if not STATES[row["state"]].is_end and row["state"] != "paid"
    ]
    wrong += [
        f"{one} became {state} {count} times"
        for (one, state), count in taken_steps.items()
        if state == "paid" and count > 1
    ]
    wrong += [f"books: {what}" for what in (*books.differences, *books.faults)]
    if books.books_sum_fen:
        wrong.append(f"the books sum to {books.books_sum_fen} fen")
    ours = {payout_id_of(row): row["payout_fen"] for row in rows if row["state"] in ("paid", "closed")}
    wrong += _differs(url, ours)
    states = Counter(row["state"] for row in rows)
    return KillsFound(len(rows), kills, seconds, dict(states), len(ours), tuple(wrong))


def _differs(url: str, ours: dict[str, int]) -> list[str]:
    """What the provider's statements say against what we say was paid."""
    theirs: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for back in range(2):
        day = (datetime.now(UTC) + timedelta(hours=8) - timedelta(days=back)).date()
        answer: Any = httpx.get(f"{url}/statements/{day}", params={"channel": "bank"}, trust_env=False).json()
        for line in answer["payments"]:
            theirs[line["payout_id"]] += line["amount_fen"]
            times[line["payout_id"]] += 1
    wrong = [f"{one} was paid {count} times" for one, count in times.items() if count > 1]
    wrong += [f"{one} was paid and is not ours" for one in sorted(set(theirs) - set(ours))]
    wrong += [f"{one} was not paid" for one in sorted(set(ours) - set(theirs))]
    return wrong + [
        f"{one}: {theirs[one]} fen for {fen}" for one, fen in ours.items() if theirs.get(one, fen) != fen
    ]
