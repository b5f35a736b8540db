"""The carrier's bill against what it asked when each label was ordered, and what sellers paid for their labels.

A line that agrees is booked: what the seller's postage does not cover is the platform's. One that does not agree waits
for a person. A parcel is booked once, whatever bills name it. Lines of trades that may still be settled wait until they
are over, since the postage comes out of the seller's payout only then.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata
from pipelines.recycling import bookings
from pipelines.recycling.accounts import CARRIAGE, LOGISTICS, Channel
from pipelines.recycling.ledger import post, transfers_of
from pipelines.recycling.ledger_model import Transfer
from pipelines.recycling.states import STATES
from pipelines.recycling.trade_tables import submissions

Verdict = Literal["booked", "booked_before", "unknown_parcel", "other_fee", "twice", "too_early"]
WORDS: dict[Verdict, tuple[str, str]] = {
    "booked": ("已入账", "booked"),
    "booked_before": ("此前已入账", "booked before"),
    "unknown_parcel": ("非我方寄件", "no parcel of ours"),
    "other_fee": ("与下单时报价不符", "not what was asked when it was ordered"),
    "twice": ("重复计费", "billed on another invoice already"),
    "too_early": ("交易未结束", "its trade may still be settled"),
}
OPEN: tuple[Verdict, ...] = ("unknown_parcel", "other_fee", "twice", "too_early")
OVER = (
    *(state.code for state in STATES.values() if state.is_end),
    "paid",
    "disputed",
    "paying",
    "payout_failed",
)

carrier_lines = sa.Table(
    "carrier_bill_lines",
    metadata,
    sa.Column("shipment_id", sa.String(64), primary_key=True),
    sa.Column("invoice", sa.String(64), nullable=False, index=True),
    sa.Column("submission_id", sa.String(40), nullable=False),
    sa.Column("asked_fen", sa.BigInteger, nullable=False),
    sa.Column("billed_fen", sa.BigInteger, nullable=False),
    sa.Column("postage_fen", sa.BigInteger, nullable=False),
    sa.Column("accepted_by", sa.String(128), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""Parcels that were booked. asked_fen: what the carrier asked at the order; postage_fen: what the seller's postage
covers; accepted_by: who accepted another fee, empty where it was the same."""


class BillError(ValueError):
    """A bill cannot be read; the message names the line."""


@dataclass(frozen=True)
class BillLine:
    """One parcel on a bill."""

    shipment_id: str
    fee_fen: int


@dataclass(frozen=True)
class Judged:
    """A line and what became of it; asked_fen: of our order, 0 where there is none."""

    line: BillLine
    verdict: Verdict
    asked_fen: int = 0


def parse_bill(text: str) -> list[BillLine]:
    """CSV with ``shipment_id`` and ``fee_fen`` or ``fee_cny``. Raises BillError; nothing is read in part."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    names = set(reader.fieldnames or ())
    if "shipment_id" not in names or not names & {"fee_fen", "fee_cny"}:
        raise BillError("the columns shipment_id and fee_fen or fee_cny are expected")
    return [_line(number, row) for number, row in enumerate(reader, start=2)]


def _line(number: int, row: Mapping[str, str | None]) -> BillLine:
    name, factor = ("fee_fen", 1) if row.get("fee_fen") else ("fee_cny", 100)
    shipment_id = (row.get("shipment_id") or "").strip()
    try:
        fen = Decimal((row.get(name) or "").strip()) * factor
    except InvalidOperation:
        raise BillError(f"line {number}: {name} is not a number") from None
    if not 0 < len(shipment_id) <= 64:
        raise BillError(f"line {number}: shipment_id must be 1 to 64 characters")
    if not fen.is_finite() or fen != fen.to_integral_value() or not 0 < fen < 10**9:
        raise BillError(f"line {number}: {name} must be above zero and whole in fen")
    return BillLine(shipment_id, int(fen))


def book_bill(
    connection: sa.Connection,
    lines: Sequence[BillLine],
    *,
    invoice: str,
    now: datetime,
    accept: Sequence[str] = (),
    by: str = "",
) -> list[Judged]:
    """Book what agrees, in the order of the bill. accept: parcels whose other fee a person (by) accepts. Again with the
    same bill: what was booked before stays as it is."""
    return [
        _booked(
            connection, line, invoice=invoice, now=now, accepted_by=by if line.shipment_id in accept else ""
        )
        for line in lines
    ]


def pay_carrier(
    connection: sa.Connection, *, invoice: str, channel: Channel, now: datetime
) -> tuple[int, bool]:
    """Book that an invoice's booked parcels were paid: how much, and whether it is new. Raises LedgerRefusal."""
    own = carrier_lines.c.invoice == invoice
    owed = connection.execute(sa.select(sa.func.sum(carrier_lines.c.billed_fen)).where(own)).scalar() or 0
    if not owed:
        return 0, False
    paid = bookings.pay_carrier(transfer_id=f"carrier/{invoice}", channel=channel, amount_fen=int(owed))
    return int(owed), post(connection, paid, now=now) == "posted"


