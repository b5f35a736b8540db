"""How a log's offers moved: what its draws can teach, and what a trader's hidden moves would make one believe."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.discount.acceptance_fit import MOST_SLOPE_ERROR
from models.discount.anchor import resale_anchor
from models.discount.model import DiscountModel
from models.discount.offer_movement import OfferMovement, offer_movement
from models.discount.pooled import PooledLogit
from models.discount.training_facts import UNMEASURED_TRUST
from models.matrix import Encoding
from tests.models.discount_market import (
    SMALL_TREES,
    Market,
    fit_market,
    fitted_model,
    later_market,
    make_market,
    model_without_jitter,
)

JITTER = 0.02
HIDDEN = 0.02
SHARE = HIDDEN**2 / (HIDDEN**2 + JITTER**2 / 3)


@cache
def confounded() -> tuple[Market, np.ndarray]:
    """A market in which traders pay a seller who expects more just so much more, and the moves (n,) they made."""
    market = make_market(rows=8_000, seed=61, jitter=JITTER)
    rng = np.random.default_rng(62)
    move = rng.normal(0, HIDDEN, len(market))
    offered = np.clip(market.offered_rate + move, 0.005, 1.0)
    scale = np.where(market.columns["card_category"] == "fuel", 0.014, 0.026)
    chance = 1 / (1 + np.exp(-(offered - market.accept_at - move) / scale))
    accepted = rng.random(len(market)) < chance
    resale = market.resale_expected + rng.normal(0, 0.01, len(market))
    return replace(
        market,
        offered_rate=offered,
        accepted=accepted.astype(np.float64),
        resale_rate=np.where(accepted, np.maximum(resale, 0.0), np.nan),
        resold_at=np.where(accepted, market.submitted_at + 1, -1),
    ), move


def find(market: Market, density: np.ndarray | None = None) -> OfferMovement:
    anchor, _ = resale_anchor(market.context, expired_rate=0.10)
    encoding = Encoding.fit(market.columns, market.names)
    return offer_movement(
        inputs=encoding.matrix(market.columns),
        encoding=encoding,
        distance=market.offered_rate - anchor,
        density=market.offer_density if density is None else density,
        card_type=market.columns["card_type"],
        settings=SMALL_TREES,
    )


def test_moves_of_a_confounded_log_are_found() -> None:
    """The hidden share of the movement comes back, and the moves found are the true ones without bias."""
    market, true_move = confounded()
    found = find(market)
    assert found.hidden_share == pytest.approx(SHARE, abs=0.1)
    slope = (found.hidden @ true_move) / (found.hidden @ found.hidden)
    assert 0.8 < slope < 1.2
    valid = market.columns["card_is_expired"] == 0
    assert np.corrcoef(found.hidden[valid], true_move[valid])[0, 1] > 0.7


@pytest.mark.parametrize(("rows", "jitter"), [(8_000, 0.02), (2_000, 0.02), (1_000, 0.005)])
def test_log_that_moved_by_its_draws_alone_is_left_as_it_is(rows: int, jitter: float) -> None:
    """A policy of card and market with a logged draw hides nothing, in a small log and with small draws too."""
    found = find(make_market(rows=rows, seed=63, jitter=jitter))
    assert found.hidden_share == 0.0
    assert not found.hidden.any()


def test_price_list_rewritten_now_and_then_hides_nothing() -> None:
    """Lists whose dates and levels no input tells move all offers of a card type alike: nobody saw the sellers."""
    market = make_market(rows=8_000, seed=64, jitter=JITTER)
    types, place = np.unique(market.columns["card_type"].astype(str), return_inverse=True)
    lists = np.arange(len(market)) * 6 // len(market)
    levels = np.random.default_rng(65).normal(0, 0.01, (len(types), 6))
    found = find(replace(market, offered_rate=market.offered_rate + levels[place, lists]))
    assert found.hidden_share == 0.0
    assert not found.hidden.any()


def test_log_without_densities_is_taken_at_its_word() -> None:
    """Without densities, or with them on too few offers, no move counts as hidden and every move as random."""
    market, _ = confounded()
    few = np.where(np.arange(len(market)) % 3 == 0, market.offer_density, np.nan)
    for density in (np.full(len(market), np.nan), few):
        found = find(market, density)
        assert found.hidden_share == 0.0
        assert not found.hidden.any()
        assert found.slope_error < find(market).slope_error


def test_offers_that_were_not_drawn_moved_for_hidden_reasons_alone() -> None:
    """In a log with densities, what is not explained of an offer without a draw counts as hidden in full."""
    market, _ = confounded()
    some = np.where(np.arange(len(market)) % 5 == 0, np.nan, market.offer_density)
    found, whole = find(market, some), find(market)
    undrawn = np.isnan(some)
    assert found.hidden_share == pytest.approx(whole.hidden_share, abs=0.05)
    np.testing.assert_allclose(found.hidden[undrawn] * whole.hidden_share, whole.hidden[undrawn])


def test_slope_error_is_that_of_a_regression_on_the_draw() -> None:
    """Four times the offers, or twice the jitter, halve it; it is about that of a logit fitted on the draw alone."""
    errors = {
        (rows, jitter): find(make_market(rows=rows, seed=64, jitter=jitter)).slope_error
        for rows, jitter in ((8_000, 0.02), (2_000, 0.02), (8_000, 0.01))
    }
    assert errors[2_000, 0.02] == pytest.approx(2 * errors[8_000, 0.02])
    assert errors[8_000, 0.01] == pytest.approx(2 * errors[8_000, 0.02])
    draw = np.random.default_rng(0).uniform(-0.02, 0.02, 8_000) / 0.05
    chance = 1 / (1 + np.exp(-2.5 * draw))
    information = (chance * (1 - chance) * draw**2).sum()
    assert errors[8_000, 0.02] == pytest.approx(1 / np.sqrt(information), rel=0.1)


def test_log_without_any_movement_measures_nothing() -> None:
    """A price list without draws: the slope cannot be known, and the model keeps usual slopes and no trees."""
    market = make_market(rows=4_000, seed=65, jitter=0.0)
    assert find(market).slope_error > MOST_SLOPE_ERROR
    model = model_without_jitter()
    prior = PooledLogit()
    assert model.acceptance.pooled.resale_slope == pytest.approx(prior.resale_slope, abs=1e-3)
    assert model.acceptance.pooled.competitor_slope == pytest.approx(prior.competitor_slope, abs=1e-3)
    assert model.acceptance.place is None
    assert model.training.trust == pytest.approx(UNMEASURED_TRUST)


def steepness(model: DiscountModel) -> float:
    """Median steepness per point of face of valid cards; the truth is between 1/2.6 and 1/1.4."""
    market = later_market()
    curve = model.acceptance_curve(columns=market.columns, rows=len(market))
    step = np.array([-0.005, 0.005])[None, :]
    low, high = curve.honest(curve.rate_taken_by(0.5)[:, None] + step).T
    logits = np.log(high / (1 - high)) - np.log(low / (1 - low))
    return float(np.median(logits[market.columns["card_is_expired"] == 0]))


def test_reaction_to_price_is_found_in_spite_of_the_trader() -> None:
    """Without densities sellers look indifferent; with them much of their steepness comes back."""
    market, _ = confounded()
    usual = steepness(fitted_model())
    informed = fit_market(market)
    misled = fit_market(replace(market, offer_density=np.full(len(market), np.nan)))
    assert informed.training.hidden_share == pytest.approx(SHARE, abs=0.1)
    assert misled.training.hidden_share == 0.0
    assert abs(steepness(informed) - usual) < abs(steepness(misled) - usual)
    assert steepness(informed) > 1.3 * steepness(misled)
    assert steepness(informed) > 0.55 * usual
    assert fitted_model().training.hidden_share == model_without_jitter().training.hidden_share == 0.0
