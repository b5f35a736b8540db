"""``huika recycling``: the worker that lets trades move on, and what people look at and decide from a shell."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.recycling_disputes import answer, decided, flow_of, judge, list_disputes
from serving.commands.recycling_numbers import numbers
from serving.commands.recycling_papers import purge, receipt, suspicious
from serving.commands.recycling_simulate import simulate_days
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.callbacks import Sender
    from pipelines.recycling.opening import Recycling
    from pipelines.workspace import Workspace

CHECKPOINT_SECONDS = 300.0
"""Between checkpoints of the evidence log: until the next one the platform alone is to be believed."""

log = logging.getLogger("huika")

WORKER_KEY = "recycling-worker"

recycling = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The recycling flow: run its worker, look at trades, decide, see its numbers.",
)
recycling.command("simulate")(simulate_days)
recycling.command("receipt")(receipt)
recycling.command("suspicious")(suspicious)
recycling.command("purge")(purge)
recycling.command("disputes")(list_disputes)
recycling.command("answer")(answer)
recycling.command("numbers")(numbers)
recycling.command("judge")(judge)


class Decided(StrEnum):
    """What a person can decide about a trade."""

    approve = "approve"
    reject = "reject"
    good = "good"
    bad = "bad"
    stop = "stop"
    pay_again = "pay_again"


@recycling.command("run")
def run(
    url: Annotated[
        str, typer.Option(help="Where `huika serve` listens: it prices.")
    ] = "http://127.0.0.1:8700",
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing is due.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Let trades move on until stopped: review, quote, freeze, verify, pay, timers. It may be killed at any point; the
    next start goes on. One worker for a workspace."""
    from pipelines.databases import await_database
    from pipelines.recycling.durable import Worker, launch, stop
    from pipelines.recycling.opening import open_recycling
    from pipelines.workspace import Workspace
    from serving.api.access.roles import Role
    from serving.client import HuikaClient
    from serving.commands.access import end_keys, make_key
    from serving.pricing_port import HttpPricing

    workspace = Workspace.open(home)
    roles = [Role.PRICING_CLIENT, Role.OPERATOR]
    with ExitStack() as stack:
        stack.enter_context(_one_worker(workspace.home))
        end_keys(workspace, WORKER_KEY, now=datetime.now(UTC))  # of a worker that was killed
        key = make_key(workspace, name=WORKER_KEY, roles=roles, now=datetime.now(UTC))
        client = stack.enter_context(HuikaClient(url, key))
        await_database(workspace.application_url)
        opened = open_recycling(workspace, pricing=HttpPricing(client), clock=lambda: datetime.now(UTC))
        machine = launch(
            opened.flow,
            system_url=workspace.settings.storage.application_url
            or f"sqlite:///{workspace.home / 'flow.db'}",
            engine=opened.engine,
            executor="worker",
        )
        worker = Worker(machine)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stopping.set())
        sender = _sender(workspace, opened)
        beside = [
            threading.Thread(target=sender.run, args=(worker.stopping,), name="callbacks"),
            threading.Thread(
                target=_keep_evidence, args=(workspace, opened, worker.stopping), name="evidence"
            ),
        ]
        print(f"the worker runs, priced by {url}; stop it with Ctrl-C", flush=True)
        try:
            if once:
                worker.run(until_idle=True)
                sender.send_until_idle()
            else:
                for thread in beside:
                    thread.start()
                worker.run()
                for thread in beside:
                    thread.join()
        finally:
            worker.stopping.set()
            stop()
            end_keys(workspace, WORKER_KEY, now=datetime.now(UTC))
    print(f"{machine.phases} phases done")


def _sender(workspace: Workspace, opened: Recycling) -> Sender:
    """What tells partners of their trades, signed with the key of the workspace's quotes."""
    from pipelines.recycling.callbacks import Sender
    from pipelines.signing_keys import signing_keys

    return Sender(opened.engine, signing_keys(workspace).signer, lambda: datetime.now(UTC))


