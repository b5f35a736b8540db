"""Looking at a card's secret with two people: one asks and says why, another one agrees, and the first looks, once.

Each of the three is a row's step, an entry of the vault's audit or the service's, and the look itself a leaf of the
evidence log (through the vault). Nothing here holds a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata
from pipelines.recycling.trades import TradeBook
from pipelines.recycling.vault import CardSecrets, Vault
from pipelines.recycling.vault_rules import REVEALING_ROLES

Row = Mapping[str, Any]
State = Literal["waiting", "approved", "shown", "expired"]

LIVES = timedelta(minutes=15)
"""From the question to the look."""
MOST_LISTED = 100

reveals = sa.Table(
    "recycling_reveals",
    metadata,
    sa.Column("reveal_id", sa.String(40), primary_key=True),
    sa.Column("submission_id", sa.String(40), nullable=False, index=True),
    sa.Column("card_id", sa.String(64), nullable=False),
    sa.Column("asked_by", sa.String(128), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False, index=True),
    sa.Column("approved_by", sa.String(128), nullable=False),
    sa.Column("approved_at", UtcTime, nullable=True),
    sa.Column("shown_at", UtcTime, nullable=True),
)


class RevealUnknown(LookupError):
    """There is no such question."""


class RevealNotNow(RuntimeError):
    """What was asked cannot be done; ``code`` is stable: own_request, not_yours, not_approved, already_shown, expired,
    already_approved."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def state_of(row: Row, *, now: datetime) -> State:
    """How a question stands."""
    if row["shown_at"] is not None:
        return "shown"
    if row["expires_at"] <= now:
        return "expired"
    return "waiting" if row["approved_at"] is None else "approved"


@dataclass(frozen=True)
class Reveals:
    """Questions on the application database, about cards in the vault."""

    engine: sa.Engine
    book: TradeBook
    vault: Vault
    clock: Callable[[], datetime]

    def ask(self, submission_id: str, *, by: str, roles: frozenset[str], reason: str) -> Row:
        """Ask to see the secret of a trade's card. Raises UnknownSubmission, RevealRefused, and VaultRefusal where the
        card was destroyed."""
        with self.engine.connect() as connection:
            trade = self.book.read(connection, submission_id)
        self.vault.check_reason(trade["card_id"], reason)
        now = self.clock()
        row: dict[str, Any] = {"reveal_id": f"v-{uuid4().hex}", "submission_id": submission_id}
        row |= {"card_id": trade["card_id"], "asked_by": by, "role": min(roles & REVEALING_ROLES, default="")}
        row |= {"reason": reason, "asked_at": now, "expires_at": now + LIVES}
        row |= {"approved_by": "", "approved_at": None, "shown_at": None}
        with self.engine.begin() as connection:
            connection.execute(sa.insert(reveals).values(row))
        return row

    def approve(self, reveal_id: str, *, by: str) -> Row:
        """Agree as the second person. Raises RevealUnknown, RevealNotNow."""
        now = self.clock()
        with self.engine.begin() as connection:
            row = self._open(connection, reveal_id, now=now)
            if row["asked_by"] == by:
                raise RevealNotNow("own_request", "somebody else must agree")
            if row["approved_at"] is not None:
                raise RevealNotNow("already_approved", "somebody agreed before")
            self._change(connection, row, {"approved_by": by, "approved_at": now}, before="approved_at")
        return {**row, "approved_by": by, "approved_at": now}

    def look(self, reveal_id: str, *, by: str) -> CardSecrets:
        """Show the secret to who asked, once. The question is used up before anything is opened, so that nothing is
        shown twice. Raises RevealUnknown, RevealNotNow, RevealRefused, VaultRefusal."""
        now = self.clock()
        with self.engine.begin() as connection:
            row = self._open(connection, reveal_id, now=now)
            if row["asked_by"] != by:
                raise RevealNotNow("not_yours", "only who asked may look")
            if row["approved_at"] is None:
                raise RevealNotNow("not_approved", "a second person has not agreed yet")
            self._change(connection, row, {"shown_at": now}, before="shown_at")
        return self.vault.reveal(
            row["card_id"],
            actor=by,
            role=row["role"],
            reason=row["reason"],
            now=now,
            second_actor=row["approved_by"],
        )

    def waiting(self) -> list[Row]:
        """Questions that nobody agreed to yet, oldest first."""
        chosen = sa.select(reveals).where(
            reveals.c.approved_at.is_(None), reveals.c.expires_at > self.clock()
        )
        with self.engine.connect() as connection:
            rows = connection.execute(chosen.order_by(reveals.c.asked_at).limit(MOST_LISTED)).mappings()
            return [dict(row) for row in rows]

    def _open(self, connection: sa.Connection, reveal_id: str, *, now: datetime) -> Row:
        chosen = sa.select(reveals).where(reveals.c.reveal_id == reveal_id)
        found = connection.execute(chosen).mappings().first()
        if found is None:
            raise RevealUnknown(reveal_id)
        row: Row = dict(found)
        state = state_of(row, now=now)
        if state == "shown":
            raise RevealNotNow("already_shown", "it was shown before; ask anew")
        if state == "expired":
            raise RevealNotNow("expired", "the time of this question is over; ask anew")
        return row

    def _change(self, connection: sa.Connection, row: Row, values: Mapping[str, Any], *, before: str) -> None:
        """Change the row unless somebody else did the same a moment ago."""
        same = (reveals.c.reveal_id == row["reveal_id"], reveals.c[before].is_(None))
        if connection.execute(sa.update(reveals).where(*same).values(dict(values))).rowcount != 1:
            raise RevealNotNow("already_shown" if before == "shown_at" else "already_approved", "done before")
