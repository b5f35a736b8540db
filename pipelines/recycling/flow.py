"""What the machine does in each state of a trade: a few lines around models, vault, ledger and adapters.

Each phase is a function of the :class:`Flow` and a :class:`Runner`. Whatever asks somebody outside is a *step*: it may
be repeated after a crash, so it carries a key that makes repeating harmless. Whatever changes rows or money is a
*transaction*: its rows and the note that it was done commit together. Steps and transactions hand on plain values
without secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.checks import Identity
from pipelines.recycling.adapters.issuer import Issuer
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.policy import FlowPolicy, Name
from pipelines.recycling.ports import Pricing
from pipelines.recycling.trades import Step, TradeBook
from pipelines.recycling.vault import Vault

Row = Mapping[str, Any]
Facts = dict[str, Any]

ARRIVES_WITHIN = timedelta(days=14)
"""A physical card that has not arrived by then is not coming."""

DEAD = frozenset({"used", "fake", "wrong_secret", "format_error", "frozen", "unsupported", "inactive"})
"""How a card may stand with its issuer so that nobody can buy it."""


class Runner(Protocol):
    """Runs the parts of a phase so that each is done once, whatever happens in between."""

    def step(self, name: str, work: Callable[[], Facts]) -> Facts: ...

    def transaction(self, name: str, work: Callable[[sa.Connection], Facts]) -> Facts: ...


@dataclass(frozen=True)
class Flow:
    """The parts that a trade needs. worker: who acts, as the evidence names it."""

    book: TradeBook
    vault: Vault
    pricing: Pricing
    issuer: Issuer
    identity: Identity
    payouts: PayoutDesk
    policies: Mapping[Name, FlowPolicy]
    clock: Callable[[], datetime]
    worker: str = "huika"

    def policy(self, row: Row) -> FlowPolicy:
        return self.policies[row["profile"]]

    def moved(
        self,
        connection: sa.Connection,
        row: Row,
        target: str,
        why: str,
        *,
        told: Facts | None = None,
        **changes: Any,
    ) -> Facts:
        """Move a trade by the machine."""
        step = Step(target, "machine", self.worker, why, changes, told or {})
        self.book.move(connection, row, step, now=self.clock())
        return {"state": target, "why": why}

    def failed(self, connection: sa.Connection, row: Row, trouble: str, wait: float | None = None) -> Facts:
        self.book.fail(connection, row, trouble, now=self.clock(), wait=wait or 0.0)
        return {"state": row["state"], "trouble": trouble}


# --- freeze ------------------------------------------------------------------------------------------------------


def frozen_id(submission_id: str, quote_id: str) -> str:
    """The pending transfer that reserves a quote's payout."""
    return f"{submission_id}/freeze/{quote_id}"


def freeze(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Reserve the payout of an accepted quote, and let the models know that the seller accepted."""

    def reserve(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        if row["state"] != "accepted":
            return {"state": row["state"]}
        transfers = bookings.freeze_payout(
            transfer_id=frozen_id(submission_id, row["quote_id"]),
            trade_id=submission_id,
            channel=channel_of(row),
            amount_fen=row["payout_fen"],
        )
        try:
            ledger.post(connection, transfers, now=flow.clock())
        except ledger.Overdraft:
            return flow.failed(connection, row, "no_funds")
        if is_physical(row):
            due = flow.clock() + ARRIVES_WITHIN
            return flow.moved(connection, row, "shipping", "money_frozen", due_at=due)
        return flow.moved(connection, row, "frozen", "money_frozen")

    done = run.transaction("reserve", reserve)
    if done["state"] in ("frozen", "shipping"):
        run.step("tell_accepted", lambda: _tell(flow, submission_id, kind="accepted"))
    return done


def _tell(flow: Flow, submission_id: str, *, kind: str, **more: Any) -> Facts:
    event = {"kind": kind, "event_id": f"{submission_id}-{kind}", "trade_id": submission_id, **more}
    return {"told": flow.pricing.tell(event).state}


def is_physical(row: Row) -> bool:
    return row["asked"]["card"].get("card_form") == "physical"


def channel_of(row: Row) -> Channel:
    return row["channel"]


def label(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Let the models know what a complaint came to."""

    def read(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        return {"state": row["state"], "version": row["version"], "complaint": row["facts"].get("complaint")}

    found = run.transaction("read", read)
    if found["complaint"] is None:
        told = {"told": "ok"}
    else:
        kind = "fraud_confirmed" if found["state"] == "reversed" else "fraud_cleared"
        told = run.step("tell_label", lambda: _tell(flow, submission_id, kind=kind, source="analyst"))

    def end(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        if row["version"] != found["version"]:
            return {"state": row["state"]}
        if told["told"] not in ("ok", "refused", "not_connected"):
            return flow.failed(connection, row, f"label_{told['told']}")
        flow.book.change(connection, row, {"due_at": None, "trouble": "", "failures": 0})
        return {"state": row["state"]}

    return run.transaction("end", end)


# --- timers ------------------------------------------------------------------------------------------------------


def lapse(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """A quote that nobody accepted in time."""
    return _by_timer(flow, run, submission_id, source="quoted", target="lapsed", why="quote_expired")


def close(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """A paid trade that nobody complained about in time."""
    return _by_timer(flow, run, submission_id, source="paid", target="closed", why="no_complaint")


def give_up(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """A physical card that never arrived: its money is free again."""
    return _by_timer(flow, run, submission_id, source="shipping", target="returned", why="never_arrived")


def _by_timer(flow: Flow, run: Runner, submission_id: str, *, source: str, target: str, why: str) -> Facts:
    def end(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        if row["state"] != source or row["due_at"] is None or row["due_at"] > flow.clock():
            return {"state": row["state"]}
        if source == "shipping":
            unfreeze(flow, connection, row)
        step = Step(target, "timer", flow.worker, why, {"due_at": None}, {})
        flow.book.move(connection, row, step, now=flow.clock())
        return {"state": target}

    return run.transaction(f"{target}", end)


def unfreeze(flow: Flow, connection: sa.Connection, row: Row) -> None:
    """Free what was reserved for the trade's quote."""
    submission_id, quote_id = row["submission_id"], row["quote_id"]
    transfers = bookings.void_payout(
        transfer_id=f"{submission_id}/void/{quote_id}",
        frozen_id=frozen_id(submission_id, quote_id),
        trade_id=submission_id,
    )
    ledger.post(connection, transfers, now=flow.clock())
