"""The two answers together: what is missing degrades the answer and never pays by itself."""

from __future__ import annotations

import numpy as np

from models.discount.context import card_context
from models.discount.guard_rails import price_band
from models.discount.special import partly_used
from models.fraud.reason_dictionary import NO_RISK_SIGNALS
from models.policy import Costs, DecisionCosts, PricePolicy
from models.quoting import Asked, ModelPair, Terms, fallback_rates, quote, reference_rates, score
from tests.models.discount_market import DAY_MS, fitted_model
from tests.models.fraud_market import fitted, market
from tests.models.test_discount_move_cap import day_before, later

TERMS = Terms(costs=Costs(), decision=DecisionCosts(), price=PricePolicy())


def columns(rows: int = 3) -> dict[str, np.ndarray]:
    """A card with 12 days left, one without expiry and an expired one, in a market with bids."""
    return {
        "card_type": np.array(["walmart_cn"] * rows, dtype=object),
        "card_category": np.array(["supermarket"] * rows, dtype=object),
        "card_form": np.array(["virtual"] * rows, dtype=object),
        "card_days_to_expiry": np.array([12.0, np.nan, -5.0]),
        "card_is_expired": np.array([0.0, 0.0, 1.0]),
        "card_min_rate": np.full(rows, 0.76),
        "card_max_rate": np.full(rows, 0.95),
        "market_competitor_best": np.full(rows, 0.9),
        "market_buyer_best": np.full(rows, 0.93),
    }


def test_without_models_nothing_is_paid_and_rates_stay_in_their_bands():
    """A quote without any model is held, priced inside the band, and says what is missing."""
    asked = Asked(
        columns=columns(),
        face_value_fen=np.full(3, 50_000),
        submitted_at=np.zeros(3, dtype=np.int64),
    )
    answers = quote(
        asked,
        models=ModelPair(discount=None, fraud=None),
        terms=TERMS,
    )
    assert list(answers.action) == ["hold"] * 3
    low, high = price_band(context=card_context(columns(), 3), policy=TERMS.price)
    assert ((answers.rate >= low) & (answers.rate <= high)).all()
    assert {reason.code for reason in answers.reasons[0]} == {"FALLBACK_PRICE", "NO_FRAUD_SCORE"}
    assert np.isnan(answers.fraud_probability).all()


def test_bands_of_expired_and_nearly_expired_cards():
    """An expired card lies in its own 1-5 % band; one with 12 days left may fall below its type's band."""
    low, high = price_band(context=card_context(columns(), 3), policy=TERMS.price)
    assert list(low) == [0.05, 0.76, 0.01]
    assert list(high) == [0.95, 0.95, 0.05]


def test_fallback_rates_take_a_haircut_from_the_list():
    """Without a model the list price is lowered, because nobody watches the market."""
    rate = fallback_rates(columns=columns(), face_value_fen=np.full(3, 50_000), terms=TERMS)
    assert rate[1] < 0.9 - 0.01


def test_a_reference_card_without_an_offer_is_no_price():
    """What the next day is measured from is unknown where the reference card is no offer, and only there."""
    seen = later()
    size = len(seen["card_type"])
    seen["market_buyer_best"] = np.where(np.arange(size) % 2 == 0, seen["market_buyer_best"], 0.55)
    seen["resale_mean_30d"] = np.where(np.arange(size) % 2 == 0, seen["resale_mean_30d"], 0.55)
    asked = Asked(
        columns=seen,
        face_value_fen=np.full(size, 10_000),
        submitted_at=np.full(size, 70 * DAY_MS),
        before=day_before(seen, np.nan),
    )
    rates = reference_rates(asked, models=ModelPair(discount=fitted_model(), fraud=None), terms=TERMS)
    known = np.isfinite(rates).reshape(-1, 2)
    assert known[:, 0].mean() > 0.8
    assert known[:, 1].mean() < 0.2


def test_what_a_check_stops_has_the_reasons_of_any_stopped_trade():
    """A card that the model would pay, and that waits because its balance must be verified, has its families of risk
    named beside the check in a quote too; only what is paid has none."""
    size = 2_000
    face = np.full(size, 5_000)
    special = partly_used(face, np.where(np.arange(size) % 2 == 0, 10_000, 0))
    asked = Asked(
        columns=market(size, seed=6).columns,
        face_value_fen=face,
        submitted_at=np.zeros(size, dtype=np.int64),
        special=special,
    )
    models = ModelPair(discount=None, fraud=fitted())
    briefly, fully = (
        score(asked, models=models, terms=TERMS, explain_paid=explain) for explain in (False, True)
    )
    stopped = np.flatnonzero(briefly.action != "pay").tolist()
    assert [briefly.reasons[row] for row in stopped] == [fully.reasons[row] for row in stopped]
    waiting = [
        briefly.reasons[row] for row in stopped if special.partial[row] and briefly.action[row] == "hold"
    ]
    assert any(reasons[-1] != NO_RISK_SIGNALS for reasons in waiting)
    paid = np.flatnonzero(briefly.action == "pay").tolist()
    assert {briefly.reasons[row] for row in paid} == {(NO_RISK_SIGNALS,)}
