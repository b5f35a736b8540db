"""What each seller received in a quarter, by the ledger, for the report that platform operators owe the tax office.

One row per seller reference. Who that is (name, identity document) is joined by those who may know it, elsewhere.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.recycling import bookings
from pipelines.recycling.ledger import CORRECT
from pipelines.recycling.ledger_tables import ledger_transfers
from pipelines.recycling.reconciling import china_day


class QuarterError(ValueError):
    """A quarter is written as 2026Q4."""


@dataclass(frozen=True)
class SellerQuarter:
    """A seller's quarter, amounts in fen. ``trades``: cards bought. ``net_fen``: income less what was taken back of it.

    ``fees_fen``: service and logistics fees. ``paid_fen``: payouts confirmed in the quarter, of whatever trade.
    """

    seller_ref: str
    trades: int = 0
    income_fen: int = 0
    taken_back_fen: int = 0
    net_fen: int = 0
    fees_fen: int = 0
    tax_set_aside_fen: int = 0
    paid_fen: int = 0


def quarter_of(text: str) -> tuple[datetime, datetime]:
    """First moment of a quarter in China and of the next. Raises QuarterError."""
    found = re.fullmatch(r"(20\d\d)Q([1-4])", text)
    if found is None:
        raise QuarterError(f"{text}: write a quarter as 2026Q4")
    year, quarter = int(found[1]), int(found[2])
    after = date(year + 1, 1, 1) if quarter == 4 else date(year, 3 * quarter + 1, 1)
    return china_day(date(year, 3 * quarter - 2, 1))[0], china_day(after)[0]


def seller_quarters(connection: sa.Connection, quarter: str) -> list[SellerQuarter]:
    """All sellers with any booking in a quarter, by reference. Raises QuarterError."""
    start, end = quarter_of(quarter)
    sums: dict[str, dict[str, int]] = {}
    for row in _sums(connection, start, end):
        for side in ("debit", "credit"):
            heading, _, whose = row[side].partition(":")
            if heading == "seller":
                _count(sums.setdefault(whose, {}), row, side)
    return [
        SellerQuarter(whose, **found, net_fen=found.get("income_fen", 0) - found.get("taken_back_fen", 0))
        for whose, found in sorted(sums.items())
    ]


def write_export(path: Path, rows: Sequence[SellerQuarter], *, quarter: str) -> None:
    """A CSV with one row per seller, which spreadsheets open as it is."""
    names = [field.name for field in fields(SellerQuarter)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["quarter", *names])
        for row in rows:
            said = asdict(row) | {"seller_ref": _plain(row.seller_ref)}
            writer.writerow([quarter, *(said[name] for name in names)])


def _sums(connection: sa.Connection, start: datetime, end: datetime) -> list[Mapping[str, Any]]:
    columns = ledger_transfers.c
    total = sa.func.sum(columns.amount_fen).label("fen")
    chosen = sa.select(columns.debit, columns.credit, columns.reason, sa.func.count().label("times"), total)
    touched = sa.or_(columns.debit.startswith("seller:"), columns.credit.startswith("seller:"))
    chosen = chosen.where(
        columns.happened_at >= start,
        columns.happened_at < end,
        columns.kind.in_(("posted", "settle")),
        touched,
    )
    grouped = chosen.group_by(columns.debit, columns.credit, columns.reason)
    return [dict(row) for row in connection.execute(grouped).mappings()]


_OF = {
    (bookings.FEE, "debit"): ("fees_fen", 1),
    (bookings.LOGISTICS_FEE, "debit"): ("fees_fen", 1),
    (bookings.SET_ASIDE, "debit"): ("tax_set_aside_fen", 1),
    (bookings.CONFIRM, "debit"): ("paid_fen", 1),
    (bookings.BUY, "credit"): ("income_fen", 1),
    (bookings.COMPENSATE, "credit"): ("income_fen", 1),
    (f"{CORRECT}{bookings.BUY}", "debit"): ("taken_back_fen", 1),
    (f"{CORRECT}{bookings.FEE}", "credit"): ("fees_fen", -1),
    (f"{CORRECT}{bookings.LOGISTICS_FEE}", "credit"): ("fees_fen", -1),
    (f"{CORRECT}{bookings.SET_ASIDE}", "credit"): ("tax_set_aside_fen", -1),
    (f"{CORRECT}{bookings.CONFIRM}", "credit"): ("paid_fen", -1),
}
"""Operation and side of the seller's account -> what it counts to."""


def _count(found: dict[str, int], row: Mapping[str, Any], side: str) -> None:
    name, sign = _OF.get((row["reason"], side), ("", 0))
    if name:
        found[name] = found.get(name, 0) + sign * int(row["fen"])
    if (row["reason"], side) == (bookings.BUY, "credit"):
        found["trades"] = found.get("trades", 0) + int(row["times"])


def _plain(reference: str) -> str:
    """A reference that no spreadsheet takes for a formula."""
    return f"'{reference}" if reference[:1] in ("=", "+", "-", "@", "\t") else reference
