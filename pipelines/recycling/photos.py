"""Cards submitted by photo: a reading, its codes straight into the vault, and the submission that its seller confirms.

The picture itself is not kept: its SHA-256 stands in the evidence, and who confirms a card has it. What was read is
kept for ``LIVES`` and then destroyed, whether it was confirmed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa

from features.china import CHINA
from pipelines.application_data import UtcTime, metadata
from pipelines.recycling.confirming import ConfirmedCard, SellerSays, confirm
from pipelines.recycling.intake import Intake, Offered
from pipelines.recycling.photo_readers import PhotoReaders
from pipelines.recycling.proposal_plain import codes_of, proposal_of, with_codes, without_codes
from pipelines.recycling.vault import CardShredded

Row = Mapping[str, Any]
Seal = Literal["intact", "opened", "none"]

LIVES = timedelta(hours=24)
"""How long a reading waits for its seller."""

BRAND = "photo"
"""What the vault knows a reading as. Its number is the reading's id: nothing tells whether a card was seen before."""

AT_ONCE = 20

photos = sa.Table(
    "recycling_photos",
    metadata,
    sa.Column("photo_id", sa.String(40), primary_key=True),
    sa.Column("client_id", sa.String(128), nullable=False),
    sa.Column("card_id", sa.String(64), nullable=False),
    sa.Column("read", sa.JSON, nullable=False),
    sa.Column("read_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False, index=True),
    sa.Column("submission_id", sa.String(40), nullable=False),
)
"""Readings of photos without their codes. card_id: of the codes in the vault; submission_id: empty until confirmed."""


class PhotoUnknown(LookupError):
    """There is no reading of this id, or it is another client's, or its time is over."""


@dataclass(frozen=True)
class PhotoRead:
    """A reading. said: as :func:`pipelines.recycling.proposal_plain.plain` tells it, codes open: for its submitter."""

    photo_id: str
    expires_at: datetime
    said: Mapping[str, Any]


@dataclass(frozen=True)
class Confirmation:
    """What the seller says of the card, and who sells it. asked: card and seller as the pricing API takes them. seal:
    whether the cover of the secret was intact when the photo was made; none: the card has none."""

    said: SellerSays
    offered: Offered
    seal: Seal


@dataclass(frozen=True)
class PhotoDesk:
    """Readings on the application database, their codes in the vault."""

    intake: Intake
    readers: PhotoReaders
    clock: Callable[[], datetime]

    def read(self, content: bytes, *, by: str) -> PhotoRead:
        """Read a photo and keep what was read for its seller. Raises PhotoRefused, PhotosBusy."""
        now = self.clock()
        self.drop_overdue(now=now)
        said = self.readers.read(content, today=now.astimezone(CHINA).date())
        photo_id = f"p-{uuid4().hex}"
        fen = proposal_of(said).face_value_fen
        ref = self.intake.vault.store(
            trade_id=photo_id,
            number=photo_id,
            secret=json.dumps(codes_of(said), separators=(",", ":"), ensure_ascii=False),
            brand=BRAND,
            face_value_fen=fen or 0,
            actor=by,
            now=now,
        )
        row: dict[str, Any] = {"photo_id": photo_id, "client_id": by, "card_id": ref.card_id}
        row |= {"read": without_codes(said), "read_at": now, "expires_at": now + LIVES, "submission_id": ""}
        with self.intake.engine.begin() as connection:
            connection.execute(sa.insert(photos).values(row))
        return PhotoRead(photo_id, row["expires_at"], said)

    def confirm(self, photo_id: str, confirmation: Confirmation, *, by: str) -> Row:
        """Open the submission of a card as its seller says it is; again it is the same submission. What was read is
        destroyed then. Raises PhotoUnknown, NotConfirmed, IntakeRefused."""
        now, offered = self.clock(), confirmation.offered
        row = self._row(photo_id, by=by, now=now)
        card = self._confirmed(row, confirmation.said)
        submission_id = row["submission_id"] or offered.submission_id or f"r-{photo_id[2:]}"
        sold = Offered(
            number=card.said.number,
            secret=card.said.secret,
            asked=offered.asked,
            payee_ref=offered.payee_ref,
            channel=offered.channel,
            submission_id=submission_id,
        )
        trade = self.intake.submit(sold, by=by)
        if not row["submission_id"]:
            self._keep(row, trade, card, seal=confirmation.seal, by=by, now=now)
        self.intake.vault.shred(row["card_id"], actor=by, now=now)
        return trade

    def _row(self, photo_id: str, *, by: str, now: datetime) -> Row:
        with self.intake.engine.connect() as connection:
            chosen = sa.select(photos).where(photos.c.photo_id == photo_id, photos.c.client_id == by)
            row = connection.execute(chosen).mappings().first()
        if row is None or (row["expires_at"] <= now and not row["submission_id"]):
            raise PhotoUnknown(photo_id)
        return dict(row)

    def _confirmed(self, row: Row, said: SellerSays) -> ConfirmedCard:
        """Raises NotConfirmed."""
        try:
            kept = self.intake.vault.use(row["card_id"], step="confirm_photo", now=self.clock())
            codes = json.loads(kept.secret.open())
        except (
            CardShredded
        ):  # confirmed before: what was read is gone, and what was corrected is in the evidence
            codes = {"number": "", "secret": ""}
        proposal = proposal_of(with_codes(row["read"], codes))
        return confirm(proposal, said=said, catalogue=self.intake.catalogue)

    def _keep(self, row: Row, trade: Row, card: ConfirmedCard, *, seal: Seal, by: str, now: datetime) -> None:
        submission_id, book = trade["submission_id"], self.intake.book
        told = {"photo_id": row["photo_id"], "photo_sha256": card.photo_sha256, "seal": seal}
        doubts = {
            name: list(item["doubts"])
            for name, item in row["read"].items()
            if isinstance(item, dict) and item["doubts"]
        }
        with self.intake.engine.begin() as connection:
            book.evidence.append(
                connection,
                kind="photo_confirmed",
                subject=submission_id,
                payload=told | {"corrected": list(card.corrected), "doubts": _named(doubts)},
                actor=by,
                source=book.source,
                at=now,
            )
            same = photos.c.photo_id == row["photo_id"]
            connection.execute(sa.update(photos).where(same).values(submission_id=submission_id))

    def drop_overdue(self, *, now: datetime) -> int:
        """Destroy readings whose time is over, some at a time; how many."""
        old = sa.select(photos.c.photo_id, photos.c.card_id).where(photos.c.expires_at <= now).limit(AT_ONCE)
        with self.intake.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(old)]
        for _, card_id in found:
            self.intake.vault.shred(card_id, actor="retention", now=now)
        if found:
            with self.intake.engine.begin() as connection:
                gone = photos.c.photo_id.in_([photo_id for photo_id, _ in found])
                connection.execute(sa.delete(photos).where(gone))
        return len(found)


def _named(doubts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Doubts under names that do not look like a card's secret, which the evidence refuses."""
    return {("code" if name == "secret" else name): found for name, found in doubts.items()}
