"""A quote binds as long as its market is calm."""

from __future__ import annotations

import numpy as np

from models.discount.validity import USUAL_VOLATILITY, VOLATILITY, valid_minutes
from models.policy import PricePolicy

POLICY = PricePolicy(quote_valid_minutes=40, quote_valid_least_minutes=5)


def test_wilder_markets_bind_for_less_time() -> None:
    """Full length up to usual volatility and without bids, a quarter at twice that, never under the least."""
    volatility = np.array([np.nan, 0.0, USUAL_VOLATILITY, 2 * USUAL_VOLATILITY, 100 * USUAL_VOLATILITY])
    found = valid_minutes(columns={VOLATILITY: volatility}, rows=5, policy=POLICY)
    assert found.tolist() == [40, 40, 40, 10, 5]


def test_without_market_features_the_policy_counts() -> None:
    """A platform without market rows keeps its own length."""
    assert valid_minutes(columns={}, rows=2, policy=POLICY).tolist() == [40, 40]
