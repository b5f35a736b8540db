"""Bodies of the HTTP requests and answers. Money is integer fen, rates have four decimals."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from features.tables import MAX_FACE_CNY

Text = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]
MAX_FACE_FEN = MAX_FACE_CNY * 100


class Body(BaseModel):
    """Base of every body: an unknown field is refused, so that a secret sent by mistake is never stored."""

    model_config = ConfigDict(extra="forbid")


class Money(Body):
    """An amount in fen (1/100 yuan)."""

    amount_fen: int = Field(ge=0, le=10**14)
    currency: Literal["CNY"] = "CNY"


class FaceValue(Body):
    """The face value in fen."""

    amount_fen: int = Field(gt=0, le=MAX_FACE_FEN)
    currency: Literal["CNY"] = "CNY"


class Card(Body):
    """The card offered. Never its number or secret."""

    card_type: Text
    card_form: Literal["virtual", "physical"] | None = None
    face_value: FaceValue
    expires_on: date | None = None
    card_prefix: Text | None = None
    card_fingerprint: Text | None = None


class Seller(Body):
    """Who offers it and from where."""

    seller_id: Text
    device_id: Text | None = None
    ip: Text | None = None
    payout_account: Text | None = None
    region: Text | None = None
    channel: Text | None = None


class Submission(Body):
    """A card, who offers it, and the moment (default: now)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "card": {
                        "card_type": "jd_ecard",
                        "card_form": "virtual",
                        "face_value": {"amount_fen": 50000},
                    },
                    "seller": {"seller_id": "s-1001", "device_id": "d-77", "payout_account": "acct-1001"},
                }
            ]
        },
    )

    card: Card
    seller: Seller
    trade_id: Text | None = None
    lot_id: Text | None = None
    submitted_at: AwareDatetime | None = None


class Reason(Body):
    """A stable code with its sentence in Chinese and English."""

    code: str
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


class FraudScore(Body):
    """How likely the trade is fraudulent and what to do about it."""

    trade_id: str
    submitted_at: datetime
    fraud_probability: float | None
    decision: Literal["pay", "hold", "review", "refuse"]
    reasons: list[Reason]
    models: Models
    degraded: list[str]


class Step(Body):
    """One step from face value to payout."""

    code: str
    zh: str
    en: str
    amount_fen: int


class Quote(Body):
    """A binding offer until ``valid_until``. ``waterfall`` adds up from face value to payout, in fen.

    ``no_offer``: no rate is expected to earn anything; the rate says what the card is worth at best.
    """

    quote_id: str
    trade_id: str
    card_type: str
    card_name_zh: str
    card_name_en: str
    submitted_at: datetime
    valid_until: datetime
    rate: float
    payout: Money
    decision: Literal["pay", "hold", "review", "refuse"]
    fraud_probability: float | None
    acceptance_probability: float | None
    resale_rate: ResaleRange
    offer_density: float | None
    no_offer: bool
    reasons: list[Reason]
    waterfall: list[Step]
    models: Models
    degraded: list[str]


class QuoteBatch(Body):
    """Up to 500 submissions; each succeeds or fails alone."""

    submissions: list[dict] = Field(min_length=1, max_length=500)


class TradeEvent(Body):
    """Something that happened to a trade; ``event_id`` makes sending it twice harmless."""

    event_id: Text
    trade_id: Text
    happened_at: AwareDatetime


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
    rate: float = Field(ge=0, le=1.5, allow_inf_nan=False)


class FraudConfirmed(TradeEvent):
    """The trade turned out fraudulent."""

    kind: Literal["fraud_confirmed"]


class FraudCleared(TradeEvent):
    """The trade turned out honest."""

    kind: Literal["fraud_cleared"]


class MarketObserved(Body):
    """A market rate was seen."""

    kind: Literal["market_observed"]
    event_id: Text
    happened_at: AwareDatetime
    card_type: Text
    source: Text
    side: Literal["competitor_bid", "buyer_bid", "ask"]
    rate: float = Field(ge=0, le=1.5, allow_inf_nan=False)
    volume: Money | None = None


Event = Annotated[
    Accepted | Declined | Resold | FraudConfirmed | FraudCleared | MarketObserved, Field(discriminator="kind")
]


class EventReceipt(Body):
    """What became of an event: ``recorded``, or ``known`` when it had been recorded before."""

    event_id: str
    status: Literal["recorded", "known"]


class BoardPrice(Body):
    """The public price of one card type: what a card of ``face_value`` is worth to anybody right now."""

    card_type: str
    name_zh: str
    name_en: str
    category: str
    face_value: Money
    rate: float
    payout: Money


class PriceBoard(Body):
    """The public list of rates."""

    shown_at: datetime
    prices: list[BoardPrice]


class PricePoint(Body):
    """A rate that the board showed."""

    shown_at: datetime
    rate: float


class PriceHistory(Body):
    """Rates of one card type, and the lowest of the last 7 days (the reference for any comparison)."""

    card_type: str
    lowest_7d: float | None
    points: list[PricePoint]
