"""Acceptance rises with the rate by construction and finds the sellers' true reaction."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.acceptance import AcceptanceCurve, AcceptanceModel, PooledLogit, fit_pooled, sigmoid
from models.discount.context import CardContext, card_context
from tests.models.discount_market import card, fitted_model, later_market, make_market

rates = st.floats(0.3, 1.2)


@given(
    resale=rates,
    location=st.floats(-3, 3),
    steepness=st.floats(0.05, 8),
    low=st.floats(0.2, 0.98),
    step=st.floats(1e-4, 0.02),
)
def test_a_higher_rate_is_accepted_more_often(
    resale: float, location: float, steepness: float, low: float, step: float
) -> None:
    """P(accept) rises strictly wherever it is not already 0 or 1 to machine precision."""
    curve = AcceptanceCurve(np.array([resale]), np.array([location]), np.array([steepness]))
    lower, higher = curve.probability(np.array([[low, low + step]]))[0]
    assert lower <= higher
    if 1e-9 < lower < 1 - 1e-9:
        assert lower < higher


def test_fitted_curves_rise_on_a_dense_grid() -> None:
    """No step of the fitted surface goes down."""
    curve = fitted_model().acceptance_curve(columns=later_market().columns, rows=2_000)
    grid = np.linspace(0.0, 1.0, 1_001)[None, :]
    assert np.all(np.diff(curve.rows(slice(0, 300)).probability(grid), axis=1) >= 0)


def test_acceptance_is_calibrated_on_later_trades() -> None:
    """The mean predicted probability is the rate of acceptance, overall and for either half."""
    market = later_market()
    curve = fitted_model().acceptance_curve(columns=market.columns, rows=2_000)
    probability = curve.probability(market.offered_rate)
    assert abs(probability.mean() - market.accepted.mean()) < 0.03
    high = probability > np.median(probability)
    for half in (high, ~high):
        assert abs(probability[half].mean() - market.accepted[half].mean()) < 0.06


def context_of(competitor: np.ndarray, card_type: np.ndarray) -> CardContext:
    return card_context({"card_type": card_type, "market_competitor_best": competitor}, len(competitor))


def test_pooled_logit_recovers_known_slopes() -> None:
    """With prices that move, the pooled fit finds the slopes it was drawn from, however the types differ."""
    rng = np.random.default_rng(0)
    resale, competitor = rng.normal(0.9, 0.03, 40_000), rng.normal(0.85, 0.03, 40_000)
    rate = 0.85 + rng.uniform(-0.05, 0.05, 40_000)
    kind = rng.integers(0, 10, 40_000)
    level = 2.0 * rng.normal(size=10)
    logit = 0.8 + level[kind] + 1.2 * (rate - resale) / 0.05 + 0.9 * (rate - competitor) / 0.05
    accepted = (rng.random(40_000) < sigmoid(logit)).astype(np.float64)
    context = context_of(competitor, np.array([f"type_{number}" for number in kind], dtype=object))
    found = fit_pooled(context=context, resale_mean=resale, rate=rate, accepted=accepted)
    np.testing.assert_allclose((found.resale_slope, found.competitor_slope), (1.2, 0.9), atol=0.08)
    fitted = [found.intercept + found.type_levels[f"type_{number}/valid"] for number in range(10)]
    np.testing.assert_allclose(fitted, 0.8 + level, atol=0.25)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), backwards=st.booleans())
def test_slopes_stay_positive_on_odd_logs(seed: int, backwards: bool) -> None:
    """A constant price, or a log in which higher offers were refused, still gives a rising curve."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.8, 0.9, 2_000) if backwards else np.full(2_000, 0.85)
    accepted = (rng.random(2_000) < np.where(rate > 0.85, 0.2, 0.7)).astype(np.float64)
    context = context_of(np.full(2_000, np.nan), np.full(2_000, "any", dtype=object))
    found = fit_pooled(context=context, resale_mean=np.full(2_000, 0.9), rate=rate, accepted=accepted)
    assert found.resale_slope + found.competitor_slope > 0
    assert min(found.resale_slope, found.competitor_slope) >= 0
    assert np.isfinite(found.intercept)


def test_prior_puts_half_of_the_acceptances_where_it_says() -> None:
    """The documented default: even odds near the competitor's bid, or six points or so under resale value."""
    prior = AcceptanceModel(pooled=PooledLogit())
    for known, rate in (({"market_competitor_best": 0.85}, 0.85), ({"market_competitor_best": np.nan}, 0.85)):
        columns = card(**known)
        curve = prior.curve(columns=columns, context=card_context(columns, 1), resale_mean=np.array([0.90]))
        assert abs(curve.probability(np.array([rate]))[0] - 0.5) < 0.05


def test_log_without_price_movement_keeps_the_curves_near_the_pooled_slope() -> None:
    """Steepness never leaves its bound, whatever a log without jitter suggests."""
    from tests.models.discount_market import fit_market

    model = fit_market(make_market(rows=4_000, seed=8, jitter=0.0))
    curve = model.acceptance_curve(columns=later_market().columns, rows=2_000)
    slope = model.acceptance.pooled.resale_slope + model.acceptance.pooled.competitor_slope
    assert np.all(curve.steepness <= slope * 4.0 + 1e-9)
    assert np.all(curve.steepness >= slope / 4.0 - 1e-9)
    assert model.trust < fitted_model().trust == 1.0
