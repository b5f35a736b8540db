"""The discount model as a whole: offers inside their rails, the same after saving, sane on thin data."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.discount.model import DiscountModel
from models.discount.offers import Offers
from models.discount.training import (
    ACCEPTANCE_PRIOR,
    KIND_RISK_BY_TYPE,
    RATE_TABLE_UNLOGGED,
    TooFewResales,
    fit_discount,
)
from models.policy import Band, Costs, PricePolicy
from tests.models.discount_market import (
    DAY_MS,
    SETTINGS,
    Market,
    card,
    fit_market,
    fitted_model,
    later_market,
    make_market,
)

COSTS = Costs()
POLICY = PricePolicy()
STILL = PricePolicy(exploration_half_width=0.0)


def price(model: DiscountModel, market: Market, policy: PricePolicy = POLICY, costs: Costs = COSTS) -> Offers:
    return model.price(
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        costs=costs,
        policy=policy,
    )


def price_card(policy: PricePolicy = STILL, model: DiscountModel | None = None, **known: object) -> Offers:
    columns = card(**known)
    return (model or fitted_model()).price(
        columns=columns,
        face_value_fen=np.rint(columns["card_face_cny"] * 100).astype(np.int64),
        submitted_at=np.array([70 * DAY_MS]),
        costs=COSTS,
        policy=policy,
    )


def test_every_offer_is_inside_band_and_margin_floor() -> None:
    """Exploration included, no rate leaves its band, and no card is bought under the margin floor."""
    market = later_market()
    offers = price(fitted_model(), market)
    expired = market.columns["card_is_expired"] == 1
    assert np.all((offers.rate >= offers.band_low) & (offers.rate <= offers.band_high))
    assert np.all((offers.rate[~expired] >= 0.60) & (offers.rate[~expired] <= 0.97))
    logistics = POLICY.physical_logistics_share * (market.columns["card_form"] == "physical")
    margin = offers.resale_mean - offers.rate * (1 + COSTS.capital_share) - logistics
    margin -= COSTS.handling_fen / market.face_value_fen
    assert np.all(margin[~offers.no_offer] >= POLICY.margin_floor - 1e-9)


def test_expired_cards_are_bought_at_one_to_five_percent() -> None:
    """An expired card's rate lies in the expired band, whatever its type is worth while valid."""
    market = later_market()
    offers = price(fitted_model(), market)
    expired = market.columns["card_is_expired"] == 1
    assert expired.sum() > 20
    assert np.all((offers.rate[expired] >= 0.01) & (offers.rate[expired] <= 0.05))


def test_expired_card_of_a_log_without_expired_cards() -> None:
    """A log that never saw an expired card does not value it as a valid one."""
    market = make_market(rows=3_000, seed=5)
    valid = market.columns["card_is_expired"] == 0
    model = fit_discount(
        columns={name: column[valid] for name, column in market.columns.items()},
        names=market.names,
        submitted_at=market.submitted_at[valid],
        offered_rate=market.offered_rate[valid],
        accepted=market.accepted[valid],
        resale_rate=market.resale_rate[valid],
        settings=SETTINGS,
    )
    offer = price_card(model=model, card_is_expired=1.0, card_days_to_expiry=-20.0)
    assert 0.01 <= offer.rate[0] <= 0.05
    assert offer.anchor[0] == "expired"
    assert offer.resale_mean[0] < 0.10


def test_physical_card_is_cheaper_where_the_market_makes_no_difference() -> None:
    """Logistics come off the price when sellers and buyers treat both forms alike."""
    physical = price_card(card_form="physical", card_days_to_expiry=200.0)
    virtual = price_card(card_form="virtual", card_days_to_expiry=200.0)
    assert physical.rate[0] < virtual.rate[0]
    assert physical.logistics_fen[0] == 3_000
    assert virtual.logistics_fen[0] == 0


@pytest.mark.parametrize(
    ("known", "anchor"),
    [
        ({}, "buyer_best"),
        ({"market_buyer_best": np.nan}, "resale_mean"),
        ({"market_buyer_best": np.nan, "resale_mean_30d": np.nan}, "category_mean"),
    ],
)
def test_unknown_type_is_answered_from_a_named_anchor(known: dict[str, object], anchor: str) -> None:
    """A type never seen gets a finite offer, and the answer says what the estimate stands on."""
    offer = price_card(card_type="brand_new", **known)
    assert offer.anchor[0] == anchor
    assert 0.60 <= offer.rate[0] <= 0.97
    assert 0.8 < offer.resale_mean[0] < 1.0


def test_type_without_any_data_falls_back_to_the_middle_of_its_band() -> None:
    """Nothing but the catalogue's band: the estimate starts from its middle."""
    nothing = dict.fromkeys(
        ("market_buyer_best", "market_competitor_best", "resale_mean_30d", "resale_category_mean_30d"), np.nan
    )
    offer = price_card(card_type="brand_new", card_category="new", **nothing)
    assert offer.anchor[0] == "band_middle"
    assert offer.table_source[0] == "band"
    assert np.isfinite(offer.rate[0])


def test_offer_follows_the_market_down() -> None:
    """When every price falls by ten points after training, expected margins stay positive."""
    fallen = make_market(rows=500, seed=9, from_day=62, days=5, level=-0.10)
    offers = price(fitted_model(), fallen)
    valid = fallen.columns["card_is_expired"] == 0
    known = valid & np.isfinite(fallen.columns["market_buyer_best"])
    assert np.abs(offers.resale_mean - fallen.resale_expected)[known].mean() < 0.01
    assert np.all(offers.rate[known] < fallen.resale_expected[known])


