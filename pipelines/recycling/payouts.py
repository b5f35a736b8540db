"""Payouts to sellers: sent once, whatever the provider does.

    created → submitted → paid | failed
                  ↓  ↑
                unknown            resolved by asking the provider, before anything is sent again

That a payout goes out is committed before the provider hears of it, so a crash leaves ``submitted`` and the next look
asks first. The ledger moves in the transaction in which the state changes. Nothing is sent twice unless the provider
says, a while after the last attempt, that it never heard of it; and then under the same id, which it honours as a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from pipelines.recycling.accounts import Channel, transit
from pipelines.recycling.bookings import confirm_payout, return_payout
from pipelines.recycling.ledger import post, take_turn, transfers_of
from pipelines.recycling.ledger_tables import ledger_accounts
from pipelines.recycling.payout_tables import note_change, payouts, read_payout
from pipelines.recycling.statements import StatementLine

State = Literal["created", "submitted", "unknown", "paid", "failed"]
OPEN: tuple[State, ...] = ("created", "submitted", "unknown")


class PayoutRefused(Exception):
    """A payout cannot be made here; the subclasses say why. Nothing was changed."""


class PayoutIdReused(PayoutRefused):
    """There is a payout of this id with another body."""


class PayoutNotFunded(PayoutRefused):
    """The money of this payout has not been taken out of the channel's cash: settle the trade first."""


class UnknownPayout(PayoutRefused):
    """There is no payout of this id."""


@dataclass(frozen=True)
class Accepted:
    """The provider took the payout. paid: the seller has the money; otherwise it is under way."""

    provider_ref: str
    paid: bool = False


@dataclass(frozen=True)
class Refused:
    """The provider did not pay and will not. ``reason``: a code of its own."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """Nobody can say whether it was paid: no answer, or none that can be understood. rest_seconds: the provider was not
    even asked, since it is left alone for so long; 0: it was."""

    reason: str
    rest_seconds: float = 0.0


@dataclass(frozen=True)
class NotSent:
    """The request never left: the provider could not be reached or is being left alone. rest_seconds: for so long it is
    left alone; 0: it was tried."""

    reason: str
    rest_seconds: float = 0.0


@dataclass(frozen=True)
class NeverHeard:
    """The provider knows of no payout of this id."""


Submission = Accepted | Refused | Unknown | NotSent
Found = Accepted | Refused | Unknown | NeverHeard


class PayoutProvider(Protocol):
    """Who pays. ``payout_id`` is the idempotency key: the same id is paid at most once."""

    def submit(
        self, *, payout_id: str, channel: Channel, account_ref: str, amount_fen: int, name_ref: str
    ) -> Submission: ...

    def query(self, payout_id: str, *, channel: Channel, amount_fen: int) -> Found: ...

    def statement(self, day: str, *, channel: Channel) -> list[StatementLine]: ...


@dataclass(frozen=True)
class Payout:
    """An order to pay a seller. The references are opaque."""

    payout_id: str
    trade_id: str
    seller_ref: str
    channel: Channel
    account_ref: str
    name_ref: str
    amount_fen: int


Transaction = Callable[[], AbstractContextManager[sa.Connection]]
"""Opens a transaction on the application database."""


def create_payout(connection: sa.Connection, payout: Payout, *, now: datetime) -> State:
    """Keep a payout to be sent; its state. The same again changes nothing. The money must be in transit already.

    Raises PayoutIdReused, PayoutNotFunded.
    """
    body = asdict(payout)
    account = transit(payout.channel)
    # The account's row is locked: two payouts must not rest on the same money.
    locked = sa.update(ledger_accounts).where(ledger_accounts.c.name == account.name)
    connection.execute(locked.values(debits_posted=ledger_accounts.c.debits_posted))
    known = read_payout(connection, payout.payout_id)
    if known is None:
        if _free_fen(connection, payout, account.name) < payout.amount_fen:
            raise PayoutNotFunded(f"{payout.payout_id}: its money is not under way in {account.name}")
        rest = {"state": "created", "reason": "", "provider_ref": "", "submissions": 0}
        connection.execute(sa.insert(payouts).values(body | rest | {"created_at": now, "changed_at": now}))
        note_change(connection, payout.payout_id, state="created", reason="", at=now)
        return "created"
    if any(known[name] != value for name, value in body.items()):
        raise PayoutIdReused(f"{payout.payout_id}: a payout with another body has this id")
    return known["state"]


def _free_fen(connection: sa.Connection, payout: Payout, account: str) -> int:
    """The trade's own money under way by this channel that no open payout rests on."""
    moved = transfers_of(connection, trade_id=payout.trade_id, account=account)
    done = [row for row in moved if row["kind"] in ("posted", "settle")]
    under_way = sum(row["amount_fen"] if row["debit"] == account else -row["amount_fen"] for row in done)
    chosen = sa.select(sa.func.coalesce(sa.func.sum(payouts.c.amount_fen), 0)).where(
        payouts.c.trade_id == payout.trade_id, payouts.c.channel == payout.channel, payouts.c.state.in_(OPEN)
    )
    return under_way - int(connection.execute(chosen).scalar_one())


