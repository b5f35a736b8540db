"""How long a quote binds: shorter where the market of its card type moves more."""

from __future__ import annotations

import numpy as np

from models.matrix import Columns
from models.policy import PricePolicy

VOLATILITY = "market_buyer_volatility_7d"
USUAL_VOLATILITY = 0.01
"""Standard deviation of buyers' bids within a week up to which a market counts as calm: a point, their disagreement
included."""


def valid_minutes(*, columns: Columns, rows: int, policy: PricePolicy) -> np.ndarray:
    """Whole minutes (n,) int64 that each of ``rows`` quotes binds.

    The price of a random walk strays with the square root of time, so a market twice as wild as usual shortens the
    promise to a quarter; a calm one, or one without bids, leaves it at the policy's length.
    """
    volatility = columns.get(VOLATILITY, np.zeros(rows))
    volatility = np.where(np.isnan(volatility), 0.0, volatility)
    share = (USUAL_VOLATILITY / np.maximum(volatility, USUAL_VOLATILITY)) ** 2
    least = min(policy.quote_valid_least_minutes, policy.quote_valid_minutes)
    return np.maximum(np.floor(policy.quote_valid_minutes * share), least).astype(np.int64)
