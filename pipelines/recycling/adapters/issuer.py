"""The issuer of a card, or whoever it lets answer: what a card is worth now, and taking it over.

Number and secret stand in the body of a request and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, get_args
from urllib.parse import quote

from pipelines.recycling.adapters import answers
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Question
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.secret import Secret

Standing = Literal[
    "active",
    "inactive",
    "frozen",
    "used",
    "expired",
    "in_process",
    "fake",
    "wrong_secret",
    "format_error",
    "unsupported",
    "not_transferred",
]
"""How a card stands with its issuer. ``in_process``: another redemption of it is under way. ``not_transferred``: a
wallet balance whose holder did not transfer it."""

RedemptionState = Literal["done", "in_process", "refused"]

NEVER_HEARD = "unknown_redemption"
"""A refusal that says for certain that nothing was taken under an id; any other says nothing about it."""
REFUSALS = ("unauthorised", NEVER_HEARD, "conflicting_redemption", "unsupported", "format_error")


@dataclass(frozen=True)
class PresentedCard:
    """A card as its holder knows it. Made from the vault's content for one request, and dropped."""

    card_type: str
    number: Secret
    secret: Secret

    def body(self) -> dict[str, str]:
        """For the body of one request."""
        return {"card_type": self.card_type, "number": self.number.open(), "secret": self.secret.open()}


@dataclass(frozen=True)
class CardCheck:
    """What the issuer says; amounts in fen, None where it does not say. ``reactivatable``: an expired card's balance
    can be had again; redeeming does it. ``expires_on``: the last valid day."""

    standing: Standing
    balance_fen: int | None = None
    face_value_fen: int | None = None
    expires_on: date | None = None
    reactivatable: bool | None = None


@dataclass(frozen=True)
class Redemption:
    """One attempt to take a card's balance over. ``amount_fen`` is what was taken; ``standing`` says why it was not."""

    redemption_id: str
    state: RedemptionState
    amount_fen: int
    standing: Standing


class Issuer(Protocol):
    """Whoever knows a card's balance."""

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        """How the card stands now. Changes nothing."""
        ...

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        """Take ``amount_fen`` over, once for each ``redemption_id``, also of an expired card that is reactivatable.
        After an outcome with ``maybe_done`` ask :meth:`redemption`, or redeem again with the same id."""
        ...

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        """What came of a redemption; refused with ``unknown_redemption`` where it never arrived. card_type: of what was
        to be redeemed, which says whom to ask."""
        ...


class HttpIssuer:
    """An issuer's gateway: ``POST /cards/check``, ``POST /redemptions``, ``GET /redemptions/{id}``."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        question = Question("POST", "/cards/check", body=card.body(), changes_nothing=True)
        return self._http.ask(question, read=_card_check)

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        body = {**card.body(), "redemption_id": redemption_id, "amount_fen": amount_fen}
        question = Question("POST", "/redemptions", body=body, idempotency_key=redemption_id)
        return self._http.ask(question, read=lambda answer: _redemption(answer, redemption_id))

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        question = Question("GET", f"/redemptions/{quote(redemption_id, safe='')}")
        return self._http.ask(question, read=lambda answer: _redemption(answer, redemption_id))


def _card_check(answer: Any) -> CardCheck:
    return CardCheck(
        standing=answers.one_of(answer, "standing", get_args(Standing)),
        balance_fen=answers.fen(answer, "balance_fen"),
        face_value_fen=answers.fen(answer, "face_value_fen"),
        expires_on=answers.day(answer, "expires_on"),
        reactivatable=answers.flag(answer, "reactivatable"),
    )


def _redemption(answer: Any, redemption_id: str) -> Redemption:
    answers.echoed(answer, "redemption_id", redemption_id)
    return Redemption(
        redemption_id=redemption_id,
        state=answers.one_of(answer, "state", get_args(RedemptionState)),
        amount_fen=answers.fen(answer, "amount_fen") or 0,
        standing=answers.one_of(answer, "standing", get_args(Standing)),
    )