@dataclass(frozen=True)
class Errand:
    """The next thing to do about a payout, as its row was when it was taken up. sends: it is ours to send; otherwise it
    is asked about, or has ended."""

    row: Mapping[str, Any]
    sends: bool

    @property
    def ended(self) -> bool:
        return self.row["state"] in ("paid", "failed")


@dataclass(frozen=True)
class PayoutDesk:
    """Sends payouts and finds out what became of them: takes an errand, runs it, and notes what it heard.

    Taking and noting happen in transactions of the caller's; between the two no connection is held. quiet_seconds: how
    long after the last attempt a provider that "never heard of it" is believed; longer than any request can be on its
    way.
    """

    provider: PayoutProvider
    clock: Callable[[], datetime]
    quiet_seconds: float = 120.0

    def take(self, connection: sa.Connection, payout_id: str) -> Errand:
        """The next errand. A payout that was not sent is taken so that nobody else sends it: commit before it is run.
        Raises UnknownPayout."""
        row = read_payout(connection, payout_id, lock=True)
        if row is None:
            raise UnknownPayout(f"{payout_id}: there is no payout of this id")
        if row["state"] != "created":
            return Errand(row, sends=False)
        attempt = {"submissions": row["submissions"] + 1, "submitted_at": self.clock()}
        self._set(connection, row, "submitted", "", attempt)
        return Errand({**row, **attempt, "state": "submitted"}, sends=True)

    def run(self, errand: Errand) -> Submission | Found:
        """Send the payout, or ask the provider what became of it."""
        row = errand.row
        if not errand.sends:
            return self.provider.query(row["payout_id"], channel=row["channel"], amount_fen=row["amount_fen"])
        return self.provider.submit(
            payout_id=row["payout_id"],
            channel=row["channel"],
            account_ref=row["account_ref"],
            amount_fen=row["amount_fen"],
            name_ref=row["name_ref"],
        )

    def note(self, connection: sa.Connection, errand: Errand, answer: Submission | Found) -> State:
        """Keep what was heard, and change the books with it; the payout's state then."""
        state, reason, values = self._heard(errand.row, answer)
        return self._note(connection, errand.row, state, reason, values)

    def _heard(self, row: Mapping[str, Any], answer: Submission | Found) -> tuple[State, str, dict[str, Any]]:
        """State, reason and further columns of a payout after an answer."""
        match answer:
            case NotSent(reason):
                # Only the first attempt may go back: an earlier one may be on its way still.
                state: State = "created" if row["submissions"] == 1 else "unknown"
                return state, reason, {"submissions": row["submissions"] - 1}
            case NeverHeard():
                is_quiet = self.clock() - row["submitted_at"] >= timedelta(seconds=self.quiet_seconds)
                return ("created", "never_heard", {}) if is_quiet else ("unknown", "never_heard_yet", {})
            case Unknown(reason):
                return "unknown", reason, {}
            case Refused(reason):
                return "failed", reason, {}
            case Accepted(provider_ref, paid):
                known = {"provider_ref": provider_ref}
                return ("paid", "", known) if paid else ("submitted", "under_way", known)

    def _note(
        self,
        connection: sa.Connection,
        seen: Mapping[str, Any],
        state: State,
        reason: str,
        values: dict[str, Any],
    ) -> State:
        """Change the state, and the books with it; nothing where it ended or was sent anew since it was seen."""
        if state in ("paid", "failed"):
            take_turn(connection)
        row = read_payout(connection, seen["payout_id"], lock=True)
        assert row is not None
        if row["state"] in ("paid", "failed", "created") or row["submitted_at"] != seen["submitted_at"]:
            return row["state"]
        if (row["state"], row["reason"]) != (state, reason):
            self._set(connection, row, state, reason, values)
        self._book(connection, row, state)
        return state

    def _set(
        self,
        connection: sa.Connection,
        row: Mapping[str, Any],
        state: State,
        reason: str,
        values: dict[str, Any],
    ) -> None:
        now = self.clock()
        changed = {"state": state, "reason": reason[:64], "changed_at": now, **values}
        if state == "paid":
            changed["paid_at"] = now
        chosen = sa.update(payouts).where(payouts.c.payout_id == row["payout_id"])
        connection.execute(chosen.values(changed))
        note_change(connection, row["payout_id"], state=state, reason=reason[:64], at=now)

    def _book(self, connection: sa.Connection, row: Mapping[str, Any], state: State) -> None:
        name, trade = f"payout/{row['payout_id']}/{state}", row["trade_id"]
        channel, fen = row["channel"], row["amount_fen"]
        if state == "paid":
            whose = row["seller_ref"]
            sent = confirm_payout(
                transfer_id=name, trade_id=trade, channel=channel, seller_ref=whose, amount_fen=fen
            )
            post(connection, sent, now=self.clock())
        elif state == "failed":
            back = return_payout(transfer_id=name, trade_id=trade, channel=channel, amount_fen=fen)
            post(connection, back, now=self.clock())
