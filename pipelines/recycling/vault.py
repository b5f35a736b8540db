"""The vault: the only place in which card numbers and secrets (卡密) exist.

Each card is sealed with AES-256-GCM under a data key of its own, and that key is wrapped by a key-encryption key that
lies elsewhere. Both are bound to trade, card and key version: moved to another trade, nothing opens. Whoever sees a
secret leaves a row of audit first, and an entry in the evidence log through the ``on_reveal`` hook.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.application_data import one_at_a_time
from pipelines.databases import reading
from pipelines.group_commit import GroupCommit
from pipelines.recycling import vault_tables as tables
from pipelines.recycling.blind_index import BlindIndex
from pipelines.recycling.secret import Secret
from pipelines.recycling.vault_keys import NONCE_BYTES, CannotUnwrap, KeyProvider, Wrapped
from pipelines.recycling.vault_rules import (
    RevealAsked,
    RevealRefused,
    check_length,
    check_reason,
    check_reveal,
)

FORMAT = 1
"""How cards are sealed now; bound into each, so that a later way can stand beside it."""
MOST_CHARACTERS = 200
MOST_NAME = 128
FLOW_ROLE = "flow"
"""The role under which steps of the trade itself use a secret, to check or deliver it."""


class VaultRefusal(Exception):
    """The vault cannot do what was asked; the message says why and shows nothing of a card."""


class SecretDiffers(VaultRefusal):
    """The trade holds this card with another secret; shred that one first."""


class NoSuchCard(VaultRefusal):
    """There is no such card."""


class CardShredded(VaultRefusal):
    """The card's key was destroyed: nobody can read it any more."""


class CardDamaged(VaultRefusal):
    """The card does not open: it was changed, or moved to another trade, or its key is another one."""


@dataclass(frozen=True)
class CardRef:
    """A card in the vault. ``blind_index``: what becomes the submission's ``card_fingerprint``."""

    card_id: str
    trade_id: str
    blind_index: str


@dataclass(frozen=True)
class CardSecrets:
    """What a card is redeemed with."""

    number: Secret
    secret: Secret


@dataclass(frozen=True)
class Reveal:
    """That somebody is about to see a secret, or a step of the trade to use it. No part of the secret."""

    action: str
    card_id: str
    trade_id: str
    actor: str
    role: str
    second_actor: str
    reason: str
    at: datetime


OnReveal = Callable[[Reveal], None]
"""Called before a secret is handed out; where it raises, none is."""


