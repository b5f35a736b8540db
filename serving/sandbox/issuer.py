"""An issuer that knows every number: what it says is chosen by the last digits, or by a card that was put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving.sandbox.desk import Answer, Refused, fen_in, text_in
from serving.sandbox.scenarios import last_two

STANDINGS = {
    "81": "used",
    "82": "frozen",
    "83": "inactive",
    "84": "expired",
    "85": "expired",
    "86": "in_process",
    "87": "fake",
    "88": "wrong_secret",
}
HALF, FOR_GOOD, EMPTY, SNATCHED = "80", "85", "89", "99"
"""Half of the balance is left; expired for good; nothing is left; somebody else redeems it between check and
redemption."""
DEFAULT_FACE_FEN, STEP_FEN = 500_00, 100_00


@dataclass(frozen=True)
class SandboxCard:
    """A card as the issuer keeps it; ``ending`` is what its last two digits choose."""

    standing: str
    balance_fen: int
    face_value_fen: int
    expires_on: str
    secret: str = ""
    ending: str = ""

    @property
    def reactivatable(self) -> bool:
        return self.standing == "expired" and self.ending != FOR_GOOD


@dataclass
class SandboxIssuer:
    """Cards by number and redemptions by id, in memory."""

    cards: dict[str, SandboxCard] = field(default_factory=dict)
    redemptions: dict[str, tuple[dict[str, Any], Answer]] = field(default_factory=dict)

    def put(self, body: Mapping[str, Any]) -> Answer:
        """Put a card of known number in; raises Refused."""
        face = fen_in(body, "face_value_fen")
        balance = body.get("balance_fen", face)
        if type(balance) is not int or not 0 <= balance <= face:
            raise Refused(422, "format_error")
        self.cards[text_in(body, "number")] = SandboxCard(
            standing=str(body.get("standing", "active")),
            balance_fen=balance,
            face_value_fen=face,
            expires_on=str(body.get("expires_on", "2035-12-31")),
            secret=str(body.get("secret", "")),
        )
        return {"cards": len(self.cards)}

    def check(self, body: Mapping[str, Any]) -> Answer:
        card = self._card(body)
        if card.standing in ("fake", "wrong_secret", "format_error"):
            return {"standing": card.standing}
        return {
            "standing": card.standing,
            "balance_fen": card.balance_fen,
            "face_value_fen": card.face_value_fen,
            "expires_on": card.expires_on,
            "reactivatable": card.reactivatable,
        }

    def redeem(self, body: Mapping[str, Any]) -> Answer:
        """Once for each id: the same request again gets the same answer, another one with that id is refused. A card
        that can be re-activated is, by being taken over."""
        redemption_id, amount = text_in(body, "redemption_id"), fen_in(body, "amount_fen")
        earlier = self.redemptions.get(redemption_id)
        if earlier is not None:
            if earlier[0] != dict(body):
                raise Refused(409, "conflicting_redemption")
            return earlier[1]
        number, card = text_in(body, "number"), self._card(body)
        answer: Answer = {"redemption_id": redemption_id, "state": "refused", "amount_fen": 0}
        if card.ending == SNATCHED:
            card = replace(card, standing="used", balance_fen=0)
        elif (card.standing == "active" or card.reactivatable) and amount <= card.balance_fen:
            left = card.balance_fen - amount
            card = replace(card, balance_fen=left, standing=card.standing if left else "used")
            answer |= {"state": "done", "amount_fen": amount}
        self.cards[number] = card if card.standing != "wrong_secret" else self._kept(number)
        answer["standing"] = card.standing
        self.redemptions[redemption_id] = (dict(body), answer)
        return answer

    def redemption(self, redemption_id: str) -> Answer:
        if redemption_id not in self.redemptions:
            raise Refused(404, "unknown_redemption")
        return self.redemptions[redemption_id][1]

    def _card(self, body: Mapping[str, Any]) -> SandboxCard:
        number, secret = text_in(body, "number"), text_in(body, "secret")
        if not (number.isascii() and number.isalnum()):
            return SandboxCard("format_error", 0, 0, "")
        card = self._kept(number)
        return replace(card, standing="wrong_secret") if card.secret and card.secret != secret else card

    def _kept(self, number: str) -> SandboxCard:
        return self.cards.get(number) or _unseen(number)


def _unseen(number: str) -> SandboxCard:
    """The card behind a number nobody put in. Its third last digit times 100 yuan is the face value, 0 being 500."""
    ending = last_two(number)
    digits = [mark for mark in number if mark.isdigit()]
    step = int(digits[-3]) if len(digits) >= 3 else 0
    face = step * STEP_FEN or DEFAULT_FACE_FEN
    standing = STANDINGS.get(ending, "active")
    left = {HALF: face // 2, EMPTY: 0, "81": 0, "86": face}.get(ending, face)
    expires = "2024-12-31" if standing == "expired" else "2035-12-31"
    return SandboxCard(standing, left, face, expires, ending=ending)
