"""What sellers do: submit a card, accept or decline its quote, take it back, ask again, ask for a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.catalogue import Catalogue
from pipelines.databases import reading
from pipelines.group_commit import GroupCommit
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.wallets import WALLET, wallet_number
from pipelines.recycling.card_again import decide_alone, is_held, rests_until
from pipelines.recycling.formats import check_number, check_secret
from pipelines.recycling.policy import Name
from pipelines.recycling.secret import Secret
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.trades import Step, TradeBook, UnknownSubmission
from pipelines.recycling.vault import SecretDiffers, Vault

Row = Mapping[str, Any]

BY_TRANSFER = "by transfer"
"""Stands in the vault where a wallet balance has no secret."""


class IntakeRefused(ValueError):
    """A submission or a wish of the seller cannot be taken; ``code`` is stable, ``field`` names what is wrong.
    wait_seconds: after how long it could be, 0 where waiting changes nothing."""

    def __init__(self, code: str, message: str, *, field: str = "", wait_seconds: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.wait_seconds = wait_seconds


def _reused() -> IntakeRefused:
    return IntakeRefused("submission_reused", "this submission_id came with another content before")


@dataclass(frozen=True)
class Offered:
    """A card as its seller submits it. asked: card and seller as the pricing API takes them, with nothing secret.
    payee_ref: whom to pay, as the payout provider knows the seller; never an account number. wallet_ref: of a wallet
    balance, which has neither number nor secret: the wallet that will transfer it, as its provider knows it."""

    number: Secret
    secret: Secret
    asked: Mapping[str, Any]
    payee_ref: str
    channel: Channel
    submission_id: str = ""
    wallet_ref: str = ""

    def codes(self, submission_id: str) -> tuple[Secret, Secret]:
        """What the vault keeps: number and secret, or what stands in their place."""
        if self.wallet_ref:
            return Secret(wallet_number(self.wallet_ref, submission_id)), Secret(BY_TRANSFER)
        return self.number, self.secret


@dataclass(frozen=True)
class Intake:
    """Takes what sellers do to the book. engine: the application database."""

    engine: sa.Engine
    book: TradeBook
    vault: Vault
    catalogue: Catalogue
    profile: Name
    clock: Callable[[], datetime]
    _commits: GroupCommit = field(init=False, repr=False)
    _reader: sa.Engine = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_commits", GroupCommit(self.engine))
        object.__setattr__(self, "_reader", reading(self.engine))

    def submit(self, offered: Offered, *, by: str) -> Row:
        """Keep the card in the vault and the submission in the book. Under the same ``submission_id`` the same again is
        the same submission. Raises IntakeRefused."""
        submission_id = offered.submission_id or f"r-{uuid4().hex}"
        self._check_format(offered)
        number, secret = offered.codes(submission_id)
        card_type = offered.asked["card"]["card_type"]
        index = self.vault.blind_index(card_type, number.open())
        row = {
            "submission_id": submission_id,
            "profile": self.profile,
            "client_id": by,
            "seller_id": offered.asked["seller"]["seller_id"],
            "fingerprint": index,
            "channel": offered.channel,
            "payee_ref": offered.payee_ref,
            "asked": {**offered.asked, "card": {**offered.asked["card"], "card_fingerprint": index}},
        }
        now = self.clock()
        with self._reader.connect() as connection:
            known = self._known(connection, row, secret)
            if known is not None:
                return known
            self._check_free(connection, index, submission_id, now=now)
        try:
            ref = self.vault.store(
                trade_id=submission_id,
                number=number.open(),
                secret=secret.open(),
                brand=card_type,
                face_value_fen=offered.asked["card"]["face_value"]["amount_fen"],
                actor=by,
                now=now,
            )
        except SecretDiffers:
            raise _reused() from None
        try:
            return self._add(row | {"card_id": ref.card_id}, secret, now=now)
        except IntakeRefused:  # somebody was quicker
            if not self._is_used(submission_id, ref.card_id):
                self.vault.shred(ref.card_id, actor=by, now=now)
            raise

    def _is_used(self, submission_id: str, card_id: str) -> bool:
        """Whether the trade has this card of the vault: of two requests that differ in the payee alone one may have
        been taken."""
        chosen = sa.select(submissions.c.card_id).where(submissions.c.submission_id == submission_id)
        with self._reader.connect() as connection:
            return connection.execute(chosen).scalar() == card_id

    def _add(self, row: Row, secret: Secret, *, now: datetime) -> Row:
        """The new trade, or the same one that came at the same time. Raises IntakeRefused."""

        def add(connection: sa.Connection) -> Row:
            decide_alone(connection, row["fingerprint"])
            self._check_free(connection, row["fingerprint"], row["submission_id"], now=now)
            self.book.add(connection, row, by=row["client_id"], now=now)
            return self.book.read(connection, row["submission_id"])

        try:
            return self._commits.run(add)
        except IntegrityError:
            with self._reader.connect() as connection:
                known = self._known(connection, row, secret)
            if known is None:
                raise
            return known

    def _known(self, connection: sa.Connection, row: Row, secret: Secret) -> Row | None:
        """The trade that has this id, None where none has. Raises IntakeRefused where anything in it is another."""
        try:
            known = self.book.read(connection, row["submission_id"])
        except UnknownSubmission:
            return None
        names = ("client_id", "fingerprint", "channel", "payee_ref", "asked")
        if any(known[name] != row[name] for name in names) or not self.vault.holds(known["card_id"], secret):
            raise _reused()
        return known

    def _check_free(
        self, connection: sa.Connection, fingerprint: str, submission_id: str, *, now: datetime
    ) -> None:
        """Raises IntakeRefused where this submission cannot have the card."""
        if is_held(connection, fingerprint, apart_from=submission_id):
            raise IntakeRefused("card_known", "this card is in another trade", field="number")
        until = rests_until(connection, fingerprint, now=now)
        if until is not None:
            raise IntakeRefused(
                "too_many_wrong_secrets",
                "this card came with a wrong secret too often; it rests for a day",
                field="secret",
                wait_seconds=math.ceil((until - now).total_seconds()),
            )

    def _check_format(self, offered: Offered) -> None:
        card_type = self.catalogue.types.get(offered.asked["card"]["card_type"])
        if card_type is None:
            raise IntakeRefused(
                "unknown_card_type", "this card type is not in the catalogue", field="card_type"
            )
        is_wallet = card_type.category == WALLET
        if is_wallet != bool(offered.wallet_ref):
            raise IntakeRefused(
                "wallet_ref_missing" if is_wallet else "no_wallet",
                "a wallet balance, and nothing else, is sold by naming its wallet",
                field="wallet_ref",
            )
        if is_wallet:
            return
        for name, found in (
            ("number", check_number(offered.number.open(), card=card_type)),
            ("secret", check_secret(offered.secret.open(), card=card_type)),
        ):
            if found.problem is not None:
                raise IntakeRefused(
                    f"{name}_{found.problem}", f"the {name} cannot be one of this card type", field=name
                )

    # --- what else a seller may do

    def accept(self, submission_id: str, *, quote_id: str, by: str) -> Row:
        """Accept the quote. Raises IntakeRefused where it is another one or no longer valid."""

        def check(connection: sa.Connection, row: Row) -> dict[str, Any]:
            if row["quote_id"] != quote_id:
                raise IntakeRefused(
                    "quote_replaced", "a newer quote was given for this card", field="quote_id"
                )
            if row["valid_until"] is None or row["valid_until"] < self.clock():
                raise IntakeRefused("quote_expired", "the quote is no longer valid; ask again")
            first = row["first_payout_fen"] or row["payout_fen"]
            return {"first_payout_fen": first}

        return self._wish(
            submission_id, "accepted", "accepted", by=by, check=check, repeats=("accepted", "frozen")
        )

    def decline(self, submission_id: str, *, by: str) -> Row:
        return self._wish(submission_id, "declined", "declined", by=by)

    def cancel(self, submission_id: str, *, by: str) -> Row:
        return self._wish(submission_id, "cancelled", "taken_back", by=by)

    def ask_again(self, submission_id: str, *, by: str) -> Row:
        """A new quote in place of one that lapsed."""
        return self._wish(submission_id, "submitted", "asks_again", by=by, check=self._still_here)

    def ask_person(self, submission_id: str, *, by: str) -> Row:
        """A person's review of a refusal."""
        return self._wish(submission_id, "person_needed", "asks_for_review", by=by, check=self._still_here)

    def _wish(
        self,
        submission_id: str,
        target: str,
        why: str,
        *,
        by: str,
        check: Callable[[sa.Connection, Row], dict[str, Any]] = lambda connection, row: {},
        repeats: tuple[str, ...] = (),
    ) -> Row:
        def wish(connection: sa.Connection) -> Row:
            row = self.book.read(connection, submission_id)
            if row["state"] == target or row["state"] in repeats:
                return row
            step = Step(target, "seller", by, why, check(connection, row), {"quote_id": row["quote_id"]})
            return self.book.move(connection, row, step, now=self.clock())

        return self._commits.run(wish)

    def _still_here(self, connection: sa.Connection, row: Row) -> dict[str, Any]:
        """Raises IntakeRefused for a card that is on its way back to its seller, or was offered anew meanwhile."""
        if row["facts"].get("return"):
            raise IntakeRefused("sent_back", "the card is on its way back; submit it anew")
        decide_alone(connection, row["fingerprint"])
        if is_held(connection, row["fingerprint"], apart_from=row["submission_id"]):
            raise IntakeRefused("card_known", "this card is in another trade")
        return {}
