"""In which direction a price may move with a fact: the order that every model of a price keeps.

A larger face value, more days to expiry or a higher bid elsewhere never makes a card cheaper. Each model that a
rate is made of keeps the order by construction, so the quoted rate does: see :mod:`models.discount.optimiser`.
LightGBM keeps a sign with ``monotone_constraints_method="basic"``; "advanced" breaks it in rare steps (its issues
5358 and 6155).
"""

from __future__ import annotations

from collections.abc import Sequence

from models.discount.context import EXPECTED_RESALE

FACE_COLUMNS = ("card_face_cny", "card_face_of_max")
EXPIRY_COLUMNS = ("card_days_to_expiry",)
COMPETITOR_COLUMNS = (
    "market_competitor_best",
    "market_competitor_mean",
    "market_competitor_level",
    "market_competitor_momentum",
)
RISING = (*FACE_COLUMNS, *EXPIRY_COLUMNS, *COMPETITOR_COLUMNS)
"""Columns with which a price never falls."""

UNDIRECTED = ("market_spread",)
"""Left out of the models of a price: best buyer less best competitor, which other columns say with a direction."""

DAY_OF_MONTH = "time_day_of_month"
OF_SELLERS = (DAY_OF_MONTH,)
"""What moves sellers and not what a card resells at: to the resale estimate it is another name of a date, as of the day
the market broke."""

STEADY_COLUMNS = (
    "card_type",
    "card_category",
    "card_form",
    "card_is_expired",
    "card_registered",
    "card_validity_months",
    "card_min_rate",
    "card_max_rate",
    "time_hour",
    "time_weekday",
    "time_is_day_off",
    "time_days_to_spring_festival",
    "time_days_since_spring_festival",
)
"""What does not change with face value, days to expiry or bids: all that a curve's steepness may depend on."""


def constraints(names: Sequence[str]) -> dict[str, object]:
    """LightGBM parameters that keep the order for the matrix columns ``names``."""
    return {
        "monotone_constraints": [1 if name in (*RISING, EXPECTED_RESALE) else 0 for name in names],
        "monotone_constraints_method": "basic",
    }
