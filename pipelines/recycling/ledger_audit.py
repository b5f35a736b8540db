"""Whether the kept balances are what the transfers say, recomputed from the first transfer on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from pipelines.recycling.ledger_model import SUMS
from pipelines.recycling.ledger_tables import ledger_accounts, ledger_transfers


@dataclass(frozen=True)
class Difference:
    """A sum of an account that is not what its transfers add up to, in fen."""

    account: str
    part: str
    kept_fen: int
    recomputed_fen: int


@dataclass(frozen=True)
class Audit:
    """What an audit found. ``faults``: pending transfers ended wrongly, accounts beyond their limit, in words."""

    accounts: int
    transfers: int
    books_sum_fen: int
    differences: tuple[Difference, ...]
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.differences or self.faults or self.books_sum_fen)


def books_sum(connection: sa.Connection) -> int:
    """All debits less all credits of the kept balances, posted and pending, in fen: 0, or the books are wrong."""
    posted, pending = connection.execute(_sums()).one()
    return int(posted) or int(pending)  # each in its own right: two errors must not cancel out


def audit(connection: sa.Connection) -> Audit:
    """Recompute every balance. Each question is one statement, so commits of others do not tear it apart."""
    rows = connection.execute(_recomputed()).mappings().all()
    differences = [
        Difference(row["name"], part, int(row[part]), int(row[f"{part}_again"]))
        for row in rows
        for part in SUMS
        if row[part] != row[f"{part}_again"]
    ]
    return Audit(
        accounts=len(rows),
        transfers=connection.execute(_COUNT).scalar_one(),
        books_sum_fen=books_sum(connection),
        differences=tuple(differences),
        faults=tuple(
            f"{name} {fault}" for chosen, fault in FAULTS for name in connection.execute(chosen()).scalars()
        ),
    )


_COUNT = sa.select(sa.func.count()).select_from(ledger_transfers)

# Putting a question together takes longer than its answer: each is made once.


@cache
def _sums() -> sa.Select[Any, Any]:
    columns = ledger_accounts.c
    posted = sa.func.sum(columns.debits_posted - columns.credits_posted)
    pending = sa.func.sum(columns.debits_pending - columns.credits_pending)
    return sa.select(sa.func.coalesce(posted, 0), sa.func.coalesce(pending, 0))


@cache
def _recomputed() -> sa.Select[Any, Any, Any]:
    """Accounts with their kept sums and the sums of their transfers."""
    moves = sa.union_all(
        *(_moves(side, part) for side in ("debit", "credit") for part in ("posted", "pending"))
    )
    moved = moves.subquery()
    again = [
        sa.func.coalesce(sa.func.sum(sa.case((moved.c.part == part, moved.c.amount_fen), else_=0)), 0)
        for part in SUMS
    ]
    columns = ledger_accounts.c
    kept = [columns[part] for part in SUMS]
    joined = ledger_accounts.outerjoin(moved, moved.c.name == columns.name)
    named = [total.label(f"{part}_again") for part, total in zip(SUMS, again, strict=True)]
    return sa.select(columns.name, *kept, *named).select_from(joined).group_by(columns.name, *kept)


def _moves(side: str, part: str) -> sa.Select[Any, Any, Any]:
    transfers, ends = ledger_transfers.c, ledger_transfers.alias("ends")
    label = sa.literal(f"{side}s_{part}").label("part")
    chosen = sa.select(transfers[side].label("name"), label, transfers.amount_fen)
    if part == "posted":
        return chosen.where(transfers.kind.in_(("posted", "settle")))
    open_still = ~sa.exists().where(ends.c.pending_id == transfers.transfer_id)
    return chosen.where(transfers.kind == "pending", open_still)


@cache
def _unfit() -> sa.Select[Any]:
    """Settles and voids that do not fit the pending transfer they end."""
    ends, begun = ledger_transfers.alias("ends"), ledger_transfers.alias("begun")
    joined = ends.outerjoin(begun, begun.c.transfer_id == ends.c.pending_id)
    fits = sa.and_(
        begun.c.kind == "pending",
        ends.c.amount_fen <= begun.c.amount_fen,
        ends.c.debit == begun.c.debit,
        ends.c.credit == begun.c.credit,
    )
    wrong = sa.or_(begun.c.transfer_id.is_(None), ~fits)
    return sa.select(ends.c.transfer_id).select_from(joined).where(ends.c.pending_id.is_not(None), wrong)


@cache
def _ended_again() -> sa.Select[Any]:
    """Pending transfers with more than one end."""
    pending = ledger_transfers.c.pending_id
    return sa.select(pending).where(pending.is_not(None)).group_by(pending).having(sa.func.count() > 1)


@cache
def _beyond_limit() -> sa.Select[Any]:
    columns = ledger_accounts.c
    credit = columns.debits_posted + columns.debits_pending > columns.credits_posted
    debit = columns.credits_posted + columns.credits_pending > columns.debits_posted
    beyond = sa.or_(
        sa.and_(columns.stays_on == "credit", credit), sa.and_(columns.stays_on == "debit", debit)
    )
    return sa.select(columns.name).where(beyond)


@cache
def _without_account() -> sa.Select[Any]:
    """Transfers from or to accounts that are not there."""
    transfers = ledger_transfers.c
    known = sa.select(ledger_accounts.c.name)
    lost = sa.or_(transfers.debit.not_in(known), transfers.credit.not_in(known))
    return sa.select(transfers.transfer_id).where(lost)


FAULTS = (
    (_unfit, "does not fit what it ends"),
    (_ended_again, "was ended more than once"),
    (_beyond_limit, "is beyond its limit"),
    (_without_account, "names an account that is not there"),
)
"""What finds accounts and transfers that are wrong, and what is wrong with them."""
