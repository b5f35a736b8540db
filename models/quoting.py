"""The two answers put together: a rate from the discount model, a decision from the fraud model, with reasons.

A model that is missing degrades the answer instead of stopping it, and the answer says so: without the discount
model the fallback prices (the rate table without a log, less a haircut); without the fraud model nothing is paid
automatically.
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
from models.discount.move_cap import DayBefore, as_reference
from models.discount.rate_table import RateTable
from models.discount.special import (
    PARTIAL_BALANCE,
    SpecialCards,
    as_usual,
    doubts,
    held,
    minutes_to_expiry,
    ordinary_cards,
)
from models.discount.validity import valid_minutes
from models.fraud.decision import Decisions
from models.fraud.let_through import cards_drawn, let_through, notes_of, still_paid
from models.fraud.lists import Lists
from models.fraud.model import FraudModel
from models.fraud.rules import RuleBook
from models.fraud.screening import screen
from models.fraud.verdicts import as_decided, verdicts, with_risks
from models.matrix import Columns
from models.money import payout_fen, round_rate
from models.policy import Costs, DecisionCosts, PricePolicy, Profile
from models.reasons import Reason

NO_DISCOUNT_MODEL = "discount_model_missing"
NO_FRAUD_MODEL = "fraud_model_missing"
HAIRCUT = 0.02
"""Taken off the rate table when no model prices: nobody watches the market then."""

FALLBACK_PRICE = Reason(
    "FALLBACK_PRICE",
    "定价模型暂不可用，按固定价目表保守报价",
    "The pricing model is not available; this is a cautious list price",
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
    special: what sets the cards apart from whole ones of usual face values; None: nothing is known of that.
    before: what daily moves are measured from; None: nothing is remembered, and no move is capped.
    """

    columns: Columns
    face_value_fen: np.ndarray
    submitted_at: np.ndarray
    submitted: Columns = field(default_factory=dict)
    special: SpecialCards | None = None
    before: DayBefore | None = None

    def __len__(self) -> int:
        return len(self.face_value_fen)


@dataclass(frozen=True)
class Scores:
    """Fraud answers of n trades. probability: NaN without a model. action: pay, hold, review or refuse.

    decisions: the model's own, with their costs, before profile, draw, rules and lists.
    let_through: probability of the draw by which a trade that would have been refused is paid, NaN for all others.
    notes, shadow_rules (names of the rules in shadow that hit): what analysts are told beside the reasons, and nobody
    else.
    """

    probability: np.ndarray
    action: np.ndarray
    reasons: list[tuple[Reason, ...]]
    decisions: Decisions
    let_through: np.ndarray
    notes: list[tuple[Reason, ...]]
    shadow_rules: list[tuple[str, ...]]


@dataclass(frozen=True)
class Answers:
    """Quotes of n trades: ``rate`` (n,) four decimals, ``payout_fen`` (n,) int64, and what led to them.

    acceptance_probability and the resale range are NaN where the fallback priced. reasons: price and risk
    reasons of each trade. no_offer: no admissible rate is expected to earn anything, so nothing is bought and nobody
    needs to look; the action is that of the fraud decision all the same. valid_minutes: how long each quote
    binds, int64. offer_centre: see :class:`Offers`, NaN where the fallback priced. offers: everything the
    discount model said, None where the fallback priced. decisions, let_through, notes, shadow_rules: see
    :class:`Scores`.
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
    offer_centre: np.ndarray
    reasons: list[tuple[Reason, ...]]
    no_offer: np.ndarray
    valid_minutes: np.ndarray
    offers: Offers | None
    decisions: Decisions
    let_through: np.ndarray
    notes: list[tuple[Reason, ...]]
    shadow_rules: list[tuple[str, ...]]


@dataclass(frozen=True)
class Terms:
    """The platform's own numbers that both answers use, and the rules, limits and lists that stand beside the model."""

    costs: Costs
    decision: DecisionCosts
    price: PricePolicy
    profile: Profile = "head"
    rules: RuleBook = field(default_factory=RuleBook)
    lists: Lists = field(default_factory=Lists)


