"""What the machine does in each state of a trade: a few lines around models, vault, ledger and adapters.

Each phase is a function of the :class:`Flow` and a :class:`Runner`. Whatever asks somebody outside is a *step*: it may
be repeated after a crash, so it carries a key that makes repeating harmless. Whatever changes rows or money is a
*transaction*: it changes the trade's version with them, so whoever repeats a phase finds that it was done. A phase that
was cut off is begun anew from the trade as it stands; what it owes to somebody outside therefore comes before the
transaction that moves the trade on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.checks import Devices, Grades, Identity
from pipelines.recycling.adapters.issuer import Issuer, PresentedCard
from pipelines.recycling.adapters.logistics import Logistics
from pipelines.recycling.parcels import ARRIVES_WITHIN, LOOK_EVERY, NEVER_COMES, ordered_label, whereabouts
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.policy import FlowPolicy, Name
from pipelines.recycling.ports import Pricing
from pipelines.recycling.taxes import Rates
from pipelines.recycling.trades import Step, TradeBook
from pipelines.recycling.vault import CardShredded, NoSuchCard, Vault

Row = Mapping[str, Any]
Facts = dict[str, Any]

NO_RATES = Rates((), "")

DEAD = frozenset({"used", "fake", "wrong_secret", "format_error", "frozen", "unsupported", "inactive"})
"""How a card may stand with its issuer so that nobody can buy it."""
ALIVE = ("active", "expired")
"""How a card may stand that can be bought; an expired one among them can be re-activated."""


PRICED_APART = "/"
"""Stands in a trade_id of the pricing API between the submission and the end that nobody outside knows."""
UNKNOWN_CHARACTERS = 12


class Runner(Protocol):
    """Runs the parts of a phase. What a transaction returns is on disk."""

    def read(self, work: Callable[[sa.Connection], Row]) -> Row: ...

    def step(self, name: str, work: Callable[[], Facts]) -> Facts: ...

    def transaction(self, name: str, work: Callable[[sa.Connection], Facts]) -> Facts: ...


@dataclass(frozen=True)
class Flow:
    """The parts that a trade needs. worker: who acts, as the evidence names it. logistics: None: parcels are arranged
    without us. rates: what is set aside for tax. devices, grades (``bureau``, ``credit``): who else is asked about a
    seller; None or nothing: nobody."""

    book: TradeBook
    vault: Vault
    pricing: Pricing
    issuer: Issuer
    identity: Identity
    payouts: PayoutDesk
    policies: Mapping[Name, FlowPolicy]
    clock: Callable[[], datetime]
    worker: str = "huika"
    logistics: Logistics | None = None
    rates: Rates = NO_RATES
    devices: Devices | None = None
    grades: Mapping[str, Grades] = field(default_factory=dict)

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


def as_found(flow: Flow, run: Runner, submission_id: str, *, states: tuple[str, ...]) -> Row | None:
    """The trade as its phase finds it, None in another state. Its transaction reads it again: the version tells whether
    somebody moved it meanwhile."""
    row = run.read(lambda connection: flow.book.read(connection, submission_id))
    return row if row["state"] in states else None


SECRET_GONE = "secret_gone"
"""How a card stands whose secret was destroyed after its time: nobody can look at it any more."""


def presented(flow: Flow, row: Row, *, step: str) -> PresentedCard | None:
    """The trade's card for requests to its issuer; None where its secret was destroyed."""
    try:
        secrets = flow.vault.use(row["card_id"], step=step, now=flow.clock())
    except (CardShredded, NoSuchCard):
        return None
    return PresentedCard(row["asked"]["card"]["card_type"], secrets.number, secrets.secret)


# --- freeze ------------------------------------------------------------------------------------------------------


def frozen_id(row: Row) -> str:
    """The pending transfer that reserves the payout of a trade's quote; a quote whose money was freed and is reserved
    once more (``facts["reserved"]``) has another."""
    return _of_reservation(row, "freeze")


def _of_reservation(row: Row, step: str) -> str:
    times = row["facts"].get("reserved", 1)
    return f"{row['submission_id']}/{step}/{row['quote_id']}" + (f"/{times}" if times > 1 else "")


