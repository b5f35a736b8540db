"""The figures of the discount model mean what they say."""

from __future__ import annotations

import math

import numpy as np

from models.evaluation.discount import DiscountMetrics, acceptance_metrics, evaluate_discount, pinball
from models.policy import Costs, PricePolicy
from tests.models.discount_market import fitted_model, later_market


def judge(*, accepted: np.ndarray | None = None, resale_rate: np.ndarray | None = None) -> DiscountMetrics:
    market = later_market()
    return evaluate_discount(
        model=fitted_model(),
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        accepted=market.accepted if accepted is None else accepted,
        resale_rate=market.resale_rate if resale_rate is None else resale_rate,
        costs=Costs(),
        policy=PricePolicy(),
    )


def test_a_good_model_has_good_figures() -> None:
    """On later trades of the market it was fitted on, every figure is near its aim."""
    found = judge()
    assert found.acceptance.rows == 2_000
    assert found.acceptance.brier < found.acceptance.rate * (1 - found.acceptance.rate)
    assert found.acceptance.ece < 0.08
    assert found.resale.mae < 0.012
    assert 0.72 < found.range.coverage < 0.88
    assert found.range.coverage_worst <= found.range.coverage
    assert found.range.worst_type.startswith("type_")
    assert 0.9 < found.profit.ratio < 1.1
    assert found.monotonicity_violations == 0


def test_figures_are_flat_floats() -> None:
    """What goes to the registry is a flat mapping of floats."""
    flat = judge().to_dict()
    assert all(isinstance(value, float) for value in flat.values())
    assert {"acceptance_log_loss", "acceptance_ece", "resale_mae", "range_coverage", "profit_ratio"} <= set(
        flat
    )


def test_parts_without_rows_are_unknown() -> None:
    """No decisions and no resales: the figures are NaN, not zero, and nothing fails."""
    nothing = np.full(2_000, np.nan)
    found = judge(accepted=nothing, resale_rate=nothing)
    assert found.acceptance.rows == found.resale.rows == found.profit.rows == 0
    assert math.isnan(found.acceptance.ece)
    assert math.isnan(found.range.coverage)


def test_wishful_resale_shows_in_the_profit_ratio() -> None:
    """When cards resell two points lower than believed, predicted profit exceeds realised profit."""
    assert judge(resale_rate=later_market().resale_rate - 0.02).profit.ratio > 1.3


def test_known_values() -> None:
    """Brier, log-loss and pinball of a case worked out by hand."""
    found = acceptance_metrics(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert found.brier == 0.25
    assert math.isclose(found.log_loss, math.log(2))
    assert math.isclose(pinball(np.array([1.0, 0.0]), np.array([0.5, 0.5]), 0.9), (0.45 + 0.05) / 2)