@dataclass(frozen=True)
class Vault:
    """Cards in one database. two_person_fen: from which face value on a second person must agree."""

    engine: sa.Engine
    keys: KeyProvider = field(repr=False)
    index: BlindIndex
    two_person_fen: int
    on_reveal: OnReveal
    _commits: GroupCommit = field(init=False, repr=False)
    _reader: sa.Engine = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_commits", GroupCommit(self.engine))
        object.__setattr__(self, "_reader", reading(self.engine))

    def blind_index(self, brand: str, number: str) -> str:
        """The card's blind index, in hex. Raises NotACard."""
        return self.index.of(brand, number)

    # --- keeping

    def store(
        self,
        *,
        trade_id: str,
        number: str,
        secret: str,
        brand: str,
        face_value_fen: int,
        actor: str,
        now: datetime,
    ) -> CardRef:
        """Keep a card. Done again for the same trade it is the same card; whether another trade may have it is for the
        book of trades to say (:mod:`pipelines.recycling.card_again`).

        Raises NotACard, VaultRefusal, SecretDiffers, VaultKeyError.
        """
        _check_lengths(trade_id=trade_id, actor=actor, number=number, secret=secret)
        ref = CardRef(f"card-{secrets.token_hex(16)}", trade_id, self.blind_index(brand, number))
        row = self._sealed(ref, number=number, secret=secret, face_value_fen=face_value_fen)
        row |= {"brand": brand, "stored_at": now}
        with self.engine.connect() as connection, connection.begin() as transaction:
            one_at_a_time(connection, int.from_bytes(bytes.fromhex(ref.blind_index)[:8], signed=True))
            connection.execute(
                sa.insert(tables.cards).values(row)
            )  # first: SQLite lets nobody else write now
            before = _stored_before(connection, ref)
            if before is None:
                _note(connection, _change("stored", ref, actor, now))
                return ref
            transaction.rollback()
        if not self._has(before, Secret(secret)):
            raise SecretDiffers("the trade holds this card with another secret: shred that one first")
        return CardRef(before["card_id"], before["trade_id"], before["blind_index"])

    def _sealed(self, ref: CardRef, *, number: str, secret: str, face_value_fen: int) -> dict[str, Any]:
        data_key, nonce = AESGCM.generate_key(256), secrets.token_bytes(NONCE_BYTES)
        content = json.dumps([number, secret]).encode()
        kek_id = self.keys.current()
        wrapped = self.keys.wrap(data_key, kek_id=kek_id, bound=bound_key(ref.trade_id, ref.card_id, kek_id))
        row = asdict(ref) | {"format": FORMAT, "face_value_fen": face_value_fen}
        return row | {
            "nonce": nonce,
            "ciphertext": AESGCM(data_key).encrypt(nonce, content, _bound_card(row)),
            "kek_id": wrapped.kek_id,
            "wrapped_key": wrapped.value,
        }

    def holds(self, card_id: str, secret: Secret) -> bool:
        """Whether a card was kept with this secret; True where it was destroyed, since nobody can tell any more. It
        shows nothing and leaves no trail. Raises NoSuchCard, CardDamaged, VaultKeyError."""
        row = self._row(card_id)
        if row is None:
            raise NoSuchCard("there is no such card in the vault")
        return row["shredded_at"] is not None or self._has(row, secret)

    def _has(self, row: Mapping[str, Any], secret: Secret) -> bool:
        return self._opened(row).secret == secret

    # --- seeing

    def reveal(
        self,
        card_id: str,
        *,
        actor: str,
        role: str,
        reason: str,
        now: datetime,
        second_actor: str | None = None,
    ) -> CardSecrets:
        """Show a card's secret to a person. Whoever calls this has made sure who actor and second_actor are.

        Raises RevealRefused, NoSuchCard, CardShredded, CardDamaged, VaultKeyError; each leaves a row of audit.
        """
        asked = RevealAsked(actor, role, reason, second_actor or "")
        return self._shown("revealed", card_id, asked, now=now)

    def use(self, card_id: str, *, step: str, now: datetime) -> CardSecrets:
        """The secret for a step of the trade itself, such as asking the issuer for its balance. It leaves what a reveal
        leaves. Raises as :meth:`reveal` does."""
        return self._shown("used", card_id, RevealAsked(FLOW_ROLE, FLOW_ROLE, step, ""), now=now)

    def check_reason(self, card_id: str, reason: str) -> None:
        """A reason that is kept before anything is shown. Raises RevealRefused where it holds the card's codes, or has
        not the length of one; NoSuchCard, CardShredded, CardDamaged, VaultKeyError."""
        row = self._row(card_id)
        if row is None:
            raise NoSuchCard("there is no such card in the vault")
        check_length(reason)
        held = self._opened(row)
        check_reason(reason, (held.number.open(), held.secret.open()))

    def _shown(self, action: str, card_id: str, asked: RevealAsked, *, now: datetime) -> CardSecrets:
        row = self._row(card_id)
        note = _note_of(action, card_id, row, asked, now)
        try:
            if action == "revealed":
                value = None if row is None else row["face_value_fen"]
                check_reveal(asked, face_value_fen=value, limit_fen=self.two_person_fen)
            if row is None:
                raise NoSuchCard("there is no such card in the vault")
            shown = self._opened(row)
            if action == "revealed":
                check_reason(asked.reason, (shown.number.open(), shown.secret.open()))
        except Exception as error:
            outcome = error.code if isinstance(error, RevealRefused) else type(error).__name__
            self._keep(note | {"outcome": outcome[:32], "reason": ""})  # what was refused may be told in it
            raise
        self._keep(note)
        self.on_reveal(Reveal(**{name: note[name] for name in Reveal.__dataclass_fields__}))
        return shown

    def _opened(self, row: Mapping[str, Any]) -> CardSecrets:
        if row["wrapped_key"] is None or row["ciphertext"] is None:
            raise CardShredded("the card's key was destroyed")
        trade_id, card_id = row["trade_id"], row["card_id"]
        wrapped = Wrapped(row["kek_id"], row["wrapped_key"])
        try:
            data_key = self.keys.unwrap(wrapped, bound=bound_key(trade_id, card_id, row["kek_id"]))
            bound = _bound_card(row)
            number, secret = json.loads(AESGCM(data_key).decrypt(row["nonce"], row["ciphertext"], bound))
        except (InvalidTag, CannotUnwrap, ValueError):
            raise CardDamaged("the card does not open for this trade") from None
        return CardSecrets(Secret(number), Secret(secret))

    # --- destroying

    def shred(self, card_id: str, *, actor: str, now: datetime) -> bool:
        """Destroy a card's data key and what it sealed; whether there was one. Raises NoSuchCard.

        Copies in backups stay closed once the key-encryption key of their time is destroyed, too.
        """
        row = self._row(card_id)
        if row is None:
            raise NoSuchCard("there is no such card in the vault")
        gone = {"wrapped_key": None, "kek_id": None, "ciphertext": None, "nonce": None, "shredded_at": now}
        chosen = sa.update(tables.cards).where(
            tables.cards.c.card_id == card_id, tables.cards.c.shredded_at.is_(None)
        )
        ref = CardRef(card_id, row["trade_id"], row["blind_index"])
        with self.engine.begin() as connection:
            done = connection.execute(chosen.values(gone)).rowcount > 0
            if done:
                _note(connection, _change("shredded", ref, actor, now))
        tables.leave_no_copy(self.engine)
        return done

    def purge(self, *, before: datetime, actor: str, now: datetime) -> int:
        """Delete all cards stored before then, with their blind indexes; how many."""
        with self.engine.begin() as connection:
            old = connection.execute(
                sa.delete(tables.cards).where(tables.cards.c.stored_at < before)
            ).rowcount
            note = _change("purged", CardRef("", "", ""), actor, now)
            _note(connection, note | {"reason": f"{old} cards stored before {before.isoformat()}"})
        tables.leave_no_copy(self.engine)
        return old

    def note_rotation(self, told: str, *, actor: str, now: datetime) -> None:
        """Keep in the audit that data keys were wrapped anew."""
        self._keep(_change("rotated", CardRef("", "", ""), actor, now) | {"reason": told})

    # --- looking

    def status(self) -> dict[str, int]:
        """How many cards each key wraps, by its id; those that are shredded under ``shredded``."""
        counted = sa.select(tables.cards.c.kek_id, sa.func.count()).group_by(tables.cards.c.kek_id)
        with self.engine.connect() as connection:
            return {kek_id or "shredded": number for kek_id, number in connection.execute(counted)}

    def audit(self, card_id: str | None = None) -> list[dict[str, Any]]:
        """Who did what, in the order it was written."""
        chosen = sa.select(tables.audit).order_by(tables.audit.c.seq)
        if card_id is not None:
            chosen = chosen.where(tables.audit.c.card_id == card_id)
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(chosen).mappings()]

    def cards_of(self, trade_id: str) -> list[CardRef]:
        """The cards of a trade, shredded ones too, oldest first."""
        names = (tables.cards.c.card_id, tables.cards.c.trade_id, tables.cards.c.blind_index)
        chosen = sa.select(*names).where(tables.cards.c.trade_id == trade_id)
        with self.engine.connect() as connection:
            ordered = chosen.order_by(tables.cards.c.stored_at, tables.cards.c.card_id)
            return [CardRef(*row) for row in connection.execute(ordered)]

    def _row(self, card_id: str) -> Mapping[str, Any] | None:
        with self._reader.connect() as connection:
            chosen = sa.select(tables.cards).where(tables.cards.c.card_id == card_id)
            row = connection.execute(chosen).mappings().first()
        return None if row is None else dict(row)

    def _keep(self, note: Mapping[str, Any]) -> None:
        self._commits.run(partial(_note, row=note))


