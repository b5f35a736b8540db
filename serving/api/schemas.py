"""Bodies of the HTTP requests and answers. Money is integer fen, rates have four decimals."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from features.extras import MOST_EXTRAS
from features.tables import MAX_FACE_CNY
from models.fraud.labels import DEFAULT_SOURCE
from serving.api.degraded import QuoteLacks, ScoreLacks
from serving.api.field_types import Day, Fen, Moment, Number, Rate, Text
from serving.api.problem_schema import ProblemDetails

MAX_FACE_FEN = MAX_FACE_CNY * 100


class Body(BaseModel):
    """Base of every body: an unknown field is refused, so that a secret sent by mistake is never stored."""

    model_config = ConfigDict(extra="forbid")


class Money(Body):
    """An amount in fen (1/100 yuan)."""

    amount_fen: Annotated[Fen, Field(ge=0, le=10**14)]
    currency: Literal["CNY"] = "CNY"


class FaceValue(Body):
    """The face value in fen."""

    amount_fen: Annotated[Fen, Field(gt=0, le=MAX_FACE_FEN)]
    currency: Literal["CNY"] = "CNY"


class Card(Body):
    """The card offered. Never its number or secret. ``balance``: what is left on a partly used card; without it the
    card is whole. What is sold is the balance."""

    card_type: Text
    card_form: Literal["virtual", "physical"] | None = None
    face_value: FaceValue
    balance: FaceValue | None = None
    expires_on: Day | None = None
    card_prefix: Text | None = None
    card_fingerprint: Text | None = None


class Seller(Body):
    """Who offers it and from where."""

    seller_id: Text
    device_id: Text | None = None
    ip: Text | None = None
    payout_account: Text | None = None
    payee_is_seller: StrictBool | None = Field(
        default=None,
        description="whether the payout account's holder is the seller, as the payment provider says",
    )
    region: Text | None = None
    channel: Text | None = None


class Submission(Body):
    """A card, who offers it, and the moment (default: now)."""

    card: Card
    seller: Seller
    trade_id: Text | None = None
    lot_id: Text | None = None
    submitted_at: Moment | None = Field(
        default=None,
        description="when it was offered; without it, now. More than 5 minutes from now it is refused "
        "(`moment_out_of_range`); one that lies ahead counts as now, and one that lies behind the last thing told of "
        "this seller, device, address, account or card type is moved up to just after it. The quote's `submitted_at` "
        "says which moment it was answered for.",
    )
    asked_rate: Rate | None = Field(default=None, description="rate of face value that the seller asks for")
    extras: dict[str, Number | Annotated[str, Field(max_length=4_000)] | None] | None = Field(
        default=None, max_length=MOST_EXTRAS, description="what else is known of it; never the card's number"
    )


class Reason(Body):
    """A stable code with its sentence in Chinese and English."""

    code: str
    zh: str
    en: str


class HumanReview(Body):
    """A review by a person, offered with every refusal: ``code``, and the offer in Chinese and English."""

    code: Literal["HUMAN_REVIEW"]
    zh: str
    en: str


class Models(Body):
    """Versions that answered; null where the model was not available."""

    discount: str | None
    fraud: str | None


class ResaleRange(Body):
    """What the card is expected to resell at, as rates of face value."""

    p10: float | None
    p50: float | None
    p90: float | None


class Channel(Body):
    """Where a card of the type can go: a source on one side of the market, and what it bids, as a rate of face value.
    ``buyer_bid``: what buyers pay the platform; ``competitor_bid``: what others pay sellers."""

    source: str
    side: Literal["buyer_bid", "competitor_bid"]
    rate: float
    observed_at: datetime
    age_minutes: int


class Channels(Body):
    """The channels with the highest and the lowest bid of those that are believed, and how far they are apart. Stale
    and absurd bids are left out. Competitors stand there where no buyer's bid is believed."""

    best: Channel
    worst: Channel
    spread: float


class Reference(Body):
    """What a comparison may refer to: the lowest rate at which the price board offered to buy a card of the type and
    of ``face_value`` in the last 7 days, and since when it did; null where it did not."""

    face_value: Money
    lowest_7d: float | None
    shown_since: datetime | None


class FraudScore(Body):
    """How likely the trade is fraudulent and what to do about it."""

    trade_id: str
    submitted_at: datetime
    fraud_probability: float | None
    decision: Literal["pay", "hold", "review", "refuse"]
    reasons: list[Reason]
    human_review: HumanReview | None
    models: Models
    rules_version: str
    law_version: str
    degraded: ScoreLacks


class Step(Body):
    """One step from face value to payout."""

    code: str
    zh: str
    en: str
    amount_fen: int


class Signature(Body):
    """Ed25519 over the rest of the quote in canonical form (RFC 8785); ``kid``: the key's name in ``/v1/keys``."""

    alg: Literal["Ed25519"]
    kid: str
    value: str


class Quote(Body):
    """A binding offer until ``valid_until``. ``waterfall`` adds up from face value to payout, in fen.

    ``no_offer``: no rate that may be offered now is expected to earn anything; there is nothing to accept and nothing
    to review, the rate says what could be paid at best, and ``decision`` what the risk of fraud alone would ask for.
    ``human_review``: what a refused seller is to be offered, null where nothing was refused. ``let_through``:
    the trade would have been refused and is paid by a random draw of this probability, so that its outcome can be
    learnt; keep it from the seller. ``rate`` is of what is sold: the ``balance`` of a partly used card, else the
    ``face_value``. ``reactivation_probability``: of an expired card, null for a valid one. ``reference``: null where
    the board's card is none to compare with: for an expired or partly used card, and one of another form.
    """

    quote_id: str
    trade_id: str
    card_type: str
    card_name_zh: str
    card_name_en: str
    face_value: Money
    balance: Money | None
    submitted_at: datetime
    valid_until: datetime
    rate: float
    payout: Money
    decision: Literal["pay", "hold", "review", "refuse"]
    fraud_probability: float | None
    acceptance_probability: float | None
    resale_rate: ResaleRange
    reactivation_probability: float | None
    offer_density: float | None
    offer_centre: float | None
    no_offer: bool
    let_through: float | None
    reasons: list[Reason]
    human_review: HumanReview | None
    waterfall: list[Step]
    channels: Channels | None
    reference: Reference | None
    models: Models
    rules_version: str
    law_version: str
    degraded: QuoteLacks
    signature: Signature | None = None


