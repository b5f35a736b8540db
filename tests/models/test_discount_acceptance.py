"""Acceptance rises with the rate and falls with competitors' bids by construction, and finds the true reaction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.discount.acceptance import STEEPNESS_RANGE, AcceptanceCurve, AcceptanceModel
from models.discount.context import card_context
from models.discount.link import KNOTS, link_of
from models.discount.model import DiscountModel
from models.discount.pooled import PooledLogit
from tests.models.discount_market import (
    TYPES,
    cards,
    fitted_model,
    later_market,
    make_market,
    model_without_jitter,
    stubborn_model,
)

COMPETITOR = ("market_competitor_best", "market_competitor_mean", "market_competitor_level")


MODELS = pytest.mark.parametrize(
    "model",
    [fitted_model, model_without_jitter, stubborn_model],
    ids=["usual", "without_jitter", "stubborn"],
)


def curve_of(
    *, location: float, steepness: float, floor: float, alpha: float = 1.0, beta: float = 1.0
) -> AcceptanceCurve:
    one = np.ones(1)
    link = link_of(np.where(KNOTS < 0, alpha, beta), 0.0)
    return AcceptanceCurve(location * one, steepness * one, floor * one, link)


@given(
    location=st.floats(0.3, 1.2),
    steepness=st.floats(0.05, 8),
    floor=st.floats(0.0, 0.3),
    alpha=st.floats(0.3, 4.0),
    beta=st.floats(0.3, 4.0),
    low=st.floats(0.2, 0.98),
    step=st.floats(1e-4, 0.02),
)
def test_a_higher_rate_is_accepted_more_often(
    location: float, steepness: float, floor: float, alpha: float, beta: float, low: float, step: float
) -> None:
    """P(accept) rises strictly wherever honest sellers are not already sure to machine precision."""
    curve = curve_of(location=location, steepness=steepness, floor=floor, alpha=alpha, beta=beta)
    rates = np.array([[low, low + step]])
    lower, higher = curve.probability(rates)[0]
    assert floor <= lower <= higher <= 1
    if 1e-9 < curve.honest(rates)[0, 0] < 1 - 1e-6:
        assert lower < higher


@given(share=st.floats(0.02, 0.98), location=st.floats(0.3, 1.2), steepness=st.floats(0.1, 8))
def test_rate_taken_by_a_share_is_taken_by_that_share(
    share: float, location: float, steepness: float
) -> None:
    """The rate that a share of honest sellers takes is the inverse of the curve."""
    curve = curve_of(location=location, steepness=steepness, floor=0.1, alpha=0.8, beta=1.5)
    assert curve.honest(curve.rate_taken_by(share))[0] == pytest.approx(share, rel=1e-6)


def test_nobody_refuses_among_those_who_take_any_rate() -> None:
    """The floor is accepted at a rate that no honest seller takes."""
    curve = curve_of(location=0.9, steepness=4.0, floor=0.07)
    np.testing.assert_allclose(curve.probability(np.zeros(1)), 0.07)


def curve_on(model: DiscountModel, columns: dict[str, np.ndarray]) -> AcceptanceCurve:
    return model.acceptance_curve(columns=columns, rows=len(columns["card_type"]))


def lines(count: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Every card of the market (a hundred of them) repeated ``count`` times in a row; none without a bid."""
    market = later_market()
    known = np.isfinite(market.columns["market_competitor_best"]) & (market.columns["card_is_expired"] == 0)
    chosen = np.random.default_rng(seed).choice(np.flatnonzero(known), 100, replace=False)
    return {name: np.repeat(column[chosen], count) for name, column in market.columns.items()}


def steps(curve: AcceptanceCurve, count: int) -> np.ndarray:
    """Differences (cards, count - 1) of the curves' places along each line."""
    return np.diff(curve.location.reshape(-1, count), axis=1)


@MODELS
def test_fitted_curves_rise_strictly_with_the_rate(model) -> None:
    """No step of the fitted surface is level or goes down between a rate nobody and a rate everybody takes."""
    curve = curve_on(model(), later_market().columns).rows(slice(0, 300))
    probability = curve.probability(np.linspace(0.0, 1.0, 1_001)[None, :])
    honest = curve.honest(np.linspace(0.0, 1.0, 1_001)[None, :])
    inside = ((honest > 1e-9) & (honest < 1 - 1e-6))[:, :-1]
    assert np.all(np.diff(probability, axis=1)[inside] > 0)
    assert np.all(np.diff(probability, axis=1) >= 0)


@MODELS
def test_acceptance_falls_when_competitors_bid_more(model) -> None:
    """All competitors' bids move up together, far beyond what was logged: P(accept) falls at every step."""
    count = 121
    columns = lines(count)
    move = np.tile(np.linspace(-0.15, 0.15, count), 100)
    columns |= {name: columns[name] + move for name in COMPETITOR}
    columns["market_competitor_momentum"] = columns["market_competitor_momentum"] + move
    columns["market_spread"] = columns["market_spread"] - move
    curve = curve_on(model(), columns)
    assert np.all(steps(curve, count) >= 0)
    for rate in (0.80, 0.85, 0.90):
        probability = curve.probability(np.full(len(move), rate)).reshape(-1, count)
        assert np.all(np.diff(probability, axis=1) <= 0)
        assert np.all(probability[:, -1] < probability[:, 0])


