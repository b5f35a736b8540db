"""What sellers do: submit a card, accept or decline its quote, take it back, ask again, ask for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from features.catalogue import Catalogue
from pipelines.databases import reading
from pipelines.group_commit import GroupCommit
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.wallets import WALLET, wallet_number
from pipelines.recycling.formats import check_number, check_secret
from pipelines.recycling.policy import Name
from pipelines.recycling.secret import Secret
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.trades import Step, TradeBook, UnknownSubmission
from pipelines.recycling.vault import DuplicateCard, SecretDiffers, Vault

Row = Mapping[str, Any]

BY_TRANSFER = "by transfer"
"""Stands in the vault where a wallet balance has no secret."""


class IntakeRefused(ValueError):
    """A submission or a wish of the seller cannot be taken; ``code`` is stable, ``field`` names what is wrong."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field


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
        known = self._known(submission_id)
        if known is not None:
            return self._same(known, offered)
        card_type = offered.asked["card"]["card_type"]
        now = self.clock()
        number, secret = offered.codes(submission_id)
        try:
            ref = self.vault.store(
                trade_id=submission_id,
                number=number.open(),
                secret=secret.open(),
                brand=card_type,
                face_value_fen=offered.asked["card"]["face_value"]["amount_fen"],
                actor=by,
                now=now,
                accepted_duplicates=self._over(card_type, number),
            )
        except DuplicateCard:
            raise IntakeRefused("card_known", "this card is in another trade", field="number") from None
        except SecretDiffers:
            raise IntakeRefused(
                "submission_reused", "this submission holds the card with another secret"
            ) from None
        card = {**offered.asked["card"], "card_fingerprint": ref.blind_index}
        row = {
            "submission_id": submission_id,
            "profile": self.profile,
            "client_id": by,
            "seller_id": offered.asked["seller"]["seller_id"],
            "card_id": ref.card_id,
            "fingerprint": ref.blind_index,
            "channel": offered.channel,
            "payee_ref": offered.payee_ref,
            "asked": {**offered.asked, "card": card},
        }

        def add(connection: sa.Connection) -> Row:
            self.book.add(connection, row, by=by, now=now)
            return self.book.read(connection, submission_id)

        return self._commits.run(add)

    def _known(self, submission_id: str) -> Row | None:
        with self._reader.connect() as connection:
            try:
                return self.book.read(connection, submission_id)
            except UnknownSubmission:
                return None

    def _same(self, known: Row, offered: Offered) -> Row:
        number, _ = offered.codes(known["submission_id"])
        index = self.vault.blind_index(offered.asked["card"]["card_type"], number.open())
        card = {**offered.asked["card"], "card_fingerprint": index}
        if known["asked"] != {**offered.asked, "card": card} or known["payee_ref"] != offered.payee_ref:
            raise IntakeRefused("submission_reused", "this submission_id came with another card before")
        return known

    def _over(self, card_type: str, number: Secret) -> list[str]:
        """Trades of the same card that ended without buying it: it may be offered again."""
        index = self.vault.blind_index(card_type, number.open())
        ended = ("declined", "lapsed", "cancelled")
        chosen = sa.select(submissions.c.submission_id).where(
            submissions.c.fingerprint == index, submissions.c.state.in_(ended)
        )
        with self._reader.connect() as connection:
            return list(connection.execute(chosen).scalars())

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

        def check(row: Row) -> dict[str, Any]:
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
        return self._wish(submission_id, "submitted", "asks_again", by=by, check=_still_here)

    def ask_person(self, submission_id: str, *, by: str) -> Row:
        """A person's review of a refusal."""
        return self._wish(submission_id, "person_needed", "asks_for_review", by=by, check=_still_here)

    def _wish(
        self,
        submission_id: str,
        target: str,
        why: str,
        *,
        by: str,
        check: Callable[[Row], dict[str, Any]] = lambda row: {},
        repeats: tuple[str, ...] = (),
    ) -> Row:
        def wish(connection: sa.Connection) -> Row:
            row = self.book.read(connection, submission_id)
            if row["state"] == target or row["state"] in repeats:
                return row
            step = Step(target, "seller", by, why, check(row), {"quote_id": row["quote_id"]})
            return self.book.move(connection, row, step, now=self.clock())

        return self._commits.run(wish)


def _still_here(row: Row) -> dict[str, Any]:
    """Raises IntakeRefused for a card that is on its way back to its seller."""
    if row["facts"].get("return"):
        raise IntakeRefused("sent_back", "the card is on its way back; submit it anew")
    return {}
