"""A platform to drill the recycling flow with: a workspace, the sandbox's partners, a worker that can be killed,
sellers who accept what they are quoted, and a judge of what came of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from features.china import day_in_china
from serving.commands.bench_servers import PostgresServer
from serving.commands.drill_worker import READY, DrillPricing
from serving.commands.sandbox_process import sandbox_process
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.opening import Recycling

LIVE_ENDINGS = tuple(range(80))
SPECIAL_ENDINGS = (80, 81, 82, 83, 85, 87, 88, 89, 91, 99)
"""Last digits by which the sandbox's cards are dead, emptier, or slow to answer, and end by themselves all the same."""
PROMPT_PAYEES = ("payee-11", "payee-12")
TROUBLED_PAYEES = ("payee-11", "payee-12", "payee-13", "payee-85", "payee-94")
"""Paid at once; at the second look; paid without an answer."""
FACE_FEN, FUNDS_FEN = 50_000, 10**12
LONGEST_START_SECONDS = 60.0


@dataclass
class Drill:
    """A running platform. postgres: its database server, None: SQLite in the workspace. ids: trades submitted so
    far."""

    opened: Recycling
    home: Path
    sandbox: subprocess.Popen[bytes]
    url: str
    seed: int
    postgres: PostgresServer | None
    special_share: float
    payees: tuple[str, ...]
    ids: list[str] = field(default_factory=list)

    def submit(self) -> None:
        """A seller offers one more card; the same one where the last offer was not heard."""
        self.ids.append(self.offer(len(self.ids)))

    def offer(self, number: int) -> str:
        """The card of this number is offered; the id of its submission."""
        from pipelines.recycling.intake import Offered
        from pipelines.recycling.secret import Secret

        rng = random.Random(f"{self.seed}-{number}")
        endings = SPECIAL_ENDINGS if rng.random() < self.special_share else LIVE_ENDINGS
        card = {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": FACE_FEN}}
        offered = Offered(
            number=Secret(f"JDV{number:014d}0{rng.choice(endings):02d}"),
            secret=Secret(f"DRILL{number:011d}"),
            asked={"card": card, "seller": {"seller_id": f"s-{rng.randrange(50):02d}"}},
            payee_ref=rng.choice(self.payees),
            channel="bank",
            submission_id=f"drill-{number}",
        )
        return self.opened.intake.submit(offered, by="drill")["submission_id"]

    def accept_quoted(self, run: Callable[[Callable[[Any], None], list[Any]], Iterable[None]] = map) -> int:
        """Sellers accept their quotes, one after the other or as ``run`` lets them; how many there were."""
        from pipelines.recycling.intake import IntakeRefused
        from pipelines.recycling.states import ForbiddenMove
        from pipelines.recycling.trades import MovedMeanwhile

        def accept(row: Any) -> None:
            with suppress(IntakeRefused, ForbiddenMove, MovedMeanwhile):
                self.opened.intake.accept(row["submission_id"], quote_id=row["quote_id"], by="drill")

        quoted = self._rows("state = 'quoted'")
        for _ in run(accept, quoted):
            pass
        return len(quoted)

    def under_way(self) -> int:
        """Trades that neither ended nor were paid."""
        from pipelines.recycling.states import STATES

        ended = [code for code, state in STATES.items() if state.is_end or code == "paid"]
        listed = ", ".join(f"'{code}'" for code in ended)
        return len(self._rows(f"state NOT IN ({listed})"))

    def _rows(self, condition: str) -> list[Any]:
        import sqlalchemy as sa

        from pipelines.databases import reading
        from pipelines.recycling.trade_tables import submissions

        chosen = sa.select(submissions.c.submission_id, submissions.c.state, submissions.c.quote_id)
        with reading(self.opened.engine).connect() as connection:
            return list(connection.execute(chosen.where(sa.text(condition))).mappings())


@contextmanager
def drill(*, seed: int, storage: str, special_share: float, payees: tuple[str, ...]) -> Iterator[Drill]:
    """A platform of its own, with money in the bank, gone afterwards. storage: ``sqlite`` or ``postgresql``; both wait
    for the disk. Raises Refusal."""
    from pipelines.recycling.opening import open_recycling
    from pipelines.workspace import Workspace

    if storage not in ("sqlite", "postgresql"):
        raise Refusal(f"there is no storage {storage}: sqlite, postgresql")
    with ExitStack() as stack:
        # Asked to end, it ends its servers and workers as well.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        stack.callback(signal.signal, signal.SIGTERM, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huika-drill-")))
        postgres = stack.enter_context(postgres_cluster()) if storage == "postgresql" else None
        process, url = stack.enter_context(sandbox_process(folder, "--hang", "1"))
        home = _workspace(folder, url, "" if postgres is None else postgres.url("huika"))
        opened = open_recycling(Workspace.open(home), pricing=DrillPricing(), clock=lambda: datetime.now(UTC))
        stack.callback(opened.engine.dispose)
        _fund(opened)
        yield Drill(opened, home, process, url, seed, postgres, special_share, payees)


@contextmanager
def postgres_cluster() -> Iterator[PostgresServer]:
    """A PostgreSQL server with an empty database ``huika``, gone afterwards. Raises Refusal."""
    with tempfile.TemporaryDirectory(prefix="huika-postgres-") as folder:
        Path(folder).chmod(0o755)  # the server may run as somebody else
        server = PostgresServer.create(Path(folder) / "cluster", durable=True)
        server.process.start()
        try:
            server.run("CREATE DATABASE huika")
            yield server
        finally:
            server.process.stop()


def _workspace(folder: Path, url: str, database: str) -> Path:
    home = folder / "home"
    home.mkdir()
    lines = ["[adapters]", "timeout_seconds = 3.0", "attempts = 2"]
    lines += [f'{name}_url = "{url}/{name}"' for name in ("issuer", "identity")]
    lines += ["[books]", f'payout_url = "{url}"', "payout_timeout_seconds = 0.5"]
    lines += ["[storage]", f'application_url = "{database}"']
    (home / "huika.toml").write_text("\n".join(lines) + "\n")
    return home


def _fund(opened: Recycling) -> None:
    from pipelines.recycling import bookings, ledger

    with opened.engine.begin() as connection:
        money = bookings.fund(transfer_id="start", channel="bank", amount_fen=FUNDS_FEN)
        ledger.post(connection, money, now=datetime.now(UTC))


# --- the worker --------------------------------------------------------------------------------------------------


class WorkerProcess:
    """A worker in a process of its own, forked from one that has everything imported."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "serving.commands.drill_worker", str(home)]
        # A group of its own: a worker that outlives the one it was forked from is found by it.
        pipe = subprocess.PIPE
        with (home / "worker.log").open("a") as log:
            self._parent = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=log, text=True, start_new_session=True
            )
        self._ready = home / READY
        self.pid = 0

    @property
    def is_ready(self) -> bool:
        return self._ready.exists()

    def start(self) -> None:
        assert self._parent.stdin is not None
        self._ready.unlink(missing_ok=True)
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        self.pid = int(self._said())

    def await_ready(self) -> None:
        """Wait until it runs. Raises Refusal."""
        until = time.monotonic() + LONGEST_START_SECONDS
        while not self.is_ready:
            if time.monotonic() > until:
                raise Refusal("the worker did not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        self._said()

    def ask(self) -> None:
        """End it in order: it writes what it counted into ``counted.json`` of its workspace."""
        os.kill(self.pid, signal.SIGTERM)
        self._said()

    def close(self) -> None:
        os.killpg(self._parent.pid, signal.SIGKILL)
        self._parent.wait(10)

    def _said(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline()


@contextmanager
def worker_process(home: Path) -> Iterator[WorkerProcess]:
    """A worker that runs, on a workspace; none is left behind."""
    process = WorkerProcess(home)
    try:
        process.start()
        yield process
    finally:
        process.close()


def cpu_seconds(drilled: Drill, worker: int) -> dict[str, float]:
    """Seconds of processor time so far, by who spent them."""
    import psutil

    pids = {"worker": [worker], "sellers": [psutil.Process().pid], "partners": [drilled.sandbox.pid]}
    if drilled.postgres is not None:
        pids["database"] = drilled.postgres.process.process_ids()
    return {name: sum(sum(_times(pid)) for pid in found) for name, found in pids.items()}


def _times(pid: int) -> tuple[float, float]:
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return times.user, times.system


# --- what came of it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """How trades ended. wrong: everything that must not be, in words."""

    states: dict[str, int]
    paid: int
    wrong: tuple[str, ...]


def judge(drilled: Drill) -> Judged:
    """Look for lost trades, double payouts, double redemptions and wrong books."""
    import sqlalchemy as sa

    from pipelines.recycling.flow_pay import payout_id_of, redemption_id_of
    from pipelines.recycling.ledger_audit import audit
    from pipelines.recycling.states import STATES
    from pipelines.recycling.trade_tables import steps, submissions

    with drilled.opened.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(submissions)).mappings()]
        moved = connection.execute(sa.select(steps.c.submission_id, steps.c.target)).all()
        books = audit(connection)
    wrong = [f"{one} is lost" for one in sorted(set(drilled.ids) - {row["submission_id"] for row in rows})]
    wrong += [
        f"{row['submission_id']} is {row['state']}, {row['trouble'] or 'without a trouble'}"
        for row in rows
        if not STATES[row["state"]].is_end and row["state"] != "paid"
    ]
    paid_times = Counter(one for one, target in moved if target == "paid")
    wrong += [f"{one} became paid {count} times" for one, count in paid_times.items() if count > 1]
    wrong += [f"books: {what}" for what in (*books.differences, *books.faults)]
    if books.books_sum_fen:
        wrong.append(f"the books sum to {books.books_sum_fen} fen")
    wrong += [f"evidence: {what}" for what in drilled.opened.flow.book.evidence.audit()]
    issuer = drilled.opened.flow.issuer
    for row in (row for row in rows if row["state"] not in ("paid", "closed")):
        redemption_id = redemption_id_of(row["submission_id"])
        taken = issuer.redemption(redemption_id, card_type=row["asked"]["card"]["card_type"]).value
        if taken is not None and taken.state == "done":
            wrong.append(f"{row['submission_id']}: its card was taken and it was not paid")
    ours = {payout_id_of(row): row["payout_fen"] for row in rows if row["state"] in ("paid", "closed")}
    wrong += _differs(drilled.url, ours)
    return Judged(dict(Counter(row["state"] for row in rows)), len(ours), tuple(wrong))


def _differs(url: str, ours: dict[str, int]) -> list[str]:
    """What the provider's statements say against what we say was paid."""
    theirs: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for back in range(2):
        day = day_in_china(datetime.now(UTC)) - timedelta(days=back)
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