def freeze(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Reserve the payout of an accepted quote, with a label for a card that must be sent in, and let the models know
    that the seller accepted."""
    row = as_found(flow, run, submission_id, states=("accepted",))
    if row is None:
        return {"state": "moved"}
    known_as = priced_as(row, value_fen=value_fen(row), expires_on=expires_on(row))
    run.step("tell_accepted", lambda: _tell(flow, known_as, kind="accepted"))
    label, logistics = {}, flow.logistics
    if must_be_sent(row) and logistics is not None:
        label = run.step("order_label", lambda: ordered_label(logistics, submission_id, row["seller_id"]))
    return run.transaction("reserve", lambda c: _reserved(flow, c, row, label))


def _reserved(flow: Flow, connection: sa.Connection, seen: Row, label: Facts) -> Facts:
    """label: of a card that must be sent in, as :func:`ordered_label` tells."""
    row, now = flow.book.read(connection, seen["submission_id"]), flow.clock()
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    if label.get("trouble"):
        return flow.failed(connection, row, label["trouble"], label.get("wait"))
    try:
        reserve(flow, connection, row)
    except ledger.Overdraft:
        return flow.failed(connection, row, "no_funds")
    if not must_be_sent(row):
        return flow.moved(connection, row, "frozen", "money_frozen")
    shipment = label.get("shipment", {})
    facts = dict(row["facts"]) | {"shipment": shipment, "arrives_by": (now + ARRIVES_WITHIN).isoformat()}
    due = now + (LOOK_EVERY if shipment else ARRIVES_WITHIN)
    told = {"shipment_id": shipment.get("shipment_id", "")}
    return flow.moved(connection, row, "shipping", "money_frozen", told=told, facts=facts, due_at=due)


def _tell(flow: Flow, trade_id: str, *, kind: str, **more: Any) -> Facts:
    event = {"kind": kind, "event_id": f"{trade_id}-{kind}", "trade_id": trade_id, **more}
    return {"told": flow.pricing.tell(event).state}


def value_fen(row: Row) -> int:
    """What the card must hold: the balance that was quoted, or its face value."""
    balance = row["facts"].get("balance_fen")
    face = row["asked"]["card"]["face_value"]["amount_fen"]
    return face if balance is None else min(balance, face)


def expires_on(row: Row) -> str | None:
    """The last valid day that the card is known to have: its issuer's where it told one, else what its seller said."""
    return row["facts"].get("expires_on", row["asked"]["card"].get("expires_on"))


def priced_as(row: Row, *, value_fen: int, expires_on: str | None) -> str:
    """The trade_id under which the pricing API knows a card that holds this value until this day: one trade there is
    one card with one value and day, and a card found to have another than at its first quote (``facts["first_day"]``)
    is quoted as another. It ends with what nobody outside knows, since clients choose trade_ids there, too, and may
    have asked for a price under the very id that they submit the card with."""
    named = [row["submission_id"]]
    if value_fen != row["asked"]["card"]["face_value"]["amount_fen"]:
        named.append(str(value_fen))
    if expires_on != row["facts"].get("first_day", expires_on):
        named.append(str(expires_on))
    return f"{'-'.join(named)}{PRICED_APART}{row['card_id'][-UNKNOWN_CHARACTERS:]}"


def is_physical(row: Row) -> bool:
    return row["asked"]["card"].get("card_form") == "physical"


def must_be_sent(row: Row) -> bool:
    """Whether the card is still with its seller: one that was unpacked is here until it goes back."""
    return is_physical(row) and not row["facts"].get("here")


def channel_of(row: Row) -> Channel:
    return row["channel"]


def label(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Let the models know what a complaint came to."""
    found = as_found(flow, run, submission_id, states=("closed", "reversed"))
    if found is None:
        return {"state": "moved"}
    if not found["facts"].get("complaint", {}).get("is_label", False):
        told = {"told": "ok"}
    else:
        kind = "fraud_confirmed" if found["state"] == "reversed" else "fraud_cleared"
        known_as = priced_as(found, value_fen=value_fen(found), expires_on=expires_on(found))
        told = run.step("tell_label", lambda: _tell(flow, known_as, kind=kind, source="analyst"))

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


def track(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Ask the carrier where a physical card is. One that is lost, came back or never arrived frees its money; one that
    was delivered waits to be unpacked."""
    row = as_found(flow, run, submission_id, states=("shipping",))
    if row is None:
        return {"state": "moved"}
    shipment_id, logistics = row["facts"].get("shipment", {}).get("shipment_id", ""), flow.logistics
    found: Facts = {}
    if shipment_id and logistics is not None:
        found = run.step("track", lambda: whereabouts(logistics, shipment_id))
    return run.transaction("conclude", lambda c: _tracked(flow, c, submission_id, found))


def _tracked(flow: Flow, connection: sa.Connection, submission_id: str, found: Facts) -> Facts:
    row, now = flow.book.read(connection, submission_id), flow.clock()
    if row["state"] != "shipping" or row["due_at"] is None or row["due_at"] > now:
        return {"state": row["state"]}
    if found.get("trouble"):  # the parcel may be with us: nobody gives it up before the carrier answers
        return flow.failed(connection, row, found["trouble"], found.get("wait"))
    where = found.get("whereabouts", "")
    arrives_by = datetime.fromisoformat(row["facts"].get("arrives_by", row["due_at"].isoformat()))
    why = NEVER_COMES.get(where) or ("never_arrived" if where != "delivered" and now >= arrives_by else "")
    facts = dict(row["facts"])
    if where:
        facts["shipment"] = facts["shipment"] | {"whereabouts": where}
    if why:
        unfreeze(flow, connection, row)
        step = Step("returned", "timer", flow.worker, why, {"due_at": None, "facts": facts}, found)
        flow.book.move(connection, row, step, now=now)
        return {"state": "returned"}
    due = None if where == "delivered" else min(now + LOOK_EVERY, arrives_by)
    flow.book.change(connection, row, {"facts": facts, "due_at": due, "trouble": "", "failures": 0})
    return {"state": row["state"], **found}


def _by_timer(flow: Flow, run: Runner, submission_id: str, *, source: str, target: str, why: str) -> Facts:
    def end(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        if row["state"] != source or row["due_at"] is None or row["due_at"] > flow.clock():
            return {"state": row["state"]}
        step = Step(target, "timer", flow.worker, why, {"due_at": None}, {})
        flow.book.move(connection, row, step, now=flow.clock())
        return {"state": target}

    return run.transaction(f"{target}", end)


def reserve(flow: Flow, connection: sa.Connection, row: Row) -> None:
    """Reserve the payout of the trade's quote. Raises Overdraft."""
    transfers = bookings.freeze_payout(
        transfer_id=frozen_id(row),
        trade_id=row["submission_id"],
        channel=channel_of(row),
        amount_fen=row["payout_fen"],
    )
    ledger.post(connection, transfers, now=flow.clock())


def unfreeze(flow: Flow, connection: sa.Connection, row: Row) -> None:
    """Free what was reserved for the trade's quote."""
    transfers = bookings.void_payout(
        transfer_id=_of_reservation(row, "void"), frozen_id=frozen_id(row), trade_id=row["submission_id"]
    )
    ledger.post(connection, transfers, now=flow.clock())
