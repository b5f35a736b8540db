"""Where the money of some trades is, by the ledger: what was paid for cards, what came off it, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

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

    def __add__(self, other: TradeMoney) -> TradeMoney:
        names = [part.name for part in fields(TradeMoney)]
        return TradeMoney(**{name: getattr(self, name) + getattr(other, name) for name in names})


def trade_money(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> TradeMoney:
    """The money of the trades that meet conditions on their rows."""
    sums = _sums()
    row = connection.execute(_of_trades(sums).where(*where)).mappings().one()
    return TradeMoney(**{name: int(row[name] or 0) for name in sums})


def money_by_profile(connection: sa.Connection, *, after: int, until: int) -> dict[str, TradeMoney]:
    """What the transfers of these numbers (``after`` left out) add to the money of each profile's trades: whoever keeps
    the sums reads each transfer once."""
    sums = _sums()
    numbered = sa.and_(transfers.c.seq > after, transfers.c.seq <= until)
    chosen = (
        _of_trades(sums).add_columns(submissions.c.profile).where(numbered).group_by(submissions.c.profile)
    )
    found = connection.execute(chosen).mappings()
    return {row["profile"]: TradeMoney(**{name: int(row[name]) for name in sums}) for row in found}


def newest_transfer(connection: sa.Connection) -> int:
    """The number of the newest transfer. They are posted one after another: none of a smaller number comes later."""
    return connection.execute(sa.select(sa.func.coalesce(sa.func.max(transfers.c.seq), 0))).scalar_one()


_BEGUN = transfers.alias("begun")
"""The pending transfer that a settle or void ends."""


def _of_trades(sums: Mapping[str, sa.ColumnElement[int]]) -> sa.Select[*tuple[Any, ...]]:
    joined = transfers.join(submissions, submissions.c.submission_id == transfers.c.trade_id)
    joined = joined.outerjoin(_BEGUN, _BEGUN.c.transfer_id == transfers.c.pending_id)
    return sa.select(*(value.label(name) for name, value in sums.items())).select_from(joined)


def _sums() -> dict[str, sa.ColumnElement[int]]:
    """Each figure as a sum over transfers, so that what comes later can be added."""
    columns = transfers.c
    done = columns.kind.in_(("posted", "settle"))
    reasons = {
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
    frozen = sa.and_(columns.kind == "pending", columns.reason == bookings.FREEZE)
    return reasons | {
        "stock_fen": _net(done, STOCK.name),
        "lost_fen": _net(done, LOSSES.name),
        "frozen_fen": _sum(frozen) - _sum(_BEGUN.c.reason == bookings.FREEZE, _BEGUN.c.amount_fen),
    }


def _sum(
    condition: sa.ColumnElement[bool], amount: sa.ColumnElement[int] = transfers.c.amount_fen
) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, amount), else_=0)), 0)


def _net(done: sa.ColumnElement[bool], account: str) -> sa.ColumnElement[int]:
    """Debits less credits of an account."""
    columns = transfers.c
    return _sum(sa.and_(done, columns.debit == account)) - _sum(sa.and_(done, columns.credit == account))
