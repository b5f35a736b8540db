"""What the model is for: offers that earn more than the price list behind the log, jitter or none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.discount.model import DiscountModel
from models.policy import Costs, PricePolicy
from tests.models.discount_market import (
    STILL,
    Market,
    fit_market,
    fitted_model,
    make_market,
    model_without_jitter,
    price,
)

COSTS = Costs()


def true_profit(market: Market, rate: np.ndarray) -> np.ndarray:
    """Expected profit (n,) or (n, g) in fen of offering rates, by the market's own truth."""
    shape = (-1,) + (1,) * (np.ndim(rate) - 1)
    fuel = (market.columns["card_category"] == "fuel").reshape(shape)
    logistics = 0.06 * (market.columns["card_form"] == "physical").reshape(shape)
    gap = (rate - market.accept_at.reshape(shape)) / np.where(fuel, 0.014, 0.026)
    accepted = 1 / (1 + np.exp(-gap))
    days = np.where(fuel, 6.0, 2.0)
    capital = COSTS.capital_rate_daily * days
    face = market.face_value_fen.reshape(shape)
    margin = market.resale_expected.reshape(shape) - rate * (1 + capital) - logistics
    return accepted * (face * margin - COSTS.handling_fen)


def later(seed: int) -> Market:
    """Later cards with a known market, valid ones and without fraud: what nearly all of the profit comes from."""
    market = make_market(rows=3_000, seed=seed, from_day=61, days=14)
    market.columns["kind_fraud_rate_30d"][:] = 0.0
    known = np.isfinite(market.columns["market_buyer_best"]) & (market.columns["card_is_expired"] == 0)
    return market.rows(known)


def well_listed(seed: int) -> Market:
    """A log without jitter whose list is good: the best rate for each type, form and time to expiry."""
    market = make_market(rows=6_000, seed=seed, jitter=0.0)
    rng = np.random.default_rng(seed + 1)
    columns = market.columns
    grid = np.linspace(0.5, 1.0, 251)
    best = grid[true_profit(market, grid[None, :]).argmax(axis=1)]
    kind = (
        columns["card_type"]
        + "/"
        + columns["card_form"]
        + np.where(columns["card_days_to_expiry"] < 30, "/short", "")
    )
    _, cell = np.unique(kind.astype(str), return_inverse=True)
    face = np.where(columns["card_is_expired"] == 1, 1e-6, market.face_value_fen)
    listed = (np.bincount(cell, face * best) / np.bincount(cell, face))[cell].round(4)
    offered = np.where(columns["card_is_expired"] == 1, 0.03, listed)
    gap = (offered - market.accept_at) / np.where(columns["card_category"] == "fuel", 0.014, 0.026)
    accepted = rng.random(len(market)) < 1 / (1 + np.exp(-gap))
    resale = np.maximum(market.resale_expected + rng.normal(0, 0.01, len(market)), 0.0)
    return replace(
        market,
        offered_rate=offered,
        accepted=accepted.astype(np.float64),
        resale_rate=np.where(accepted, resale, np.nan),
        resold_at=np.where(accepted, market.submitted_at + 1, -1),
    )


def shares(model: DiscountModel, market: Market, policy: PricePolicy = STILL) -> tuple[float, float]:
    """Profit of the model and of the static table, as shares of the best possible; neither buys at a loss."""
    best = np.maximum(true_profit(market, np.linspace(0.5, 1.0, 501)[None, :]).max(axis=1), 0.0).sum()
    offers = price(model, market, policy)
    own = np.where(offers.no_offer, 0.0, true_profit(market, offers.rate)).sum()
    table = true_profit(market, np.clip(offers.table_rate, offers.band_low, offers.band_high))
    return own / best, table.sum() / best


def test_model_of_a_jittered_log_earns_nearly_all_there_is() -> None:
    """With ±2 points in the log, more than nine tenths of the oracle's profit, well above the table's."""
    own, table = shares(fitted_model(), later(71))
    assert own > 0.93
    assert own > table + 0.05


def test_exploration_costs_little() -> None:
    """The moves of the default policy cost about their share of the profit, and at most a hundredth."""
    still, _ = shares(fitted_model(), later(71))
    exploring, _ = shares(fitted_model(), later(71), PricePolicy())
    assert still - exploring < 0.01


@pytest.mark.parametrize("seed", [8, 18, 28])
def test_model_of_a_log_without_jitter_is_never_worse_than_its_table(seed: int) -> None:
    """Where prices never moved for like cards, the model earns at least what the list earned."""
    model = (
        model_without_jitter() if seed == 8 else fit_market(make_market(rows=6_000, seed=seed, jitter=0.0))
    )
    own, table = shares(model, later(seed + 50))
    assert own >= table


def test_good_price_list_is_not_made_worse() -> None:
    """A list without jitter that leaves little to gain: the model still earns at least what the list earned."""
    own, table = shares(fit_market(well_listed(38)), later(88))
    assert table > 0.88
    assert own >= table


def test_predicted_profit_is_about_the_realised_one() -> None:
    """What the model expects to earn on its own offers is what they earn by the truth, to a tenth."""
    market = later(72)
    offers = price(fitted_model(), market, STILL)
    bought = ~offers.no_offer
    truth = true_profit(market, offers.rate)[bought].sum()
    assert offers.expected_profit_fen[bought].sum() == pytest.approx(truth, rel=0.1)
