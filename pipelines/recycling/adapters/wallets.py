"""Wallet balances (e-CNY and others) as a kind of card: there is no number and no secret, the seller transfers.

A wallet provider takes an amount out of a seller's wallet into the platform's, once its holder agreed there. To the
flow it is an issuer: the wallet is looked at, the balance is taken over, and what came of that is asked until it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args
from urllib.parse import quote

from pipelines.recycling.adapters import answers
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Question
from pipelines.recycling.adapters.issuer import NEVER_HEARD, CardCheck, Issuer, PresentedCard, Redemption
from pipelines.recycling.adapters.outcomes import Outcome

WALLET = "wallet"
"""The catalogue's category of what is delivered by a transfer."""

CollectionState = Literal["done", "waiting", "refused", "expired"]
WalletStanding = Literal["active", "frozen", "unsupported"]
REFUSALS = ("unauthorised", "unknown_wallet", "unknown_collection", "conflicting_collection")


@dataclass(frozen=True)
class Collection:
    """A transfer out of a wallet into the platform's. waiting: its holder has not agreed yet; refused, expired: they
    did not, or not in time."""

    collection_id: str
    state: CollectionState
    amount_fen: int


class Wallets(Protocol):
    """A wallet provider."""

    def standing(self, wallet_ref: str) -> Outcome[WalletStanding]:
        """Whether the wallet can pay out. Changes nothing."""
        ...

    def collect(self, *, collection_id: str, wallet_ref: str, amount_fen: int) -> Outcome[Collection]:
        """Ask the wallet's holder for a transfer, once for each ``collection_id``."""
        ...

    def collection(self, collection_id: str) -> Outcome[Collection]:
        """What came of it; refused with ``unknown_collection`` where it was never asked for."""
        ...


class HttpWallets:
    """``POST /wallets/check``, ``POST /collections``, ``GET /collections/{id}``."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def standing(self, wallet_ref: str) -> Outcome[WalletStanding]:
        question = Question("POST", "/wallets/check", body={"wallet_ref": wallet_ref}, changes_nothing=True)
        return self._http.ask(
            question, read=lambda answer: answers.one_of(answer, "standing", get_args(WalletStanding))
        )

    def collect(self, *, collection_id: str, wallet_ref: str, amount_fen: int) -> Outcome[Collection]:
        body = {"collection_id": collection_id, "wallet_ref": wallet_ref, "amount_fen": amount_fen}
        question = Question("POST", "/collections", body=body, idempotency_key=collection_id)
        return self._http.ask(question, read=lambda answer: _collection(answer, collection_id))

    def collection(self, collection_id: str) -> Outcome[Collection]:
        question = Question("GET", f"/collections/{quote(collection_id, safe='')}")
        return self._http.ask(question, read=lambda answer: _collection(answer, collection_id))


def wallet_number(wallet_ref: str, submission_id: str) -> str:
    """What stands in the vault in place of a card number: one wallet may be sold from again and again."""
    return f"{wallet_ref}/{submission_id}"


@dataclass(frozen=True)
class WalletIssuer:
    """A wallet provider as the flow asks an issuer."""

    wallets: Wallets

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        """A wallet's balance is nobody's business before its holder transfers: it is not asked for."""
        outcome = self.wallets.standing(_wallet_of(card))
        if outcome.code == "unknown_wallet":
            return Outcome("refused", code="unsupported")
        return _mapped(outcome, lambda standing: CardCheck(standing))

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        outcome = self.wallets.collect(
            collection_id=redemption_id, wallet_ref=_wallet_of(card), amount_fen=amount_fen
        )
        return _mapped(outcome, _redemption)

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        outcome = self.wallets.collection(redemption_id)
        if outcome.code == "unknown_collection":
            return Outcome("refused", code=NEVER_HEARD)
        return _mapped(outcome, _redemption)


@dataclass(frozen=True)
class IssuerByKind:
    """Cards are asked about at their issuer, wallet balances at the wallet provider."""

    cards: Issuer
    wallets: Issuer
    is_wallet: Callable[[str], bool]

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        return self._of(card.card_type).check(card)

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        return self._of(card.card_type).redeem(card, redemption_id=redemption_id, amount_fen=amount_fen)

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        """Only who was asked to redeem is asked: that the other one never heard of it says nothing."""
        return self._of(card_type).redemption(redemption_id, card_type=card_type)

    def _of(self, card_type: str) -> Issuer:
        return self.wallets if self.is_wallet(card_type) else self.cards


def _wallet_of(card: PresentedCard) -> str:
    return card.number.open().rpartition("/")[0]


def _redemption(found: Collection) -> Redemption:
    if found.state == "done":
        return Redemption(found.collection_id, "done", found.amount_fen, "active")
    if found.state == "waiting":
        return Redemption(found.collection_id, "in_process", 0, "in_process")
    return Redemption(found.collection_id, "refused", 0, "not_transferred")


def _mapped(outcome: Outcome[Any], read: Callable[[Any], Any]) -> Outcome[Any]:
    """The same outcome with another value."""
    if outcome.value is None:
        return outcome
    return Outcome(outcome.state, read(outcome.value))


def _collection(answer: Any, collection_id: str) -> Collection:
    answers.echoed(answer, "collection_id", collection_id)
    return Collection(
        collection_id=collection_id,
        state=answers.one_of(answer, "state", get_args(CollectionState)),
        amount_fen=answers.fen(answer, "amount_fen") or 0,
    )