class QuoteBatch(Body):
    """Up to 500 submissions; each succeeds or fails alone."""

    submissions: list[Any] = Field(
        min_length=1,
        max_length=500,
        description="each as the body of POST /v1/quotes; one that is not is answered with its problem",
    )


class BatchItem(Body):
    """The answer to one submission of a batch: its quote, or why there is none."""

    quote: Quote | None = None
    problem: ProblemDetails | None = None


class SwapCard(Body):
    """What the seller may get instead of money: new cards of these face values once the issuer has re-activated the
    old ones, less a fee kept of their balances."""

    face_values: list[Money]
    fee: Money
    fee_share: float
    success_probability: float


class Swap(Body):
    """A proposal to have the issuer move several expired cards of one seller onto one new card (more where it may not
    hold them all). It is an invitation, as ``notice`` says, for a person to confirm with the seller until
    ``valid_until``, when the first of its quotes ends: accepting a swap is not an event yet, and no end point takes it.

    ``payout`` takes the place of ``separate_payout``, which the quotes pay one by one (nothing for a quote with
    ``no_offer``, which nobody can accept), and is at least as much: the work is paid once. ``rate`` is of ``value``,
    the balances together. ``waterfall`` adds up to ``payout``. ``swap_card``: the other way to be paid, null where its
    fee would not pay for the work.
    """

    swap_id: str
    quote_ids: list[str]
    trade_ids: list[str]
    seller_id: str
    issuer: str
    value: Money
    new_cards: list[Money]
    separate_payout: Money
    payout: Money
    rate: float
    decision: Literal["pay", "hold", "review", "refuse"]
    notice: Reason
    valid_until: datetime
    waterfall: list[Step]
    swap_card: SwapCard | None


class QuoteBatchAnswer(Body):
    """``results`` in the order of the submissions; ``swaps``: what several of them are worth together."""

    results: list[BatchItem]
    swaps: list[Swap]


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


HAPPENED_AT: Any = Field(
    default=None,
    description="when it happened; without it, when the service first heard of it",
    json_schema_extra=_no_default,
)
"""A moment that may be left out. :func:`serving.api.app.timed` puts one in its place before anybody reads it."""


class TradeEvent(Body):
    """Something that happened to a trade; ``event_id`` makes sending it twice harmless."""

    event_id: Text
    trade_id: Text
    happened_at: Moment = HAPPENED_AT


class Accepted(TradeEvent):
    """The seller accepted the quote (the trade's newest one when ``quote_id`` is not given)."""

    kind: Literal["accepted"]
    quote_id: Text | None = None


class Declined(TradeEvent):
    """The seller declined the quote."""

    kind: Literal["declined"]


class Resold(TradeEvent):
    """The card was resold at ``rate``, net of fees."""

    kind: Literal["resold"]
    rate: Rate


class FraudConfirmed(TradeEvent):
    """The trade turned out fraudulent, as ``source`` says. It replaces an earlier label if its source ranks at least as
    high: issuer, chargeback, analyst, seller_dispute, matured."""

    kind: Literal["fraud_confirmed"]
    source: Literal["issuer", "chargeback", "analyst", "seller_dispute"] = DEFAULT_SOURCE


class FraudCleared(TradeEvent):
    """The trade turned out honest, as ``source`` says (``matured``: nobody complained in time). It replaces an earlier
    label under the same rule as ``fraud_confirmed``."""

    kind: Literal["fraud_cleared"]
    source: Literal["issuer", "chargeback", "analyst", "seller_dispute", "matured"] = DEFAULT_SOURCE


class MarketObserved(Body):
    """A market rate was seen."""

    kind: Literal["market_observed"]
    event_id: Text
    happened_at: Moment = HAPPENED_AT
    card_type: Text
    source: Text
    side: Literal["competitor_bid", "buyer_bid", "ask"]
    rate: Rate
    volume: Money | None = None


Event = Annotated[
    Accepted | Declined | Resold | FraudConfirmed | FraudCleared | MarketObserved, Field(discriminator="kind")
]


class EventReceipt(Body):
    """What became of an event: ``recorded``, or ``known`` when it had been recorded before."""

    event_id: str
    status: Literal["recorded", "known"]


class BoardPrice(Body):
    """The public price of one card type: what a card of ``face_value`` is worth to anybody right now. ``no_offer``:
    as in a quote; nothing is bought at this rate."""

    card_type: str
    name_zh: str
    name_en: str
    category: str
    face_value: Money
    rate: float
    payout: Money
    no_offer: bool


class PriceBoard(Body):
    """The public list of rates."""

    shown_at: datetime
    prices: list[BoardPrice]


class PricePoint(Body):
    """The lowest rate that the board offered within an hour."""

    shown_at: datetime
    rate: float


class PriceHistory(Body):
    """Rates of one card type, and the lowest of the last 7 days (the reference for any comparison)."""

    card_type: str
    lowest_7d: float | None
    points: list[PricePoint]
