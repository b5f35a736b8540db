"""What only risk analysts are told of a quote: the model's own decision, its costs, and what moved the probability."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from models.fraud.decision import Decisions
from models.fraud.explanation import Explanation, FamilyExplanation
from models.fraud.family_words import family_words
from models.policy import Profile
from pipelines.explaining import Explained, decided
from serving.api.schemas import Body, Models, Reason, Step

Action = Literal["pay", "hold", "review", "refuse"]


class Signal(Body):
    """One feature of the trade: its value, what that adds to the log-odds of fraud, and what it means; ``null``: what
    it means that there is no value."""

    name: str
    value: float | str | None
    unit: str
    log_odds: float
    meaning: str
    zh: str
    null: str


class Family(Body):
    """A family of features: what it adds to the log-odds, its strongest features, how it is put to the seller, and
    whether it is unless the trade is simply paid."""

    family: str
    zh: str
    en: str
    log_odds: float
    reason: Reason
    named: bool
    signals: list[Signal]


class FraudParts(Body):
    """The probability taken apart: ``base_log_odds`` (of the average trade) and the families' sum to its log-odds."""

    probability: float
    base_probability: float
    base_log_odds: float
    families: list[Family]


class ModelDecision(Body):
    """What the fraud model alone would do. Costs in fen beyond those of an honest, paid trade, expected of
    this trade alone; null without a model. ``review_saving_fen``: what a person's look is expected to save of them. The
    decision weighs fraud more and prices scarce places, so it need not be the cheapest. ``review_priority_fen``: what a
    look saves of that, the order in which the queue is worked."""

    decision: Action
    expected_cost_fen: dict[Action, float | None]
    review_saving_fen: float | None
    review_priority_fen: float | None


class QuoteExplanation(Body):
    """Why a quote is what it is, for analysts. ``fraud`` is null where ``missing`` says why."""

    quote_id: str
    trade_id: str
    decision: Action
    fraud_probability: float | None
    no_offer: bool
    let_through: float | None
    reasons: list[Reason]
    notes: list[Reason]
    shadow_rules: list[str]
    model: ModelDecision | None
    fraud: FraudParts | None
    missing: str
    absent_signals: list[str]
    waterfall: list[Step]
    models: Models


def analyst_facts(decisions: Decisions, row: int, *, profile: Profile) -> dict[str, Any]:
    """What is kept with a quote for its explanation."""
    own = decided(decisions, row)
    return {
        "decision": own.action,
        "expected_cost_fen": dict(own.expected_cost_fen),
        "review_saving_fen": own.review_saving_fen,
        "review_priority_fen": own.review_priority_fen,
        "profile": profile,
    }


def explanation_body(found: Explained) -> dict[str, Any]:
    """Body of :class:`QuoteExplanation`."""
    answer = found.answer
    own = found.decided
    return {
        "quote_id": found.quote_id,
        "trade_id": found.trade_id,
        **{name: answer[name] for name in ("decision", "fraud_probability", "no_offer", "reasons")},
        "let_through": answer.get("let_through"),
        "notes": answer.get("analyst_notes", []),
        "shadow_rules": answer.get("shadow_rules", []),
        "model": None
        if own is None
        else {
            "decision": own.action,
            "expected_cost_fen": dict(own.expected_cost_fen),
            "review_saving_fen": own.review_saving_fen,
            "review_priority_fen": own.review_priority_fen,
        },
        "fraud": None if found.fraud is None else _parts(found.fraud),
        "missing": found.missing,
        "absent_signals": list(found.absent_signals),
        "waterfall": answer["waterfall"],
        "models": answer["models"],
    }


def _parts(fraud: Explanation) -> dict[str, Any]:
    return {
        "probability": fraud.probability,
        "base_probability": fraud.base_probability,
        "base_log_odds": fraud.base_log_odds,
        "families": [_family(family) for family in fraud.families],
    }


def _family(family: FamilyExplanation) -> dict[str, Any]:
    zh, en = family_words(family.family)
    return {
        "family": family.family,
        "zh": zh,
        "en": en,
        "log_odds": family.log_odds,
        "reason": family.reason.to_dict(),
        "named": family.named,
        "signals": [asdict(signal) for signal in family.signals],
    }
