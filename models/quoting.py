"""The two answers put together: a rate from the discount model, a decision from the fraud model, with reasons.

A model that is missing degrades the answer instead of stopping it, and the answer says so: without the discount
model the static rate table prices, less a haircut; without the fraud model nothing is paid automatically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.discount.context import card_context
from models.discount.degraded import table_rates
from models.discount.explain import reasons_of_all
from models.discount.guard_rails import price_band
from models.discount.model import DiscountModel, Offers
from models.discount.rate_table import RateTable
from models.discount.validity import valid_minutes
from models.fraud.decision import decide
from models.fraud.model import FraudModel
from models.fraud.reason_dictionary import NO_RISK_SIGNALS
from models.fraud.reasons import reason_codes
from models.matrix import Columns
from models.money import payout_fen, round_rate
from models.policy import Costs, DecisionCosts, PricePolicy
from models.reasons import Reason

NO_DISCOUNT_MODEL = "discount_model_missing"
NO_FRAUD_MODEL = "fraud_model_missing"
HAIRCUT = 0.02
"""Taken off the static table when no model prices: nobody watches the market then."""

STATIC_PRICE = Reason(
    "STATIC_PRICE",
    "定价模型暂不可用，按固定价目表保守报价",
    "The pricing model is not available; this is a cautious list price",
)
AMOUNT_AT_RISK = Reason(
    "AMOUNT_AT_RISK",
    "金额较大，付款前需再次核验",
    "The amount is large enough for a second check before payment",
)
NO_FRAUD_SCORE = Reason(
    "NO_FRAUD_SCORE",
    "风控评分暂不可用，打款前需再次核验",
    "No fraud score is available; a second check comes before payment",
)


@dataclass(frozen=True)
class ModelPair:
    """The models that answer, and their registry versions; None where one is not available.

    Pins: feature -> the column of the former definition that a model was trained on, where the definition has
    changed since.
    """

    discount: DiscountModel | None
    fraud: FraudModel | None
    discount_version: str | None = None
    fraud_version: str | None = None
    discount_pins: Mapping[str, str] = field(default_factory=dict)
    fraud_pins: Mapping[str, str] = field(default_factory=dict)

    @property
    def degraded(self) -> tuple[str, ...]:
        missing = ((self.discount, NO_DISCOUNT_MODEL), (self.fraud, NO_FRAUD_MODEL))
        return tuple(code for model, code in missing if model is None)

    @property
    def pinned_columns(self) -> tuple[str, ...]:
        """Columns of former definitions that must be computed beside the current ones."""
        return tuple(dict.fromkeys([*self.discount_pins.values(), *self.fraud_pins.values()]))


def as_trained(columns: Columns, pins: Mapping[str, str]) -> Columns:
    """The columns as a model knows them: pinned names read the former definition's column."""
    return {**columns, **{name: columns[column] for name, column in pins.items()}} if pins else columns


@dataclass(frozen=True)
class Asked:
    """n trades to be answered.

    columns: feature columns (n,) as of each trade. face_value_fen (n,) int64. submitted_at (n,) int64 ms.
    submitted: columns (n,) object of the trades as they were submitted (``SPINE_COLUMNS`` by name, None where
    unknown), for what is looked up by id and not learned; a name that is not there is unknown for all.
    """

    columns: Columns
    face_value_fen: np.ndarray
    submitted_at: np.ndarray
    submitted: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.face_value_fen)


@dataclass(frozen=True)
class Scores:
    """Fraud answers of n trades. probability: NaN without a model. action: pay, hold, review or refuse."""

    probability: np.ndarray
    action: np.ndarray
    reasons: list[tuple[Reason, ...]]