def _keep_evidence(workspace: Workspace, opened: Recycling, stopping: threading.Event) -> None:
    """Take the waiting leaves into a signed checkpoint every few minutes, and leave it with the anchors."""
    from pipelines.recycling.safekeeping import checkpoint_and_anchor

    while not stopping.wait(CHECKPOINT_SECONDS):
        try:
            _, failed = checkpoint_and_anchor(
                opened.flow.book.evidence, workspace.settings.evidence, now=datetime.now(UTC)
            )
        except Exception:
            log.exception("no checkpoint of the evidence could be made; trying again")
        else:
            for anchor, why in failed.items():
                if why:
                    log.warning("the checkpoint could not be left with %s: %s", anchor, why)


@contextmanager
def _one_worker(home: Path) -> Iterator[None]:
    """Raises Refusal where another worker runs on the workspace."""
    import fcntl

    with (home / "recycling.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"a worker is already running on {home}") from None
        yield


@recycling.command("list")
def list_trades(
    state: Annotated[
        str, typer.Option(help="Trades in this state; all states with their counts without it.")
    ] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Trades by state; those of one state with what they wait for. Where a person is needed those stand first at which
    a look saves most, behind those that have waited for more than 24 hours."""
    import sqlalchemy as sa
    from rich.table import Table

    from pipelines.recycling.review_queue import listed, reviews_left
    from pipelines.recycling.states import STATES
    from pipelines.recycling.trade_tables import submissions
    from serving.output import console

    if state and state not in STATES:
        raise Refusal(f"there is no state {state}; there are {', '.join(STATES)}")
    table = (
        Table("state", "状态", "trades")
        if not state
        else Table("submission", "seller", "payout ¥", "saves ¥ 可省", "priority 优先度", "trouble", "since")
    )
    opened, now, left = flow_of(home), datetime.now(UTC), None
    with opened.engine.connect() as connection:
        if not state:
            counts = sa.select(submissions.c.state, sa.func.count()).group_by(submissions.c.state)
            for code, count in connection.execute(counts):
                table.add_row(code, STATES[code].zh, f"{count:,}")
        else:
            left = reviews_left(connection, per_day=opened.reviews_per_day, now=now)
            for one in listed(connection, state=state, now=now, most=200):
                row = one.row
                fens = (row["payout_fen"], one.saving_fen, one.priority_fen)
                figures = ("–" if fen is None else f"{fen / 100:,.2f}" for fen in fens)
                since = f"{row['moved_at']:%F %T}{' overdue 超时' if one.is_overdue else ''}"
                table.add_row(row["submission_id"], row["seller_id"], *figures, row["trouble"], since)
    console().print(table)
    if state == "person_needed" and left is not None:
        print(f"the analysts' capacity reaches the first {left:,} of them today")


@recycling.command("show")
def show(submission_id: str, home: Home = DEFAULT_HOME) -> None:
    """A trade with every step it took, as JSON."""
    from pipelines.recycling.trades import UnknownSubmission, steps_of

    found_in = flow_of(home)
    with found_in.engine.connect() as connection:
        try:
            row = found_in.flow.book.read(connection, submission_id)
        except UnknownSubmission:
            raise Refusal(f"there is no submission {submission_id}") from None
        found = dict(row) | {"steps": steps_of(connection, submission_id)}
    print(json.dumps(found, ensure_ascii=False, indent=1, default=str))


@recycling.command("decide")
def decide(
    submission_id: str,
    decision: Decided,
    by: Annotated[str, typer.Option("--by", help="Who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the evidence.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Decide as a person: what waits for a review, a card looked at by hand, a held or failed payout."""
    people = flow_of(home).people
    work: dict[Decided, Any] = {
        Decided.approve: people.approve,
        Decided.reject: people.reject,
        Decided.good: lambda one, **words: people.looked_at(one, is_good=True, **words),
        Decided.bad: lambda one, **words: people.looked_at(one, is_good=False, **words),
        Decided.stop: people.stop_payout,
        Decided.pay_again: people.pay_again,
    }
    row = decided(lambda: work[decision](submission_id, by=by, reason=reason))
    print(f"{submission_id} is {row['state']}")


@recycling.command("diagram")
def diagram_command() -> None:
    """The life of a trade as a Mermaid diagram, drawn from the code."""
    from pipelines.recycling.states import diagram

    print(diagram())
