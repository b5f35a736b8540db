"""The figures of the discount model mean what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np

from models.discount.resale import ResaleEstimate
from models.evaluation.coverage import range_metrics, worst_share
from models.evaluation.discount import (
    DiscountMetrics,
    acceptance_metrics,
    evaluate_discount,
    pinball,
    resale_metrics,
)
from models.evaluation.profit import WEEK_MS, Outcomes, profit_metrics, realised_profit_fen
from models.policy import Costs, PricePolicy
from tests.models.discount_market import fitted_model, later_market


def outcomes(**changed: np.ndarray) -> Outcomes:
    market = later_market()
    return replace(
        Outcomes(
            offered_rate=market.offered_rate,
            accepted=market.accepted,
            resale_rate=market.resale_rate,
            fraud=np.full(len(market), np.nan),
            submitted_at=market.submitted_at,
        ),
        **changed,
    )


def judge(**changed: np.ndarray) -> DiscountMetrics:
    market = later_market()
    return evaluate_discount(
        model=fitted_model(),
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        outcomes=outcomes(**changed),
        costs=Costs(),
        policy=PricePolicy(),
    )


@cache
def judged() -> DiscountMetrics:
    return judge()


def known():
    market = later_market()
    return fitted_model().know(
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        costs=Costs(),
        policy=PricePolicy(),
    )


def test_a_good_model_has_good_figures() -> None:
    """On later trades of the market it was fitted on, every figure is near its aim."""
    found = judged()
    assert found.acceptance.rows == 2_000
    assert found.acceptance.brier < found.acceptance.rate * (1 - found.acceptance.rate)
    assert found.acceptance.ece < 0.08
    assert found.resale.mae < 0.012
    assert 0.72 < found.range.coverage_80 < found.range.coverage_90
    assert 0.82 < found.range.coverage_90 < 0.97
    assert 0.9 < found.profit.ratio < 1.1
    assert found.surface.cards == 24
    assert found.surface.points == 24 * 9 * 11 * 11
    assert found.surface.violations == 0
    assert found.stability.types == 8
    assert 0 < found.stability.mean_daily_move < found.stability.p95_daily_move < 0.02


def test_figures_are_flat_floats() -> None:
    """What goes to the registry is a flat mapping of floats."""
    flat = judged().to_dict()
    assert all(isinstance(value, float) for value in flat.values())
    assert {
        "acceptance_log_loss",
        "acceptance_ece",
        "resale_mae",
        "range_coverage_90",
        "range_coverage_90_worst_type",
        "profit_ratio",
        "surface_violations",
        "stability_p95_daily_move",
    } <= set(flat)


def test_parts_without_rows_are_unknown() -> None:
    """No decisions and no resales: the figures are NaN, not zero, and nothing fails."""
    nothing = np.full(2_000, np.nan)
    found = judge(accepted=nothing, resale_rate=nothing)
    assert found.acceptance.rows == found.resale.rows == found.profit.rows == 0
    assert math.isnan(found.acceptance.ece)
    assert math.isnan(found.range.coverage_90)
    assert math.isnan(found.profit.ratio)


def test_wishful_resale_shows_in_the_profit_ratio() -> None:
    """When cards resell two points lower than believed, predicted profit exceeds realised profit."""
    facts = known()
    lower = outcomes(resale_rate=later_market().resale_rate - 0.02)
    assert profit_metrics(economics=facts.economics, curve=facts.curve, outcomes=lower).ratio > 1.3


def test_realised_profit_is_resale_less_rate_and_costs() -> None:
    """An honest card earns face (resale - rate (1 + capital) - logistics) - handling; a fraudulent one its payout
    and costs, lost; what became of a card that was neither resold nor labelled is unknown."""
    economics = known().economics
    resale = np.full(2_000, 0.9)
    resale[2] = np.nan
    fraud = np.full(2_000, np.nan)
    fraud[1] = 1.0
    rate = np.full(2_000, 0.8)
    found = realised_profit_fen(
        economics=economics, outcomes=outcomes(offered_rate=rate, resale_rate=resale, fraud=fraud)
    )
    face, capital = economics.face_value_fen, economics.capital_share
    honest = face[0] * (0.9 - 0.8 * (1 + capital[0]) - economics.logistics_share[0]) - 200
    lost = -face[1] * (0.8 * (1 + capital[1]) + economics.logistics_share[1]) - 200
    np.testing.assert_allclose(found[:3], [honest, lost, np.nan])


def test_fraud_is_judged_in_weeks_whose_labels_are_complete() -> None:
    """Fraud becomes known before honesty: a week in which few trades are labelled says nothing about it."""
    facts, market = known(), later_market()
    week = market.submitted_at // WEEK_MS
    old = week < np.median(week)
    bought = market.accepted == 1
    fraud = np.where(bought & old, 0.0, np.nan)
    fraud[np.flatnonzero(bought & old)[:10]] = 1.0
    fraud[np.flatnonzero(bought & ~old)[:10]] = 1.0
    found = profit_metrics(economics=facts.economics, curve=facts.curve, outcomes=outcomes(fraud=fraud))
    assert found.labelled_rows == int((bought & old).sum())
    assert found.rows == int(bought.sum()) - 20
    assert found.fraud_realised_fen > 0
    assert found.labelled_predicted_fen + found.fraud_predicted_fen <= found.predicted_fen


def test_where_no_week_has_its_labels_fraud_cost_nothing_yet() -> None:
    """Without labels the loss to fraud is 0 of no trades, without a sign."""
    facts = known()
    found = profit_metrics(
        economics=facts.economics, curve=facts.curve, outcomes=outcomes(fraud=np.full(2_000, np.nan))
    )
    assert found.labelled_rows == 0
    assert str(found.fraud_realised_fen) == "0.0"


def test_coverage_by_tail_type_and_week() -> None:
    """Coverage, tails and the worst group of a case worked out by hand; a group too small is not named."""
    size = 400
    half = np.arange(size) < size // 2
    even = {name: np.full(size, value) for name, value in (("p05", 0.8), ("p10", 0.82), ("p50", 0.85))}
    estimate = ResaleEstimate(
        **even,
        mean=np.full(size, 0.85),
        p90=np.full(size, 0.88),
        p95=np.full(size, 0.9),
        usual_width=np.zeros(size),
        anchor_rate=np.zeros(size),
        anchor=np.full(size, "x", dtype=object),
    )
    actual = np.where(half, 0.85, 0.89)
    actual[:40], actual[40:60] = 0.81, 0.7
    types = np.where(np.arange(size) < 350, "large", "small").astype(object)
    found = range_metrics(estimate, actual, types, np.where(half, 1, 2))
    assert (found.below_p05, found.below_p10) == (20 / size, 60 / size)
    assert (found.above_p90, found.above_p95) == (200 / size, 0.0)
    assert (found.coverage_80, found.coverage_90) == (140 / size, 380 / size)
    assert found.worst_type == "large"
    assert found.coverage_90_worst_type == 330 / 350
    assert found.coverage_80_worst_small_type == 0.0
    assert found.coverage_80_worst_week == 0.0
    assert math.isclose(found.width_90, 0.1)
    losses = [
        pinball(actual, np.full(size, bound), level)
        for bound, level in ((0.8, 0.05), (0.82, 0.1), (0.85, 0.5), (0.88, 0.9), (0.9, 0.95))
    ]
    assert math.isclose(found.pinball, sum(losses) / 5)
    assert worst_share(half, types, 1_000)[1] == ""


def test_known_values() -> None:
    """Brier, log-loss, pinball and resale error of cases worked out by hand."""
    found = acceptance_metrics(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert found.brier == 0.25
    assert math.isclose(found.log_loss, math.log(2))
    assert math.isclose(pinball(np.array([1.0, 0.0]), np.array([0.5, 0.5]), 0.9), (0.45 + 0.05) / 2)
    estimate = known().resale
    errors = resale_metrics(estimate, estimate.mean + 0.01)
    assert math.isclose(errors.bias, -0.01)
    assert math.isclose(errors.mae, 0.01)
