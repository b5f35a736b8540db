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
SOURCES = (EXPIRED, BUYER_BEST, RESALE_MEAN, CATEGORY_MEAN, BAND_MIDDLE, DEFAULT)
"""The strongest first."""
_SOURCES = np.array(SOURCES, dtype=object)

DEFAULT_RESALE_RATE = 0.85
"""When nothing at all is known of the type; the usual fixed rate of a platform without models."""
DEFAULT_EXPIRED_RESALE_RATE = 0.06
"""Just above the 1-5 % of face at which the trade buys expired cards."""


def resale_anchor(context: CardContext, *, expired_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Anchor rates (n,) and which source each came from (n,) object.

    expired_rate: the anchor of expired cards, learnt from their resales where there were enough.
    """
    rates = np.empty((len(SOURCES), len(context)))
    rates[0] = np.where(context.expired, expired_rate, np.nan)
    rates[1], rates[2] = context.buyer_best, context.resale_mean
    rates[3] = context.resale_category_mean
    rates[4] = (context.min_rate + context.max_rate) / 2
    rates[5] = DEFAULT_RESALE_RATE
    known = np.isfinite(rates)
    known[0] = context.expired
    source = known.argmax(axis=0)
    return rates[source, np.arange(len(context))], _SOURCES[source]