def _bound_card(row: Mapping[str, Any]) -> bytes:
    """What a card is bound to. Its face value, too: it decides whether a second person is needed."""
    parts = [row[name] for name in ("format", "trade_id", "card_id", "face_value_fen")]
    return json.dumps(["huika card", *parts]).encode()


def bound_key(trade_id: str, card_id: str, kek_id: str) -> bytes:
    """What a wrapped data key is bound to."""
    return json.dumps(["huika data key", kek_id, trade_id, card_id]).encode()


def _check_lengths(*, trade_id: str, actor: str, number: str, secret: str) -> None:
    if not (0 < len(trade_id) <= MOST_NAME and 0 < len(actor) <= MOST_NAME):
        raise VaultRefusal(f"trade and actor have 1 to {MOST_NAME} characters")
    if len(number) > MOST_CHARACTERS or len(secret) > MOST_CHARACTERS:
        raise VaultRefusal(f"number and secret have at most {MOST_CHARACTERS} characters")


def _stored_before(connection: sa.Connection, ref: CardRef) -> Mapping[str, Any] | None:
    """The same card of the same trade, where it is kept already."""
    cards = tables.cards.c
    chosen = sa.select(tables.cards).where(
        cards.blind_index == ref.blind_index,
        cards.trade_id == ref.trade_id,
        cards.card_id != ref.card_id,
        cards.shredded_at.is_(None),
    )
    row = connection.execute(chosen).mappings().first()
    return None if row is None else dict(row)


def _note(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    connection.execute(sa.insert(tables.audit).values(dict(row)))


def _change(action: str, ref: CardRef, actor: str, now: datetime) -> dict[str, Any]:
    asked = RevealAsked(actor, "", "", "")
    return _note_of(action, ref.card_id, {"trade_id": ref.trade_id}, asked, now)


def _note_of(
    action: str, card_id: str, row: Mapping[str, Any] | None, asked: RevealAsked, now: datetime
) -> dict[str, Any]:
    return {
        "at": now,
        "action": action,
        "outcome": "done",
        "card_id": "" if row is None else card_id,  # what names no card may be anything
        "trade_id": "" if row is None else row["trade_id"],
        "actor": asked.actor[:MOST_NAME],
        "role": asked.role[:32],
        "second_actor": asked.second_actor[:MOST_NAME],
        "reason": asked.reason[:500],
    }
