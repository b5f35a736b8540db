"""Who takes part in the demo's chapter on recycling: the sandbox as a child, the flow's worker here, people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.recycling.opening import Recycling
    from pipelines.workspace import Workspace
    from serving.client import HuikaClient

FUNDS_FEN = 100_000_000
KEYS = ("demo-worker", "demo-analyst-1", "demo-analyst-2")


@dataclass
class Clock:
    """The worker's time: now, or further on where a payout is held and the demo does not wait."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True)
class Stage:
    """Whoever takes part. seller: the app that submits; sandbox: its address; work: lets the machine do what is due."""

    seller: HuikaClient
    analysts: tuple[HuikaClient, HuikaClient]
    opened: Recycling
    clock: Clock
    sandbox: str
    work: Callable[[], None]


@contextmanager
def staged(workspace: Workspace, client: HuikaClient, url: str) -> Iterator[Stage]:
    """The flow's worker with partners from the sandbox, money in the bank, and two analysts with keys of their own."""
    from pipelines.recycling.durable import Worker, launch, stop
    from pipelines.recycling.opening import open_recycling
    from serving.api.access.roles import Role
    from serving.client import HuikaClient
    from serving.commands.access import end_keys, make_key
    from serving.pricing_port import HttpPricing

    roles = ([Role.PRICING_CLIENT, Role.OPERATOR], [Role.RISK_ANALYST], [Role.RISK_ANALYST])
    worker, *analysts = (
        HuikaClient(
            client.base_url, make_key(workspace, name=name, roles=wanted, now=datetime.now(UTC)), timeout=30
        )
        for name, wanted in zip(KEYS, roles, strict=True)
    )
    clock = Clock()
    opened = open_recycling(_connected(workspace, url), pricing=HttpPricing(worker), clock=clock)
    _fund(opened)
    flow_url = f"sqlite:///{workspace.home / 'flow.db'}"
    machine = launch(opened.flow, system_url=flow_url, engine=opened.engine, executor="worker")

    def work() -> None:
        Worker(machine).run(until_idle=True)

    try:
        yield Stage(client, (analysts[0], analysts[1]), opened, clock, url, work)
    finally:
        stop()
        for one in (worker, *analysts):
            one.close()
        for name in KEYS:
            end_keys(workspace, name, now=datetime.now(UTC))


def _connected(workspace: Workspace, url: str) -> Workspace:
    """The workspace with issuer and payout provider in the sandbox; its settings file stays as it is."""
    settings = workspace.settings
    adapters = settings.adapters.model_copy(update={"issuer_url": f"{url}/issuer"})
    books = settings.books.model_copy(update={"payout_url": url})
    return replace(workspace, settings=settings.model_copy(update={"adapters": adapters, "books": books}))


def _fund(opened: Recycling) -> None:
    from pipelines.recycling import bookings, ledger

    with opened.engine.begin() as connection:
        money = bookings.fund(transfer_id="demo-start", channel="bank", amount_fen=FUNDS_FEN)
        ledger.post(connection, money, now=datetime.now(UTC))