def test_policy_band_overrides_catalogue_by_category_then_type() -> None:
    """A band of the policy wins over the catalogue, the card type's over the category's."""
    policy = PricePolicy(
        exploration_half_width=0.0,
        categories={"retail": Band(max_rate=0.70)},
        card_types={"type_3": Band(max_rate=0.65)},
    )
    assert price_card(policy).rate[0] == 0.65
    assert price_card(policy, card_type="type_2").rate[0] == 0.70
    assert price_card(policy, card_type="type_5", card_category="fuel").rate[0] > 0.70


def test_card_whose_costs_exceed_its_value_is_not_offered_but_still_rated() -> None:
    """A five-yuan card cannot carry two yuan of handling inside its band: flagged, and rated all the same."""
    offer = price_card(card_face_cny=5.0)
    assert offer.no_offer[0]
    assert offer.rate[0] == 0.60


def test_kind_risk_eats_the_profit_and_can_end_the_offer() -> None:
    """A fraud-ridden card kind never gets more and earns less; with overwhelming fraud nothing is offered."""
    honest, risky = price_card(kind_fraud_rate_30d=0.0), price_card(kind_fraud_rate_30d=0.03)
    assert risky.rate[0] <= honest.rate[0]
    assert risky.expected_profit_fen[0] < honest.expected_profit_fen[0]
    assert price_card(kind_fraud_rate_30d=0.6).no_offer[0]


def test_only_named_columns_reach_the_models() -> None:
    """A person's columns in the table change nothing: the price is the same bit for bit."""
    market = later_market()
    with_person = {**market.columns, "seller_fraud_rate_all": np.random.default_rng(0).random(2_000)}
    plain = price(fitted_model(), market)
    offers = fitted_model().price(
        columns=with_person,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        costs=COSTS,
        policy=POLICY,
    )
    assert np.array_equal(plain.rate, offers.rate)
    assert fitted_model().training.names == market.names


def test_saved_model_answers_bit_for_bit(tmp_path: Path) -> None:
    """Loading what was saved gives the same offers in every field, and no file is a pickle."""
    fitted_model().save(tmp_path)
    before, after = price(fitted_model(), later_market()), price(DiscountModel.load(tmp_path), later_market())
    for field in fields(Offers):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".json"}


def test_one_row_is_priced_as_in_a_batch() -> None:
    """The live path and the batch path agree to the last bit."""
    market = later_market()
    batch = price(fitted_model(), market)
    for row in range(0, 2_000, 97):
        single = fitted_model().price(
            columns={name: column[row : row + 1] for name, column in market.columns.items()},
            face_value_fen=market.face_value_fen[row : row + 1],
            submitted_at=market.submitted_at[row : row + 1],
            costs=COSTS,
            policy=POLICY,
        )
        assert single.rate[0] == batch.rate[row]
        assert single.acceptance_probability[0] == batch.acceptance_probability[row]


def test_entirely_unknown_columns_still_train_and_price() -> None:
    """A user without market or label data gets a model that says which parts stand on defaults."""
    market = make_market(rows=3_000, seed=3)
    for name in ("market_competitor_best", "market_buyer_best", "kind_fraud_rate_30d"):
        market.columns[name][:] = np.nan
    model = fit_market(market)
    assert model.training.fallbacks == (KIND_RISK_BY_TYPE,)
    assert np.isfinite(price(model, market).rate).all()


def test_log_without_offers_fits_resale_and_says_so() -> None:
    """Price data without offers: resale is learnt, acceptance and rate table stand on documented defaults."""
    market = make_market(rows=3_000, seed=3)
    market.offered_rate[:] = np.nan
    model = fit_market(market)
    assert model.training.fallbacks == (ACCEPTANCE_PRIOR, RATE_TABLE_UNLOGGED, KIND_RISK_BY_TYPE)
    offers = price(model, later_market())
    assert np.isfinite(offers.rate).all()
    valid = later_market().columns["card_is_expired"] == 0
    assert 0.01 < np.mean((later_market().resale_expected - offers.rate)[valid]) < 0.12


def test_too_few_resales_are_refused() -> None:
    """Without resale rates there is nothing to learn a value from: a named refusal with the counts."""
    market = make_market(rows=500, seed=4)
    market.resale_rate[50:] = np.nan
    with pytest.raises(TooFewResales, match="27 trades with a resale rate"):
        fit_market(market)


def test_order_of_training_rows_does_not_matter() -> None:
    """The fit sorts by time itself."""
    market = make_market(rows=2_000, seed=6)
    order = np.random.default_rng(1).permutation(2_000)
    shuffled = fit_discount(
        columns={name: column[order] for name, column in market.columns.items()},
        names=market.names,
        submitted_at=market.submitted_at[order],
        offered_rate=market.offered_rate[order],
        accepted=market.accepted[order],
        resale_rate=market.resale_rate[order],
        settings=SETTINGS,
    )
    assert np.array_equal(
        price(fit_market(market), later_market()).rate, price(shuffled, later_market()).rate
    )


def test_price_is_the_same_for_two_sellers_in_one_hour() -> None:
    """Same card, same hour, same price; the next hour draws anew."""
    columns = {name: np.repeat(column, 3) for name, column in card().items()}
    moments = np.array([70 * DAY_MS, 70 * DAY_MS + 1_800_000, 70 * DAY_MS + 3_600_000])
    offers = fitted_model().price(
        columns=columns,
        face_value_fen=np.full(3, 50_000),
        submitted_at=moments,
        costs=COSTS,
        policy=POLICY,
    )
    assert offers.rate[0] == offers.rate[1] != offers.rate[2]
    assert np.all(offers.centre_rate == offers.centre_rate[0])
