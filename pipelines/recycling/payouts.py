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
from pipelines.recycling.ledger import post, transfers_of
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
    """Nobody can say whether it was paid: no answer, or none that can be understood."""

    reason: str


@dataclass(frozen=True)
class NotSent:
    """The request never left: the provider could not be reached or is being left alone."""

    reason: str


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

    def query(self, payout_id: str, *, amount_fen: int) -> Found: ...

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
class PayoutDesk:
    """Sends payouts and finds out what became of them.

    quiet_seconds: how long after the last attempt a provider that "never heard of it" is believed; longer than any
    request can be on its way.
    """

    transaction: Transaction
    provider: PayoutProvider
    clock: Callable[[], datetime]
    quiet_seconds: float = 120.0

    def advance(self, payout_id: str) -> State:
        """Do the next thing about a payout: send it, or ask what became of it. Safe to repeat, also after a crash.

        Raises UnknownPayout."""
        claimed = self._claim(payout_id)
        if claimed is not None:
            return self._submitted(claimed, self._submit(claimed))
        row = self._row(payout_id)
        return self._asked(row) if row["state"] in ("submitted", "unknown") else row["state"]

    def _claim(self, payout_id: str) -> Mapping[str, Any] | None:
        """Take a payout that was not sent, so that nobody else sends it; None where there is nothing to send."""
        now = self.clock()
        with self.transaction() as connection:
            row = read_payout(connection, payout_id, lock=True)
            if row is None:
                raise UnknownPayout(f"{payout_id}: there is no payout of this id")
            if row["state"] != "created":
                return None
            attempt = {"submissions": row["submissions"] + 1, "submitted_at": now}
            self._set(connection, row, "submitted", "", attempt)
            return {**row, **attempt}

    def _submit(self, row: Mapping[str, Any]) -> Submission:
        return self.provider.submit(
            payout_id=row["payout_id"],
            channel=row["channel"],
            account_ref=row["account_ref"],
            amount_fen=row["amount_fen"],
            name_ref=row["name_ref"],
        )

    def _submitted(self, claimed: Mapping[str, Any], answer: Submission) -> State:
        if isinstance(answer, NotSent):
            # Only the first attempt may go back: an earlier one may be on its way still.
            state: State = "created" if claimed["submissions"] == 1 else "unknown"
            return self._note(claimed, state, answer.reason, {"submissions": claimed["submissions"] - 1})
        return self._heard(claimed, answer)

    def _asked(self, row: Mapping[str, Any]) -> State:
        found = self.provider.query(row["payout_id"], amount_fen=row["amount_fen"])
        if not isinstance(found, NeverHeard):
            return self._heard(row, found)
        if self.clock() - row["submitted_at"] < timedelta(seconds=self.quiet_seconds):
            return self._note(row, "unknown", "never_heard_yet", {})
        return self._note(row, "created", "never_heard", {})

    def _heard(self, row: Mapping[str, Any], answer: Accepted | Refused | Unknown) -> State:
        if isinstance(answer, Unknown):
            return self._note(row, "unknown", answer.reason, {})
        if isinstance(answer, Refused):
            return self._note(row, "failed", answer.reason, {})
        if answer.paid:
            return self._note(row, "paid", "", {"provider_ref": answer.provider_ref})
        return self._note(row, "submitted", "under_way", {"provider_ref": answer.provider_ref})

    def _note(self, seen: Mapping[str, Any], state: State, reason: str, values: dict[str, Any]) -> State:
        """Change the state, and the books with it; nothing where it ended or was sent anew since it was seen."""
        with self.transaction() as connection:
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

    def _row(self, payout_id: str) -> Mapping[str, Any]:
        with self.transaction() as connection:
            row = read_payout(connection, payout_id)
        assert row is not None
        return row