@MODELS
@pytest.mark.parametrize("name", COMPETITOR)
def test_acceptance_does_not_rise_with_a_single_competitor_column(model, name: str) -> None:
    """Each column of competitors' bids alone moves the curve the same way."""
    count = 61
    columns = lines(count)
    columns[name] = columns[name] + np.tile(np.linspace(-0.1, 0.1, count), 100)
    assert np.all(steps(curve_on(model(), columns), count) >= 0)


@MODELS
def test_place_rises_with_face_value(model) -> None:
    """A card of more yuan never gets a curve further down, even where the log says so."""
    faces = np.arange(10.0, 1_500.0, 10.0)
    columns = lines(len(faces))
    columns["card_face_cny"] = np.tile(faces, 100)
    columns["card_face_of_max"] = np.tile(faces / 1_000, 100)
    columns["card_face_is_usual"] = np.ones(len(columns["card_face_cny"]))
    assert np.all(steps(curve_on(model(), columns), len(faces)) >= 0)


@MODELS
def test_place_rises_with_days_to_expiry(model) -> None:
    """A card with more days left never gets a curve further down, even where the log says so."""
    days = np.arange(0.0, 800.0, 5.0)
    columns = lines(len(days))
    columns["card_days_to_expiry"] = np.tile(days, 100)
    assert np.all(steps(curve_on(model(), columns), len(days)) >= 0)


@MODELS
def test_steepness_ignores_face_days_and_bids(model) -> None:
    """How steeply sellers react depends on nothing that moves the price, and stays within its bound."""
    count = 50
    columns = lines(count)
    rng = np.random.default_rng(4)
    columns["card_face_cny"] = rng.uniform(10, 1_500, 100 * count)
    columns["card_face_of_max"] = columns["card_face_cny"] / 1_000
    columns["card_days_to_expiry"] = rng.uniform(0, 900, 100 * count)
    columns |= {name: rng.uniform(0.7, 1.0, 100 * count) for name in (*COMPETITOR, "market_buyer_best")}
    steepness = curve_on(model(), columns).steepness.reshape(-1, count)
    assert np.all(steepness == steepness[:, :1])
    pooled = model().acceptance.pooled.slope
    assert np.all(steepness <= pooled * STEEPNESS_RANGE * (1 + 1e-9))
    assert np.all(steepness >= pooled / STEEPNESS_RANGE * (1 - 1e-9))


def test_place_is_near_the_truth_on_later_trades() -> None:
    """The rate that half of the sellers take is found to within a point, and so is their steepness."""
    market = later_market()
    valid = market.columns["card_is_expired"] == 0
    curve = curve_on(fitted_model(), market.columns)
    assert np.abs(curve.rate_taken_by(0.5) - market.accept_at)[valid].mean() < 0.008
    fuel = market.columns["card_category"] == "fuel"
    spread = curve.rate_taken_by(0.7) - curve.rate_taken_by(0.3)
    assert np.median(spread[~fuel & valid]) > 1.3 * np.median(spread[fuel & valid])


def test_acceptance_is_calibrated_on_later_trades() -> None:
    """Mean predicted probability is the share accepted: overall, per fifth of probability, per card type."""
    market = make_market(rows=8_000, seed=17, from_day=61, days=14)
    probability = curve_on(fitted_model(), market.columns).probability(market.offered_rate)
    assert abs(probability.mean() - market.accepted.mean()) < 0.02
    fifths = np.digitize(probability, np.quantile(probability, [0.2, 0.4, 0.6, 0.8]))
    for rows in (
        *(fifths == fifth for fifth in range(5)),
        *(market.columns["card_type"] == name for name in TYPES),
    ):
        assert abs(probability[rows].mean() - market.accepted[rows].mean()) < 0.06


def test_log_without_price_movement_stays_believable() -> None:
    """Without jitter the slopes stay near usual ones, and the model is trusted less."""
    model = model_without_jitter()
    assert 1.0 < model.acceptance.pooled.slope < 6.0
    assert model.training.trust < fitted_model().training.trust == 1.0


@pytest.mark.parametrize("trees", [True, False])
def test_saved_model_answers_bit_for_bit(trees: bool, tmp_path: Path) -> None:
    """With trees and without, loading gives the same curves."""
    model = stubborn_model().acceptance if trees else AcceptanceModel(pooled=PooledLogit())
    model.save(tmp_path)
    market = later_market()
    resale = fitted_model().resale_estimate(columns=market.columns, rows=len(market))
    known = {
        "columns": market.columns,
        "context": market.context,
        "resale": resale,
        "floor": np.full(len(market), 0.01),
    }
    before, after = model.curve(**known), AcceptanceModel.load(tmp_path).curve(**known)
    assert np.array_equal(before.location, after.location)
    assert np.array_equal(before.steepness, after.steepness)
    assert AcceptanceModel.load(tmp_path).links.to_dict() == model.links.to_dict()


def test_prior_needs_no_log() -> None:
    """Without any log half of the sellers take the competitor's bid where it lies five points under resale."""
    columns = cards(market_competitor_best=np.array([0.85, np.nan]))
    prior = AcceptanceModel(pooled=PooledLogit())
    resale = fitted_model().resale_estimate(columns=columns, rows=2)
    curve = prior.curve(columns=columns, context=card_context(columns, 2), resale=resale, floor=np.zeros(2))
    assert np.all(np.abs(curve.probability(np.full(2, 0.85)) - 0.5) < 0.1)
