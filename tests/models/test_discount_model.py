"""The discount model as a whole: offers inside their rails, blind to the person, the same after saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.discount.model import DiscountModel
from models.discount.offers import Offers
from models.policy import Band, Costs, PricePolicy
from tests.models.discount_market import (
    DAY_MS,
    HOUR_MS,
    STILL,
    card,
    cards,
    fitted_model,
    later_market,
    make_market,
    model_without_jitter,
    price,
    price_cards,
)

COSTS = Costs()
POLICY = PricePolicy()


def price_card(policy: PricePolicy = STILL, **known: object) -> Offers:
    return price_cards(card(**known), policy=policy)


def test_every_offer_is_inside_band_and_margin_floor() -> None:
    """Exploration included, no rate leaves its band, and no card is bought under the margin floor."""
    market = later_market()
    offers = price(fitted_model(), market)
    expired = market.columns["card_is_expired"] == 1
    assert np.all((offers.rate >= offers.band_low) & (offers.rate <= offers.band_high))
    ordinary = ~expired & ~(market.columns["card_days_to_expiry"] < 90)
    assert np.all((offers.rate[ordinary] >= 0.60) & (offers.rate[ordinary] <= 0.97))
    assert np.all((offers.rate[expired] >= 0.01) & (offers.rate[expired] <= 0.05))
    assert expired.sum() > 20
    capital = COSTS.capital_rate_daily * offers.days_to_sell
    logistics = POLICY.physical_logistics_share * (market.columns["card_form"] == "physical")
    margin = offers.resale_mean - offers.rate * (1 + capital) - logistics
    margin -= COSTS.handling_fen / market.face_value_fen
    assert np.all(margin[~offers.no_offer] >= POLICY.margin_floor - 1e-9)


def test_amounts_of_an_offer_fit_together() -> None:
    """Payout is the rate in money, costs are those of the shown rate, and probabilities are probabilities."""
    market = later_market()
    offers = price(fitted_model(), market)
    face = market.face_value_fen
    exact = face * offers.rate
    assert np.all((offers.payout_fen >= exact - 1e-6) & (offers.payout_fen < exact + 1))
    assert np.all(offers.capital_fen == np.rint(offers.payout_fen * 0.0003 * offers.days_to_sell))
    assert np.all(offers.reserve_fen >= 0)
    assert np.all(
        (offers.acceptance_probability >= offers.fraud_share) & (offers.acceptance_probability <= 1)
    )
    assert np.array_equal(offers.rate, np.rint(offers.rate * 10_000) / 10_000)
    assert offers.expected_profit_fen.dtype == offers.risk_fen.dtype == np.int64


def test_physical_card_is_cheaper_where_the_market_makes_no_difference() -> None:
    """Logistics come off the price when sellers and buyers treat both forms alike."""
    physical = price_card(card_form="physical", card_days_to_expiry=200.0)
    virtual = price_card(card_form="virtual", card_days_to_expiry=200.0)
    assert physical.rate[0] < virtual.rate[0]
    assert physical.logistics_fen[0] == 3_000
    assert virtual.logistics_fen[0] == 0


@pytest.mark.parametrize("unknown", [(), ("market_buyer_best",), ("market_buyer_best", "resale_mean_30d")])
def test_type_never_seen_is_priced_and_flagged(unknown: tuple[str, ...]) -> None:
    """A type never resold gets a finite offer inside its band under its expected resale, and is flagged."""
    offer = price_card(card_type="brand_new", **dict.fromkeys(unknown, np.nan))
    assert offer.never_seen[0]
    assert not price_card().never_seen[0]
    assert 0.60 <= offer.rate[0] < offer.resale_mean[0]


def test_type_without_any_data_falls_back_to_the_middle_of_its_band() -> None:
    """Nothing but the catalogue's band: the estimate starts from its middle."""
    nothing = (
        "market_buyer_best",
        "market_competitor_best",
        "market_competitor_mean",
        "market_competitor_level",
        "resale_mean_30d",
        "resale_category_mean_30d",
    )
    offer = price_card(card_type="brand_new", card_category="new", **dict.fromkeys(nothing, np.nan))
    assert offer.anchor[0] == "band_middle"
    assert offer.table_source[0] == "band"
    assert np.isfinite(offer.rate[0])


def test_offer_follows_the_market_down() -> None:
    """When every price falls by ten points after training, expected margins stay positive."""
    fallen = make_market(rows=500, seed=9, from_day=62, days=5, level=-0.10)
    offers = price(fitted_model(), fallen)
    known = np.isfinite(fallen.columns["market_buyer_best"]) & (fallen.columns["card_is_expired"] == 0)
    assert np.all(offers.rate[known] < fallen.resale_expected[known])


def test_policy_band_overrides_the_catalogue() -> None:
    """A band of the policy wins over the catalogue, the card type's over the category's."""
    policy = PricePolicy(
        exploration_half_width=0.0,
        categories={"retail": Band(max_rate=0.70)},
        card_types={"type_3": Band(max_rate=0.65)},
    )
    assert price_card(policy).rate[0] == 0.65
    assert price_card(policy, card_type="type_2").rate[0] == 0.70
    assert price_card(policy, card_type="type_5", card_category="fuel").rate[0] > 0.70


