"""From a proposal to a card: only by what the seller says of every field, held to the formats of typed cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from features.catalogue import Catalogue
from pipelines.recycling import formats
from pipelines.recycling.proposals import Proposal
from pipelines.recycling.secret import Secret

Field = Literal["card_type", "number", "secret", "face_value", "expires_on"]
Trouble = formats.Problem | Literal["unknown_card_type", "above_legal_maximum", "not_an_amount"]


@dataclass(frozen=True)
class SellerSays:
    """What the seller confirmed or corrected: all five fields. ``expires_on`` None: the card shows no date."""

    card_type: str
    number: Secret
    secret: Secret
    face_value_fen: int
    expires_on: date | None


@dataclass(frozen=True)
class ConfirmedCard:
    """A card that a seller vouches for. ``corrected``: fields that the seller said otherwise than the photo was read;
    they belong to the evidence, and tell how well photos are read."""

    said: SellerSays
    corrected: tuple[Field, ...]
    photo_sha256: str


class NotConfirmed(ValueError):
    """What the seller said cannot be a card; ``problems`` names each field and why. The message holds no code."""

    def __init__(self, problems: Mapping[Field, Trouble]) -> None:
        super().__init__(
            "; ".join(f"{field}: {problem.replace('_', ' ')}" for field, problem in problems.items())
        )
        self.problems = dict(problems)


def confirm(proposal: Proposal, *, said: SellerSays, catalogue: Catalogue) -> ConfirmedCard:
    """The card as the seller says it is, its codes in their plain form. Raises NotConfirmed."""
    if said.card_type not in catalogue:
        raise NotConfirmed({"card_type": "unknown_card_type"})
    card = catalogue.get(said.card_type)
    number = formats.check_number(said.number.open(), card=card)
    secret = formats.check_secret(said.secret.open(), card=card)
    problems: dict[Field, Trouble] = {}
    if number.problem is not None:
        problems["number"] = number.problem
    if secret.problem is not None:
        problems["secret"] = secret.problem
    if said.face_value_fen <= 0:
        problems["face_value"] = "not_an_amount"
    elif card.max_face_fen is not None and said.face_value_fen > card.max_face_fen:
        problems["face_value"] = "above_legal_maximum"
    if problems:
        raise NotConfirmed(problems)
    plain = SellerSays(
        card.card_type, Secret(number.value), Secret(secret.value), said.face_value_fen, said.expires_on
    )
    return ConfirmedCard(plain, _corrected(proposal, plain), proposal.photo_sha256)


def _corrected(proposal: Proposal, said: SellerSays) -> tuple[Field, ...]:
    same: dict[Field, bool] = {
        "card_type": said.card_type == proposal.card_type,
        "number": said.number == proposal.number.value,
        "secret": said.secret == proposal.secret.value,
        "face_value": said.face_value_fen == proposal.face_value_fen,
        "expires_on": said.expires_on == proposal.expires_on,
    }
    return tuple(field for field, as_read in same.items() if not as_read)
