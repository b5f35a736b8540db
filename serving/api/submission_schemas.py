"""Bodies of the recycling flow's requests and answers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from serving.api.field_types import Words
from serving.api.schemas import Body, Card, Money, Seller, Text

Channel = Literal["bank", "alipay", "wechat", "ecny"]
SubmissionId = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[\x21-\x7e]+$")]
"""Of a submission, where the client chooses it: 40 printable characters without a space at most."""


class OfferedCard(Card):
    """The card with what it is redeemed with. Number and secret go into the vault and nowhere else. A wallet balance
    has neither, but a ``wallet_ref``: the wallet that will transfer it, as the wallet provider knows it."""

    number: SecretStr | None = Field(default=None, min_length=1, max_length=128)
    secret: SecretStr | None = Field(default=None, min_length=1, max_length=128)
    wallet_ref: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")


class NewSubmission(Body):
    """A card for sale. ``submission_id``: the client's own, under which sending it again is the same submission.
    ``payee_ref``: whom to pay, as the payout provider knows the seller; never an account number."""

    card: OfferedCard
    seller: Seller
    payee_ref: Text
    channel: Channel = "bank"
    submission_id: SubmissionId | None = None


class Acceptance(Body):
    """The quote that the seller accepts."""

    quote_id: Text


class Decision(Body):
    """What a person decides. approve, reject: a submission that waits for a person. good, bad: a card looked at by hand
    after its money was frozen. unpacked: a parcel, with the SHA-256 of its film. sent_back: a card that went back by
    hand, with its tracking number. stop: a payout that is still held. pay_again: a payout that failed."""

    decision: Literal["approve", "reject", "good", "bad", "unpacked", "sent_back", "stop", "pay_again"]
    reason: Words
    film_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    tracking_number: Text | None = None


class StepTaken(Body):
    """A step of a trade: from where to where, brought about by whom, and why (a stable code)."""

    source: str
    target: str
    actor: str
    why: str
    at: datetime


class ParcelView(Body):
    """A parcel of a physical card. ``whereabouts``: ordered, picked_up, on_the_way, delivered, returned or lost."""

    tracking_number: str
    label_url: str
    whereabouts: str


class SubmissionView(Body):
    """A trade as it stands. ``quote_id``: read it at ``/v1/quotes/{quote_id}``; ``expires_on``: the
    last valid day that the quote rests on, its issuer's where it tells one, else the seller's. ``payout``: what the
    seller gets: ``price`` less ``fee``, ``postage`` (of a physical card's label) and ``tax`` (set aside).
    ``awarded``: what disputes gave the seller beside ``payout``; it is paid, too, once the trade is ``paid`` again.
    ``parcel``: of a physical card on its way here; ``return_parcel``: on its way back, free of charge.
    ``trouble``: why the machine could not go on yet, empty where it could; it tries again by itself at ``due_at``."""

    submission_id: str
    state: str
    state_zh: str
    state_en: str
    quote_id: str
    expires_on: date | None
    payout: Money
    awarded: Money
    price: Money
    fee: Money
    postage: Money
    tax: Money
    parcel: ParcelView | None
    return_parcel: ParcelView | None
    decision: str
    valid_until: datetime | None
    trouble: str
    due_at: datetime | None
    is_end: bool
    steps: list[StepTaken]


class Listed(Body):
    """Which trades to list."""

    state: str = Field(default="person_needed", max_length=24)


class QueuedView(SubmissionView):
    """A trade with what analysts weigh. ``review_saving_fen``: money that a look at it is expected to save, negative
    where it costs; ``review_priority_fen``: its place in the queue, which weighs fraud as the decision does and is no
    money; null where no model scored it. ``overdue``: it has waited for a person for more than 24 hours."""

    review_saving_fen: int | None
    review_priority_fen: float | None
    overdue: bool


class SubmissionList(Body):
    """Trades in one state. Those that wait for a person: overdue ones, the oldest first, then by
    ``review_priority_fen``; all others: the oldest first. ``reviews_left_today``: how many of the first the analysts'
    ``reviews_per_day`` still reach on this day of China; null where that is not set."""

    submissions: list[QueuedView]
    reviews_left_today: int | None


class LotQuery(Body):
    """Of all cards of a lot: who sells them and whom to pay, as in a submission."""

    seller_id: Text
    payee_ref: Text
    channel: Channel = "bank"


class LotLine(Body):
    """What became of one line of a lot, the header being row 1."""

    row: int
    submission_id: str | None = None
    field: str = ""
    code: str = ""
    zh: str = ""
    en: str = ""


class LotAnswer(Body):
    """Each line of a lot, in the order of the file."""

    taken: int
    lines: list[LotLine]
