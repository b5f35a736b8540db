"""The anchor: the best simple guess of a card's resale rate, from which the resale model learns distances.

In order: the best buyer's bid now, the mean rate the type was resold at, the mean of its category, the middle
of the card type's price band, a fixed rate. An expired card follows none of these and has its own anchor.
"""

from __future__ import annotations

import numpy as np

from models.discount.context import CardContext

BUYER_BEST = "buyer_best"
RESALE_MEAN = "resale_mean"
CATEGORY_MEAN = "category_mean"
BAND_MIDDLE = "band_middle"
DEFAULT = "default"
EXPIRED = "expired"

DEFAULT_RESALE_RATE = 0.85
"""When nothing at all is known of the type; the usual fixed rate of a platform without models."""
DEFAULT_EXPIRED_RESALE_RATE = 0.06
"""Just above the 1-5 % of face at which the trade buys expired cards."""


def resale_anchor(context: CardContext, *, expired_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Anchor rates (n,) and which source each came from (n,) object.

    expired_rate: the anchor of expired cards, learnt from their resales where there were enough.
    """
    rate = np.full(len(context), DEFAULT_RESALE_RATE)
    source = np.full(len(context), DEFAULT, dtype=object)
    weakest_first = (
        (BAND_MIDDLE, (context.min_rate + context.max_rate) / 2),
        (CATEGORY_MEAN, context.resale_category_mean),
        (RESALE_MEAN, context.resale_mean),
        (BUYER_BEST, context.buyer_best),
    )
    for name, values in weakest_first:
        known = np.isfinite(values)
        rate[known] = values[known]
        source[known] = name
    rate[context.expired] = expired_rate
    source[context.expired] = EXPIRED
    return rate, source