@pytest.mark.parametrize(
    "known",
    [
        {"card_face_cny": 5.0, "card_face_of_max": 0.005},
        {"kind_fraud_rate_30d": 0.6},
        {"card_min_rate": 0.93},
        {"card_form": "physical", "card_face_cny": 30.0, "card_face_of_max": 0.03},
    ],
    ids=["tiny", "hunted", "band_too_high", "small_and_physical"],
)
def test_card_not_worth_buying_is_flagged_but_still_rated(known: dict[str, object]) -> None:
    """Where no rate of the band earns anything there is no offer, and yet a rate that says what the card is worth."""
    offer = price_card(**known)
    assert offer.no_offer[0]
    assert offer.band_low[0] <= offer.rate[0] <= offer.band_high[0]
    assert not price_card().no_offer[0]


def test_no_offer_means_that_no_rate_pays() -> None:
    """An offered card expects a profit at its best rate; one that is not offered earns nothing or breaks its floor."""
    offers = price(fitted_model(), later_market(), STILL)
    offered = ~offers.no_offer
    assert 0.5 < offered.mean() < 0.95
    assert np.all(offers.expected_profit_fen[offered] >= 0)
    unreachable = offers.high == offers.band_low
    assert np.all((offers.expected_profit_fen[~offered] <= 0) | unreachable[~offered])


def test_fraud_of_the_kind_eats_the_profit() -> None:
    """A riskier kind of card never gets more and earns less."""
    honest, risky = price_card(kind_fraud_rate_30d=0.0), price_card(kind_fraud_rate_30d=0.03)
    assert risky.rate[0] <= honest.rate[0]
    assert risky.expected_profit_fen[0] < honest.expected_profit_fen[0]
    assert risky.risk_fen[0] > honest.risk_fen[0] == 0


def test_only_named_columns_reach_the_models() -> None:
    """A person's columns in the table change nothing: the price is the same bit for bit."""
    market = later_market().rows(slice(None))
    plain = price(fitted_model(), market)
    assert fitted_model().training.names == market.names
    market.columns["seller_fraud_rate_all"] = np.random.default_rng(0).random(len(market))
    assert np.array_equal(plain.rate, price(fitted_model(), market).rate)


def numbers_of(offers: Offers) -> list[str]:
    """Names of all that is said about each offer, and of the rates that are only worked out when asked for."""
    own = [field.name for field in fields(offers) if isinstance(getattr(offers, field.name), np.ndarray)]
    return [*own, "free_rate", "usual_rate"]


def test_usual_rate_shows_what_competitors_changed() -> None:
    """With the best bid at its usual level both rates agree; with a higher one the usual rate is lower."""
    usual = fitted_model().table.competitor_usual["type_3"]
    bids = np.array([usual - 0.03, usual, usual + 0.03])
    offers = price_cards(cards(market_competitor_best=bids))
    gap = offers.free_rate - offers.usual_rate
    assert gap[0] < 0 == gap[1] < gap[2]


@pytest.mark.parametrize("model", [fitted_model, model_without_jitter])
def test_saved_model_answers_bit_for_bit(model: Callable[[], DiscountModel], tmp_path: Path) -> None:
    """Loading what was saved gives the same offers in every field, and no file is a pickle (NumPy's hold numbers)."""
    model().save(tmp_path)
    again = DiscountModel.load(tmp_path)
    before, after = price(model(), later_market()), price(again, later_market())
    for name in numbers_of(before):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".json", ".npz"}
    assert again.training == model().training


def test_one_row_is_priced_as_in_a_batch() -> None:
    """The live path (one card, or a few) and the batch path agree to the last bit in everything they say."""
    market = later_market()
    batch = price(fitted_model(), market)
    for row, count in ((row, 1 + row % 9) for row in range(0, 1_900, 97)):
        few = price(fitted_model(), market.rows(slice(row, row + count)))
        for name in numbers_of(batch):
            np.testing.assert_array_equal(getattr(few, name), getattr(batch, name)[row : row + count])


def test_price_is_the_same_for_two_sellers_in_one_hour() -> None:
    """Same card, same hour, same price; the next hour draws anew."""
    moments = np.array([70 * DAY_MS, 70 * DAY_MS + HOUR_MS // 2, 70 * DAY_MS + HOUR_MS])
    offers = fitted_model().price(
        columns=cards(card_face_cny=np.full(3, 500.0)),
        face_value_fen=np.full(3, 50_000),
        submitted_at=moments,
        costs=COSTS,
        policy=POLICY,
    )
    assert offers.rate[0] == offers.rate[1] != offers.rate[2]
    assert np.all(offers.centre_rate == offers.centre_rate[0])


def test_offers_can_be_sliced() -> None:
    """A slice of offers is the offers of the slice."""
    offers = price(fitted_model(), later_market())
    part = offers.rows(slice(3, 6))
    assert len(part) == 3
    assert np.array_equal(part.rate, offers.rate[3:6])