def score(
    asked: Asked,
    *,
    models: ModelPair,
    terms: Terms,
    payout_fen: np.ndarray | None = None,
    worth_paying: np.ndarray | None = None,
    explain_paid: bool = True,
) -> Scores:
    """Score n trades for fraud; payout_fen (n,) is what would be paid, None: the face value is at risk. worth_paying
    (n,) bool: an honest trade is worth its price, or none is let through at random; None: all are. explain_paid: see
    :func:`models.fraud.verdicts.verdicts`."""
    seen = as_trained(asked.columns, models.fraud_pins)
    judged = verdicts(
        model=models.fraud,
        columns=seen,
        payout_fen=payout_fen,
        face_value_fen=asked.face_value_fen,
        costs=terms.costs,
        decision=terms.decision,
        profile=terms.profile,
        explain_paid=explain_paid,
    )
    draws = let_through(
        action=judged.action,
        card=cards_drawn(
            columns=asked.columns,
            submitted=asked.submitted,
            face_value_fen=asked.face_value_fen,
            submitted_at=asked.submitted_at,
        ),
        face_value_fen=asked.face_value_fen,
        decision=terms.decision,
        worth_paying=worth_paying,
    )
    screened = screen(
        action=draws.action,
        reasons=judged.reasons,
        scored=~np.isnan(judged.probability),
        columns=asked.columns,
        hits=terms.rules.hits(columns=asked.columns, submitted_at=asked.submitted_at),
        listed=terms.lists.listed(submitted=asked.submitted, submitted_at=asked.submitted_at),
    )
    special = asked.special or ordinary_cards(asked.face_value_fen)
    action = held(screened.action, special)
    passed = still_paid(action, draws.let_through)
    late = (judged.action == "pay") & (action != "pay") & (not explain_paid)
    reasons = with_risks(
        screened.reasons, model=models.fraud, columns=seen, probability=judged.probability, stopped=late
    )
    return Scores(
        probability=judged.probability,
        action=action,
        decisions=judged.decisions,
        reasons=_as_told(reasons, doubts(special), action=action, let_through=np.isfinite(passed)),
        let_through=passed,
        notes=notes_of(passed),
        shadow_rules=screened.shadow_rules,
    )


def _as_told(
    reasons: list[tuple[Reason, ...]],
    doubts_of_cards: list[tuple[Reason, ...]],
    *,
    action: np.ndarray,
    let_through: np.ndarray,
) -> list[tuple[Reason, ...]]:
    """The reasons of n trades once everything has had its say, behind what is doubtful about the cards."""
    rows = zip(doubts_of_cards, reasons, action, let_through, strict=True)
    return [
        _once(doubt, as_decided(found, action=done, let_through=drawn)) for doubt, found, done, drawn in rows
    ]


