"""Tables of the ledger in the application database: accounts with their balances, and transfers that never change.

Amounts are integer fen. What the program checks first, the database holds to as well: no account beyond its limit, no
transfer of nothing or onto itself, a pending transfer ended at most once, and no transfer changed or deleted.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from pipelines.application_data import UtcTime, metadata

ledger_accounts = sa.Table(
    "ledger_accounts",
    metadata,
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("stays_on", sa.String(6), nullable=False),
    sa.Column("debits_posted", sa.BigInteger, nullable=False, default=0),
    sa.Column("credits_posted", sa.BigInteger, nullable=False, default=0),
    sa.Column("debits_pending", sa.BigInteger, nullable=False, default=0),
    sa.Column("credits_pending", sa.BigInteger, nullable=False, default=0),
    sa.CheckConstraint("stays_on IN ('debit', 'credit', 'both')", name="ledger_account_side"),
    sa.CheckConstraint(
        "debits_posted >= 0 AND credits_posted >= 0 AND debits_pending >= 0 AND credits_pending >= 0",
        name="ledger_account_sums",
    ),
    sa.CheckConstraint(
        "stays_on <> 'credit' OR debits_posted + debits_pending <= credits_posted",
        name="ledger_account_credit_limit",
    ),
    sa.CheckConstraint(
        "stays_on <> 'debit' OR credits_posted + credits_pending <= debits_posted",
        name="ledger_account_debit_limit",
    ),
)
"""``stays_on``: the side on which the balance must stay, pending transfers counted; ``both``: no limit."""

ledger_transfers = sa.Table(
    "ledger_transfers",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("transfer_id", sa.String(200), nullable=False, unique=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("debit", sa.String(160), sa.ForeignKey("ledger_accounts.name"), nullable=False, index=True),
    sa.Column("credit", sa.String(160), sa.ForeignKey("ledger_accounts.name"), nullable=False, index=True),
    sa.Column("amount_fen", sa.BigInteger, nullable=False),
    sa.Column(
        "pending_id",
        sa.String(200),
        sa.ForeignKey("ledger_transfers.transfer_id"),
        nullable=True,
        unique=True,
    ),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("trade_id", sa.String(128), nullable=True, index=True),
    sa.Column("happened_at", UtcTime, nullable=False, index=True),
    sa.CheckConstraint("amount_fen > 0", name="ledger_transfer_amount"),
    sa.CheckConstraint("debit <> credit", name="ledger_transfer_sides"),
    sa.CheckConstraint("kind IN ('posted', 'pending', 'settle', 'void')", name="ledger_transfer_kind"),
    sa.CheckConstraint(
        "(kind IN ('settle', 'void')) = (pending_id IS NOT NULL)", name="ledger_transfer_pending"
    ),
    sqlite_autoincrement=True,
)
"""``pending_id``: the pending transfer that a settle or void ends. ``reason``: the business operation's name."""


def _sqlite_guards() -> list[str]:
    unchanging = [
        f"CREATE TRIGGER ledger_transfers_no_{change} BEFORE {change} ON ledger_transfers "
        "BEGIN SELECT RAISE(ABORT, 'transfers are never changed; post a correction'); END"
        for change in ("UPDATE", "DELETE")
    ]
    accounts = [
        f"CREATE TRIGGER ledger_accounts_no_{name} BEFORE {change} ON ledger_accounts "
        "BEGIN SELECT RAISE(ABORT, 'accounts are never deleted or renamed'); END"
        for name, change in (("delete", "DELETE"), ("rename", "UPDATE OF name, stays_on"))
    ]
    return [*unchanging, *accounts]


_POSTGRES_GUARDS = [
    "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the ledger is never changed; post a correction'; END $$",
    "CREATE TRIGGER ledger_transfers_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfers "
    "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
    "CREATE TRIGGER ledger_accounts_no_change BEFORE UPDATE OF name, stays_on OR DELETE OR TRUNCATE "
    "ON ledger_accounts FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
]
for _dialect, _statements in {"sqlite": _sqlite_guards(), "postgresql": _POSTGRES_GUARDS}.items():
    for _statement in _statements:
        sa_event.listen(ledger_transfers, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))


def make_ledger_tables(connection: sa.Connection) -> None:
    """Make the tables where they are missing."""
    for table in (ledger_accounts, ledger_transfers):
        table.create(connection, checkfirst=True)
