"""Prices without a model: the rate table inside the guard rails, for when no model can be loaded."""

from __future__ import annotations

import numpy as np

from models.discount.anchor import BAND_MIDDLE, DEFAULT, DEFAULT_EXPIRED_RESALE_RATE, resale_anchor
from models.discount.context import card_context
from models.discount.guard_rails import guard_rails
from models.discount.rate_table import RateTable
from models.matrix import Columns
from models.money import round_rate
from models.policy import Costs, PricePolicy


def table_rates(
    *, table: RateTable, columns: Columns, face_value_fen: np.ndarray, costs: Costs, policy: PricePolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Shown rates (n,) of the rate table, and their sources (n,) object.

    The price band always holds; the margin floor holds where a market price says what the card resells at. An
    empty ``RateTable()`` works: it answers from competitors' bids, the band, or its fixed rate.
    """
    context = card_context(columns, len(face_value_fen))
    rate, source = table.rate(context)
    anchor, anchor_source = resale_anchor(context, expired_rate=DEFAULT_EXPIRED_RESALE_RATE)
    unknown = np.isin(anchor_source.astype(str), (BAND_MIDDLE, DEFAULT))
    rails = guard_rails(
        context=context,
        face_value_fen=np.asarray(face_value_fen, dtype=np.int64),
        value=np.where(unknown, np.inf, anchor),
        capital_share=costs.capital_share,
        table_rate=rate,
        support_half_width=np.full(len(rate), np.inf),
        costs=costs,
        policy=policy,
    )
    return np.clip(round_rate(rate), rails.low, rails.high), source