def quote(asked: Asked, *, models: ModelPair, terms: Terms) -> Answers:
    """Price and score n trades.

    The rate does not depend on the seller. A card that is expected to lose money at every admissible rate is no offer
    (``no_offer``); its decision stays what fraud alone would make it.
    """
    size, face = len(asked), asked.face_value_fen
    special = asked.special or ordinary_cards(face)
    if models.discount is None:
        offers, no_offer = None, np.zeros(size, dtype=bool)
        rate = fallback_rates(columns=asked.columns, face_value_fen=face, terms=terms, special=special)
        price = [(FALLBACK_PRICE,)] * size
    else:
        seen = as_trained(asked.columns, models.discount_pins)
        offers = models.discount.price(
            columns=seen,
            face_value_fen=face,
            submitted_at=asked.submitted_at,
            costs=terms.costs,
            policy=terms.price,
            special=special,
            before=_as_known(asked.before, models.discount_pins),
        )
        rate, no_offer = offers.rate, offers.no_offer
        price = reasons_of_all(columns=seen, offers=offers)
    price = [
        (*found, PARTIAL_BALANCE) if partial else found
        for found, partial in zip(price, special.partial.tolist(), strict=True)
    ]
    payout = payout_fen(face, rate)
    scores = score(
        asked,
        payout_fen=payout,
        models=models,
        terms=terms,
        worth_paying=~no_offer,
        explain_paid=False,  # a quote is awaited; why a paid trade has its score is told when somebody asks
    )
    unknown = np.full(size, np.nan)
    return Answers(
        rate=rate,
        payout_fen=payout,
        action=scores.action,
        fraud_probability=scores.probability,
        acceptance_probability=unknown if offers is None else offers.acceptance_probability,
        resale_p10=unknown if offers is None else offers.resale_p10,
        resale_p50=unknown if offers is None else offers.resale_p50,
        resale_p90=unknown if offers is None else offers.resale_p90,
        offer_density=unknown if offers is None else offers.offer_density,
        offer_centre=unknown if offers is None else offers.offer_centre,
        reasons=[(*prices, *risks) for prices, risks in zip(price, scores.reasons, strict=True)],
        no_offer=no_offer,
        valid_minutes=_valid_minutes(asked, terms.price),
        offers=offers,
        decisions=scores.decisions,
        let_through=scores.let_through,
        notes=scores.notes,
        shadow_rules=scores.shadow_rules,
    )


def reference_rates(asked: Asked, *, models: ModelPair, terms: Terms) -> np.ndarray:
    """What the reference card of each trade's type is priced at (n,) at the trade's moment, held by the cap of daily
    moves and before exploration: what the next day's moves are measured from. NaN where it is no offer, and without a
    model or ``before``."""
    if models.discount is None or asked.before is None:
        return np.full(len(asked), np.nan)
    before = _as_known(asked.before, models.discount_pins)
    offers = models.discount.price(
        columns=as_reference(as_trained(asked.columns, models.discount_pins), asked.before),
        face_value_fen=asked.before.face_value_fen,
        submitted_at=asked.submitted_at,
        costs=terms.costs,
        policy=terms.price,
        before=before,
    )
    return np.where(offers.no_offer, np.nan, offers.centre_rate)


def _as_known(before: DayBefore | None, pins: Mapping[str, str]) -> DayBefore | None:
    """Without the columns of which the model reads a former definition: the market of then is in today's."""
    return before if before is None or not pins else before.without(pins)


def _once(doubts: tuple[Reason, ...], risks: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Both, without risks that say again what a doubt says."""
    told = {reason.code for reason in doubts}
    return (*doubts, *(risk for risk in risks if risk.code not in told)) if doubts else risks


def _valid_minutes(asked: Asked, policy: PricePolicy) -> np.ndarray:
    """Whole minutes (n,) int64 that each quote binds; a valid card's never beyond its last valid day."""
    minutes = valid_minutes(columns=asked.columns, rows=len(asked), policy=policy)
    days = asked.columns.get("card_days_to_expiry")
    if days is None:
        return minutes
    left = minutes_to_expiry(days_to_expiry=days, submitted_at=asked.submitted_at)
    return np.minimum(minutes, left).astype(np.int64)


def fallback_rates(
    *, columns: Columns, face_value_fen: np.ndarray, terms: Terms, special: SpecialCards | None = None
) -> np.ndarray:
    """Rates (n,) without a model: the rate table without a log less a haircut, inside the card type's band.
    special: None: whole cards of usual face values."""
    cards = special or ordinary_cards(face_value_fen)
    rate, _ = table_rates(
        table=RateTable(),
        columns=as_usual(columns, cards),
        face_value_fen=cards.usual_fen,
        costs=terms.costs,
        policy=terms.price,
    )
    low, high = price_band(context=card_context(columns, len(cards)), policy=terms.price)
    kept = 1.0 - terms.price.partial_balance_share * cards.partial
    return round_rate(np.clip(rate * kept - HAIRCUT, low, high))
