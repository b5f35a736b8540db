"""Where the money of some trades is, by the ledger: what was paid for cards, what came off it, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pipelines.recycling import bookings
from pipelines.recycling.accounts import LOSSES, STOCK
from pipelines.recycling.ledger_tables import ledger_transfers as transfers
from pipelines.recycling.trade_tables import submissions


@dataclass(frozen=True)
class TradeMoney:
    """In fen. stock_fen: what the cards that are here cost: bought, less sold and written off. bought_fen: the gross
    prices of all cards ever bought; fees_fen, postage_fen, tax_fen: what came off them (tax: also out of fees).
    frozen_fen: reserved for payouts; settled_fen: taken out of that for the payouts of verified cards; paid_fen:
    confirmed to be with the sellers. lost_fen: written off, and paid to sellers who were right in a dispute."""

    stock_fen: int
    bought_fen: int
    fees_fen: int
    postage_fen: int
    tax_fen: int
    frozen_fen: int
    settled_fen: int
    paid_fen: int
    lost_fen: int


def trade_money(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> TradeMoney:
    """The money of the trades that meet conditions on their rows."""
    columns = transfers.c
    joined = transfers.join(submissions, submissions.c.submission_id == columns.trade_id)
    done = columns.kind.in_(("posted", "settle"))
    reason = {
        name: _sum(sa.and_(done, columns.reason == code))
        - _sum(sa.and_(done, columns.reason == f"correct_{code}"))
        for name, code in (
            ("fees_fen", bookings.FEE),
            ("postage_fen", bookings.LOGISTICS_FEE),
            ("tax_fen", bookings.SET_ASIDE),
            ("settled_fen", bookings.SETTLE),
            ("paid_fen", bookings.CONFIRM),
            ("bought_fen", bookings.BUY),
        )
    }
    ends = transfers.alias()
    is_open = ~sa.exists(sa.select(ends.c.seq).where(ends.c.pending_id == columns.transfer_id))
    sums = reason | {
        "stock_fen": _net(done, STOCK.name),
        "lost_fen": _net(done, LOSSES.name),
        "frozen_fen": _sum(sa.and_(columns.kind == "pending", columns.reason == "freeze_payout", is_open)),
    }
    chosen = sa.select(*(value.label(name) for name, value in sums.items())).select_from(joined).where(*where)
    row = connection.execute(chosen).mappings().one()
    return TradeMoney(**{name: int(row[name] or 0) for name in sums})


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, transfers.c.amount_fen), else_=0)), 0)


def _net(done: sa.ColumnElement[bool], account: str) -> sa.ColumnElement[int]:
    """Debits less credits of an account."""
    columns = transfers.c
    return _sum(sa.and_(done, columns.debit == account)) - _sum(sa.and_(done, columns.credit == account))
