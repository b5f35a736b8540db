"""Tables of payouts: each with its state now, every change of state ever made, and what a statement did not agree with.

``account_ref`` and ``name_ref`` are opaque references that the provider or a vault resolves; no account number or name
is stored here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from pipelines.application_data import UtcTime, metadata

payouts = sa.Table(
    "payouts",
    metadata,
    sa.Column("payout_id", sa.String(128), primary_key=True),
    sa.Column("trade_id", sa.String(128), nullable=False, index=True),
    sa.Column("seller_ref", sa.String(140), nullable=False),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("account_ref", sa.String(128), nullable=False),
    sa.Column("name_ref", sa.String(128), nullable=False),
    sa.Column("amount_fen", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.String(64), nullable=False, default=""),
    sa.Column("provider_ref", sa.String(128), nullable=False, default=""),
    sa.Column("submissions", sa.Integer, nullable=False, default=0),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("submitted_at", UtcTime, nullable=True),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("paid_at", UtcTime, nullable=True, index=True),
    sa.CheckConstraint("amount_fen > 0", name="payout_amount"),
    sa.CheckConstraint("state IN ('created', 'submitted', 'unknown', 'paid', 'failed')", name="payout_state"),
    sa.CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="payout_paid_at"),
)
payout_changes = sa.Table(
    "payout_changes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("payout_id", sa.String(128), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)
"""Every state a payout was in and why, in order; only added to."""

payout_matches = sa.Table(
    "payout_matches",
    metadata,
    sa.Column("payout_id", sa.String(128), primary_key=True),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""On which day's statement a payout was found as it is here. It may be found on one only."""

payout_breaks = sa.Table(
    "payout_breaks",
    metadata,
    sa.Column("channel", sa.String(16), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("payout_id", sa.String(128), primary_key=True),
    sa.Column("provider_ref", sa.String(128), nullable=False),
    sa.Column("ours_fen", sa.BigInteger, nullable=False),
    sa.Column("theirs_fen", sa.BigInteger, nullable=False),
    sa.Column("found_at", UtcTime, nullable=False),
    sa.Column("closed_at", UtcTime, nullable=True),
)
"""What a provider's statement of a day in China does not agree with. ``closed_at``: not found at a later look."""

_FINAL = "OLD.state IN ('paid', 'failed') OR NEW.amount_fen <> OLD.amount_fen OR NEW.channel <> OLD.channel"
_GUARDS = {
    "sqlite": [
        "CREATE TRIGGER payouts_final BEFORE UPDATE ON payouts WHEN " + _FINAL + " "
        "BEGIN SELECT RAISE(ABORT, 'a payout that ended, its amount and its channel never change'); END",
        "CREATE TRIGGER payouts_kept BEFORE DELETE ON payouts "
        "BEGIN SELECT RAISE(ABORT, 'payouts are never deleted'); END",
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION payouts_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a payout that ended, its amount and its channel never change'; END $$",
        f"CREATE TRIGGER payouts_final BEFORE UPDATE ON payouts FOR EACH ROW WHEN ({_FINAL}) "
        "EXECUTE FUNCTION payouts_refuse()",
        "CREATE TRIGGER payouts_kept BEFORE DELETE OR TRUNCATE ON payouts "
        "FOR EACH STATEMENT EXECUTE FUNCTION payouts_refuse()",
    ],
}
for _dialect, _statements in _GUARDS.items():
    for _statement in _statements:
        sa_event.listen(payouts, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))


def make_payout_tables(connection: sa.Connection) -> None:
    """Make the tables where they are missing."""
    for table in (payouts, payout_changes, payout_matches, payout_breaks):
        table.create(connection, checkfirst=True)


def read_payout(connection: sa.Connection, payout_id: str, *, lock: bool = False) -> Mapping[str, Any] | None:
    """One payout; lock: nobody else changes it until the transaction ends."""
    chosen = sa.select(payouts).where(payouts.c.payout_id == payout_id)
    if lock and connection.dialect.name == "sqlite":
        # An update of nothing takes the write lock before anything is read.
        connection.execute(sa.update(payouts).where(sa.false()).values(reason=""))
    row = connection.execute(chosen.with_for_update() if lock else chosen).mappings().first()
    return None if row is None else dict(row)


def open_payouts(connection: sa.Connection) -> list[Mapping[str, Any]]:
    """Payouts that have not ended, oldest first."""
    chosen = sa.select(payouts).where(payouts.c.state.in_(("created", "submitted", "unknown")))
    ordered = chosen.order_by(payouts.c.created_at, payouts.c.payout_id)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def note_change(connection: sa.Connection, payout_id: str, *, state: str, reason: str, at: datetime) -> None:
    """Put a change of state at the end of the history."""
    row = {"payout_id": payout_id, "state": state, "reason": reason, "at": at}
    connection.execute(sa.insert(payout_changes).values(row))