@dataclass(frozen=True)
class Answers:
    """Quotes of n trades: ``rate`` (n,) four decimals, ``payout_fen`` (n,) int64, and what led to them.

    acceptance_probability and the resale range are NaN where the static table priced. reasons: price and risk
    reasons of each trade. no_offer: no admissible rate is expected to earn anything. valid_minutes: how long each quote
    binds, int64. offers: everything the
    discount model said, None where the static table priced.
    """

    rate: np.ndarray
    payout_fen: np.ndarray
    action: np.ndarray
    fraud_probability: np.ndarray
    acceptance_probability: np.ndarray
    resale_p10: np.ndarray
    resale_p50: np.ndarray
    resale_p90: np.ndarray
    offer_density: np.ndarray
    reasons: list[tuple[Reason, ...]]
    no_offer: np.ndarray
    valid_minutes: np.ndarray
    offers: Offers | None


@dataclass(frozen=True)
class Terms:
    """The platform's own numbers that both answers use."""

    costs: Costs
    decision: DecisionCosts
    price: PricePolicy


def score(asked: Asked, *, payout_fen: np.ndarray, models: ModelPair, terms: Terms) -> Scores:
    """Score n trades for fraud; payout_fen (n,) is what would be paid."""
    size = len(asked)
    model = models.fraud
    columns = as_trained(asked.columns, models.fraud_pins)
    probability = np.full(size, np.nan) if model is None else model.probability(columns)
    decisions = decide(
        probability=probability,
        payout_fen=payout_fen,
        face_value_fen=asked.face_value_fen,
        costs=terms.costs,
        decision=terms.decision,
        review_threshold_fen=None if model is None else model.review_threshold_fen,
    )
    reasons = (
        [(NO_FRAUD_SCORE,)] * size if model is None else reason_codes(model.contributions(columns), columns)
    )
    reasons = [
        (AMOUNT_AT_RISK,) if action != "pay" and found == (NO_RISK_SIGNALS,) else found
        for action, found in zip(decisions.action, reasons, strict=True)
    ]
    return Scores(probability=probability, action=decisions.action, reasons=reasons)


def quote(asked: Asked, *, models: ModelPair, terms: Terms) -> Answers:
    """Price and score n trades.

    The rate does not depend on the seller. A card that is expected to lose money at every admissible rate goes
    to review at least.
    """
    size, face = len(asked), asked.face_value_fen
    if models.discount is None:
        offers, no_offer = None, np.zeros(size, dtype=bool)
        rate = static_rates(columns=asked.columns, face_value_fen=face, terms=terms)
        price = [(STATIC_PRICE,)] * size
    else:
        seen = as_trained(asked.columns, models.discount_pins)
        offers = models.discount.price(
            columns=seen,
            face_value_fen=face,
            submitted_at=asked.submitted_at,
            costs=terms.costs,
            policy=terms.price,
        )
        rate, no_offer = offers.rate, offers.no_offer
        price = reasons_of_all(columns=seen, offers=offers)
    payout = payout_fen(face, rate)
    scores = score(asked, payout_fen=payout, models=models, terms=terms)
    action = np.where(no_offer & np.isin(scores.action, ("pay", "hold")), "review", scores.action).astype(
        object
    )
    unknown = np.full(size, np.nan)
    return Answers(
        rate=rate,
        payout_fen=payout,
        action=action,
        fraud_probability=scores.probability,
        acceptance_probability=unknown if offers is None else offers.acceptance_probability,
        resale_p10=unknown if offers is None else offers.resale_p10,
        resale_p50=unknown if offers is None else offers.resale_p50,
        resale_p90=unknown if offers is None else offers.resale_p90,
        offer_density=unknown if offers is None else offers.offer_density,
        reasons=[(*prices, *risks) for prices, risks in zip(price, scores.reasons, strict=True)],
        no_offer=no_offer,
        valid_minutes=valid_minutes(columns=asked.columns, rows=size, policy=terms.price),
        offers=offers,
    )


def static_rates(*, columns: Columns, face_value_fen: np.ndarray, terms: Terms) -> np.ndarray:
    """Rates (n,) without a model: the static table less a haircut, inside the card type's band."""
    rate, _ = table_rates(
        table=RateTable(),
        columns=columns,
        face_value_fen=face_value_fen,
        costs=terms.costs,
        policy=terms.price,
    )
    low, high = price_band(context=card_context(columns, len(face_value_fen)), policy=terms.price)
    return round_rate(np.clip(rate - HAIRCUT, low, high))