def _booked(
    connection: sa.Connection, line: BillLine, *, invoice: str, now: datetime, accepted_by: str
) -> Judged:
    before = connection.execute(
        sa.select(carrier_lines).where(carrier_lines.c.shipment_id == line.shipment_id)
    )
    known = before.mappings().first()
    if known is not None:
        return Judged(line, "booked_before" if known["invoice"] == invoice else "twice", known["asked_fen"])
    row, asked = _parcel(connection, line.shipment_id)
    if row is None:
        return Judged(line, "unknown_parcel")
    if row["state"] not in OVER:
        return Judged(line, "too_early", asked)
    if line.fee_fen != asked and not accepted_by:
        return Judged(line, "other_fee", asked)
    postage = min(line.fee_fen, _postage_left(connection, row["submission_id"]))
    transfers = _carriage(line, row["submission_id"], postage_fen=postage)
    post(connection, transfers, now=now)
    kept = {"shipment_id": line.shipment_id, "invoice": invoice, "submission_id": row["submission_id"]}
    kept |= {"asked_fen": asked, "billed_fen": line.fee_fen, "postage_fen": postage}
    kept |= {"accepted_by": accepted_by if line.fee_fen != asked else "", "at": now}
    connection.execute(sa.insert(carrier_lines).values(kept))
    return Judged(line, "booked", asked)


def _carriage(line: BillLine, trade_id: str, *, postage_fen: int) -> list[Transfer]:
    """What the carrier is owed beyond the postage."""
    rest = line.fee_fen - postage_fen
    if not rest:
        return []
    name = f"carrier/{line.shipment_id}"
    return [Transfer(name, "carrier_fee", rest, CARRIAGE, LOGISTICS, trade_id=trade_id)]


def _parcel(connection: sa.Connection, shipment_id: str) -> tuple[Mapping[str, Any] | None, int]:
    """The trade of a parcel and what the carrier asked for it."""
    trade_id = shipment_id.rpartition("-in")[0] or shipment_id.rpartition("-back")[0]
    chosen = sa.select(submissions).where(submissions.c.submission_id == trade_id)
    row = connection.execute(chosen).mappings().first()
    if row is None:
        return None, 0
    for name in ("shipment", "return"):
        parcel = row["facts"].get(name) or {}
        if parcel.get("shipment_id") == shipment_id:
            return dict(row), parcel.get("carrier_fee_fen") or 0
    return None, 0


def _postage_left(connection: sa.Connection, trade_id: str) -> int:
    """What the seller paid for labels and no parcel has used yet."""
    paid = sum(
        item["amount_fen"]
        for item in transfers_of(connection, trade_id=trade_id)
        if item["reason"] == bookings.LOGISTICS_FEE and item["kind"] == "posted"
    )
    own = carrier_lines.c.submission_id == trade_id
    used = connection.execute(sa.select(sa.func.sum(carrier_lines.c.postage_fen)).where(own)).scalar() or 0
    return paid - int(used)
