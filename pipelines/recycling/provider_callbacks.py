"""What payout and wallet providers call us about: that something came of a payout or a transfer.

A call moves no money and is believed in nothing: it makes the trade due at once, and the worker asks the provider
itself, as it does from time to time anyhow. So calls may come late, in any order, again and again, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from pipelines.application_data import UtcTime, metadata
from pipelines.recycling.flow_pay import redemption_id_of
from pipelines.recycling.payout_tables import read_payout
from pipelines.recycling.trades import TradeBook, UnknownSubmission
from pipelines.transactions import in_transaction

Partner = Literal["payout", "wallet"]
Result = Literal["noted", "known", "nothing_waits"]
"""noted: the provider is asked now; known: this call came before; nothing_waits: the trade does not wait for it."""

WAITING: Mapping[Partner, tuple[str, ...]] = {"payout": ("paying",), "wallet": ("frozen", "received")}
"""States in which a trade waits for a partner."""

provider_calls = sa.Table(
    "provider_calls",
    metadata,
    sa.Column("partner", sa.String(16), primary_key=True),
    sa.Column("event_id", sa.String(128), primary_key=True),
    sa.Column("about", sa.String(128), nullable=False),
    sa.Column("submission_id", sa.String(40), nullable=False, index=True),
    sa.Column("said", sa.String(32), nullable=False),
    sa.Column("heard_at", UtcTime, nullable=False),
)
"""Calls that were heard, each once. about: the payout or transfer; said: its state by the call."""


class UnknownSubject(LookupError):
    """There is no payout or transfer of this id."""


class EventReused(ValueError):
    """This event came before about something else."""


@dataclass(frozen=True)
class Call:
    """A call whose signature was checked."""

    partner: Partner
    event_id: str
    about: str
    said: str


@dataclass(frozen=True)
class ProviderCallbacks:
    """Hears what partners call about. secrets: what each of them signs with, the newest first; empty: it may not.
    is_wallet: whether a card type is a wallet's balance."""

    engine: sa.Engine
    book: TradeBook
    clock: Callable[[], datetime]
    secrets: Mapping[Partner, Sequence[str]] = field(repr=False)
    is_wallet: Callable[[str], bool]

    def heard(self, call: Call) -> Result:
        """Keep a call once, with a leaf of evidence, and let the provider be asked. Raises UnknownSubject,
        EventReused."""
        return in_transaction(self.engine, lambda connection: self._heard(connection, call))

    def _heard(self, connection: sa.Connection, call: Call) -> Result:
        row, now = self._trade_of(connection, call), self.clock()
        if not _kept(connection, call, row["submission_id"], now=now):
            return "known"
        self.book.evidence.append(
            connection,
            kind="provider_called",
            subject=row["submission_id"],
            payload={"event_id": call.event_id, "about": call.about, "state": call.said},
            actor=call.partner,
            source="provider_callback",
            at=now,
        )
        if row["state"] not in WAITING[call.partner] or row["due_at"] is None:
            return "nothing_waits"
        # Changed also where it is due: whoever asked before this call and concludes after it asks once more.
        self.book.change(connection, row, {"due_at": min(row["due_at"], now)})
        return "noted"

    def _trade_of(self, connection: sa.Connection, call: Call) -> Mapping[str, Any]:
        """The trade, which nobody else changes until this call is kept: it would not be woken up."""
        if call.partner == "payout":
            payout = read_payout(connection, call.about)
            submission_id = "" if payout is None else payout["trade_id"]
        else:
            submission_id, suffix, rest = call.about.rpartition(redemption_id_of(""))
            submission_id = "" if rest or not suffix else submission_id
        try:
            row = self.book.read(connection, submission_id, lock=True)
        except UnknownSubmission:
            row = None
        if row is None or not self._is_known(call.partner, row):
            raise UnknownSubject(f"there is no {call.partner} of this id")
        return row

    def _is_known(self, partner: Partner, row: Mapping[str, Any]) -> bool:
        """Whether this partner has to do with the trade: one of wallets knows nothing of cards."""
        return partner == "payout" or self.is_wallet(row["asked"]["card"]["card_type"])


def _kept(connection: sa.Connection, call: Call, submission_id: str, *, now: datetime) -> bool:
    """Whether it came for the first time. Raises EventReused."""
    insert = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    row = {"partner": call.partner, "event_id": call.event_id, "about": call.about, "said": call.said}
    row |= {"submission_id": submission_id, "heard_at": now}
    if connection.execute(insert(provider_calls).values(row).on_conflict_do_nothing()).rowcount:
        return True
    same = sa.and_(provider_calls.c.partner == call.partner, provider_calls.c.event_id == call.event_id)
    if connection.execute(sa.select(provider_calls.c.about).where(same)).scalar_one() != call.about:
        raise EventReused("this event came before about something else")
    return False
