"""The waterfall adds up to the fen, and every offer has a reason in both languages."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.explain import price_reasons, waterfall
from models.discount.offers import Offers
from models.money import payout_fen
from models.policy import Costs, PricePolicy
from tests.models.discount_market import DAY_MS, card, fitted_model, later_market


def offer(columns: dict[str, np.ndarray], face_value_fen: int, costs: Costs, policy: PricePolicy) -> Offers:
    return fitted_model().price(
        columns=columns,
        face_value_fen=np.array([face_value_fen]),
        submitted_at=np.array([70 * DAY_MS]),
        costs=costs,
        policy=policy,
    )


def codes(**known: object) -> set[str]:
    columns = card(**known)
    offers = offer(columns, round(float(columns["card_face_cny"][0]) * 100), Costs(), PricePolicy())
    return {reason.code for reason in price_reasons(columns=columns, offers=offers, row=0)}


@settings(max_examples=60, deadline=None)
@given(
    face=st.integers(1, 100_000_000),
    buyer=st.floats(0.3, 1.1),
    physical=st.booleans(),
    handling=st.floats(0, 20),
    fraud=st.floats(0, 1),
    half_width=st.floats(0, 0.05),
)
def test_waterfall_adds_up_to_the_payout(
    face: int, buyer: float, physical: bool, handling: float, fraud: float, half_width: float
) -> None:
    """Whatever the card, costs and risk, the steps sum to the payout in fen and every balance follows."""
    columns = card(
        card_face_cny=face / 100,
        market_buyer_best=buyer,
        card_form="physical" if physical else "virtual",
        kind_fraud_rate_30d=fraud,
    )
    offers = offer(
        columns, face, Costs(handling_cny=handling), PricePolicy(exploration_half_width=half_width)
    )
    steps = waterfall(offers, 0)
    assert sum(step.amount_fen for step in steps) == offers.payout_fen[0]
    assert offers.payout_fen[0] == payout_fen(np.array([face]), offers.rate)[0]
    balance = 0
    for step in steps:
        balance += step.amount_fen
        assert step.balance_fen == balance
    assert steps[0].amount_fen == face


def test_every_offer_has_reasons_in_both_languages() -> None:
    """No offer of the market is left without a reason."""
    market = later_market()
    offers = fitted_model().price(
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        costs=Costs(),
        policy=PricePolicy(),
    )
    for row in range(200):
        reasons = price_reasons(columns=market.columns, offers=offers, row=row)
        assert reasons
        assert all(reason.zh and reason.en and reason.code.isupper() for reason in reasons)


def test_reasons_name_what_is_special() -> None:
    """Each special circumstance of a card is named, and only then."""
    usual = codes()
    assert not usual & {"NEAR_EXPIRY", "EXPIRED_CARD", "PHYSICAL_LOGISTICS", "THIN_MARKET", "NO_OFFER"}
    assert "NEAR_EXPIRY" in codes(card_days_to_expiry=10.0)
    assert "EXPIRED_CARD" in codes(card_days_to_expiry=-3.0, card_is_expired=1.0)
    assert "PHYSICAL_LOGISTICS" in codes(card_form="physical")
    assert "MARKET_HIGH" in codes(market_buyer_best=0.93)
    assert "MARKET_LOW" in codes(market_buyer_best=0.86)
    assert "THIN_MARKET" in codes(market_buyer_best=np.nan, resale_mean_30d=np.nan)
    assert "BAND_LIMIT" in codes(card_max_rate=0.70)
    assert {"SMALL_FACE", "NO_OFFER"} <= codes(card_face_cny=5.0)
    assert "KIND_RISK" in codes(kind_fraud_rate_30d=0.03)
