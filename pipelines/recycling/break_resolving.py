"""What does not agree with a provider's statement, settled by two people: a booked correction and the reason for it.

The correction brings the channel's cash to what the provider says; its other side is ``suspense`` until it is
explained, or ``losses`` where it is known to be gone. One person proposes, another one who says the same books it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata
from pipelines.recycling.accounts import LOSSES, SUSPENSE, Channel, cash
from pipelines.recycling.ledger import post
from pipelines.recycling.ledger_model import Transfer
from pipelines.recycling.ledger_tables import ledger_transfers
from pipelines.recycling.payout_tables import payout_breaks, read_payout

Row = Mapping[str, Any]
Target = Literal["suspense", "losses"]

resolutions = sa.Table(
    "payout_break_resolutions",
    metadata,
    sa.Column("channel", sa.String(16), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("payout_id", sa.String(128), primary_key=True),
    sa.Column("ours_fen", sa.BigInteger, nullable=False),
    sa.Column("theirs_fen", sa.BigInteger, nullable=False),
    sa.Column("target", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("proposed_by", sa.String(128), nullable=False),
    sa.Column("proposed_at", UtcTime, nullable=False),
    sa.Column("approved_by", sa.String(128), nullable=False),
    sa.Column("approved_at", UtcTime, nullable=True),
)
"""One row a break that somebody proposed to settle; approved_at: it is booked."""


class BreakRefused(ValueError):
    """A break cannot be settled so; ``code`` is stable: break_not_found, second_person, payout_open, bad_target."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class BreakId:
    """Which break, as ``huika books breaks`` lists it: ``alipay/2026-10-03/duplicate/PAYOUT``."""

    channel: str
    day: str
    kind: str
    payout_id: str

    @classmethod
    def parse(cls, text: str) -> BreakId:
        """Raises BreakRefused."""
        parts = text.split("/", 3)
        if len(parts) != 4 or not all(parts):
            raise BreakRefused("break_not_found", "a break is named channel/day/kind/payout")
        return cls(*parts)

    @property
    def text(self) -> str:
        return f"{self.channel}/{self.day}/{self.kind}/{self.payout_id}"

    def of(self, table: sa.Table) -> sa.ColumnElement[bool]:
        """Its row in a table."""
        return sa.and_(*(table.c[name] == getattr(self, name) for name in BreakId.__dataclass_fields__))


def break_id_of(row: Row) -> BreakId:
    return BreakId(*(row[name] for name in BreakId.__dataclass_fields__))


def settle_break(
    connection: sa.Connection, which: BreakId, *, target: Target, reason: str, by: str, now: datetime
) -> bool:
    """Propose, or as the second person who says the same book the correction and close the break; whether it is done.

    Another target than was proposed is a new proposal. Raises BreakRefused, LedgerRefusal."""
    found = connection.execute(sa.select(payout_breaks).where(which.of(payout_breaks))).mappings().first()
    if found is None or found["closed_at"] is not None:
        raise BreakRefused("break_not_found", "there is no open break of this name")
    row: Row = dict(found)
    transfers = _correction(connection, row, which, target)
    proposed = connection.execute(sa.select(resolutions).where(which.of(resolutions))).mappings().first()
    figures = {"target": target, "ours_fen": row["ours_fen"], "theirs_fen": row["theirs_fen"]}
    if proposed is None or any(proposed[name] != value for name, value in figures.items()):
        _propose(connection, which, figures, reason=reason, by=by, now=now)
        return False
    if proposed["proposed_by"] == by:
        raise BreakRefused("second_person", "somebody else must agree")
    post(connection, transfers, now=now)
    agreed = {"approved_by": by, "approved_at": now}
    connection.execute(sa.update(resolutions).where(which.of(resolutions)).values(agreed))
    connection.execute(sa.update(payout_breaks).where(which.of(payout_breaks)).values(closed_at=now))
    return True


def settled_before(connection: sa.Connection, which: BreakId, *, ours_fen: int, theirs_fen: int) -> bool:
    """Whether two people settled this break with these figures: a later look at the same statement opens it no more."""
    chosen = sa.select(resolutions.c.approved_at).where(
        which.of(resolutions),
        resolutions.c.ours_fen == ours_fen,
        resolutions.c.theirs_fen == theirs_fen,
        resolutions.c.approved_at.is_not(None),
    )
    return connection.execute(chosen).first() is not None


def proposals(connection: sa.Connection) -> dict[str, Row]:
    """What was proposed and not agreed to, by the break's name."""
    chosen = sa.select(resolutions).where(resolutions.c.approved_at.is_(None))
    return {break_id_of(dict(row)).text: dict(row) for row in connection.execute(chosen).mappings()}


def _propose(
    connection: sa.Connection, which: BreakId, figures: Row, *, reason: str, by: str, now: datetime
) -> None:
    connection.execute(sa.delete(resolutions).where(which.of(resolutions)))
    row = {name: getattr(which, name) for name in BreakId.__dataclass_fields__} | dict(figures)
    row |= {"reason": reason, "proposed_by": by, "proposed_at": now, "approved_by": "", "approved_at": None}
    connection.execute(sa.insert(resolutions).values(row))


def _correction(connection: sa.Connection, row: Row, which: BreakId, target: Target) -> list[Transfer]:
    """Brings the cash to what the provider says. Raises BreakRefused."""
    ours = row["ours_fen"]
    if row["kind"] == "state_differs":
        payout = read_payout(connection, row["payout_id"])
        if payout is not None and payout["state"] != "failed":
            raise BreakRefused("payout_open", "the payout has not ended here: its next look books it")
        ours = 0  # a failed payout's money came back in our books
    gone = row["theirs_fen"] - ours - _booked(connection, which)
    channel: Channel = which.channel  # pyright: ignore[reportAssignmentType]
    other = SUSPENSE if target == "suspense" else LOSSES
    if not gone:
        return []
    if gone < 0 and target == "losses":
        raise BreakRefused("bad_target", "money that is still here is no loss")
    name = f"break/{which.text}/{row['ours_fen']}/{row['theirs_fen']}"
    sides = (other, cash(channel)) if gone > 0 else (cash(channel), other)
    return [Transfer(name, "settle_break", abs(gone), *sides)]


def _booked(connection: sa.Connection, which: BreakId) -> int:
    """What was booked out of the channel's cash for this break before, when its figures were others."""
    columns, held = ledger_transfers.c, f"cash:{which.channel}"
    gone = sa.case((columns.credit == held, columns.amount_fen), else_=-columns.amount_fen)
    own = columns.transfer_id.startswith(f"break/{which.text}/", autoescape=True)
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(gone), 0)).where(own)).scalar_one())
