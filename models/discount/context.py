"""The few facts about a card and its market that the price rules refer to by name.

Everything else reaches the models through the list of names they were trained on. None of these facts is
about the person: who sells a card must not lower its price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.matrix import Columns

RATE_COLUMNS = (
    "card_min_rate",
    "card_max_rate",
    "market_competitor_best",
    "market_competitor_mean",
    "market_competitor_level",
    "market_buyer_best",
    "market_buyer_worst",
    "market_buyer_level",
    "market_buyer_mean_24h",
    "market_buyer_mean_7d",
    "market_ask_best",
    "resale_mean_7d",
    "resale_mean_30d",
    "resale_category_mean_30d",
    "resale_pooled_30d",
    "resale_matured_mean",
)
"""Columns that are rates of face value: the models read them as distances from a reference rate."""

NEAR_EXPIRY_DAYS = 30
"""A card with fewer days left is hard to resell in time."""

EXPIRY_BUCKETS = ((0.0, "under_30_days"), (30.0, "30_to_90_days"), (90.0, "90_days_or_more"))
"""Lower bound in days and name of each bucket of a card that has not expired."""


@dataclass(frozen=True)
class CardContext:
    """Named facts of n cards, each (n,). Rates and shares are fractions of face value; NaN: unknown.

    card_type, category, form: object, str or None. physical, expired: bool (unknown counts as no).
    days_to_expiry: NaN for a card without expiry. kind_fraud_rate: share of labelled trades of the card type
    that were fraud, else of its category. competitor_best is unknown for an expired card: competitors' bids
    are for valid ones. face_is_usual: 1, 0 or NaN. hour: of the day in China.
    """

    card_type: np.ndarray
    category: np.ndarray
    form: np.ndarray
    physical: np.ndarray
    expired: np.ndarray
    days_to_expiry: np.ndarray
    face_cny: np.ndarray
    min_rate: np.ndarray
    max_rate: np.ndarray
    competitor_best: np.ndarray
    buyer_best: np.ndarray
    resale_mean: np.ndarray
    resale_category_mean: np.ndarray
    kind_fraud_rate: np.ndarray
    face_is_usual: np.ndarray
    hour: np.ndarray

    def __len__(self) -> int:
        return len(self.expired)

    def rows(self, rows: slice | np.ndarray) -> CardContext:
        return CardContext(**{name: values[rows] for name, values in vars(self).items()})

    @property
    def type_state(self) -> np.ndarray:
        """Object (n,): the card type and whether the card is still valid, as one key."""
        state = np.where(self.expired, "/expired", "/valid").astype(object)
        return self.card_type.astype(str).astype(object) + state

    @property
    def expiry_bucket(self) -> np.ndarray:
        """Object (n,): ``expired``, ``none`` (no expiry) or the name of the bucket of days left."""
        bucket = np.full(len(self), "none", dtype=object)
        for from_days, name in EXPIRY_BUCKETS:
            bucket[self.days_to_expiry >= from_days] = name
        bucket[self.expired] = "expired"
        return bucket


def card_context(columns: Columns, rows: int) -> CardContext:
    """Pick the named facts out of the feature columns; an absent column counts as unknown everywhere."""

    def number(name: str) -> np.ndarray:
        return np.asarray(columns[name], dtype=np.float64) if name in columns else np.full(rows, np.nan)

    def text(name: str) -> np.ndarray:
        return columns[name] if name in columns else np.full(rows, None, dtype=object)

    form = text("card_form")
    kind_rate, category_rate = number("kind_fraud_rate_30d"), number("kind_category_fraud_rate_30d")
    days = number("card_days_to_expiry")
    expired = (number("card_is_expired") == 1) | (days < 0)
    return CardContext(
        card_type=text("card_type"),
        category=text("card_category"),
        form=form,
        physical=form == "physical",
        expired=expired,
        days_to_expiry=days,
        face_cny=number("card_face_cny"),
        min_rate=number("card_min_rate"),
        max_rate=number("card_max_rate"),
        competitor_best=np.where(expired, np.nan, number("market_competitor_best")),
        buyer_best=number("market_buyer_best"),
        resale_mean=number("resale_mean_30d"),
        resale_category_mean=number("resale_category_mean_30d"),
        kind_fraud_rate=np.where(np.isnan(kind_rate), category_rate, kind_rate),
        face_is_usual=number("card_face_is_usual"),
        hour=number("time_hour"),
    )


def relative_columns(
    columns: Columns, names: tuple[str, ...], reference: np.ndarray
) -> dict[str, np.ndarray]:
    """The named columns with every rate replaced by its distance from ``reference`` (n,).

    A model that sees distances keeps its footing when the whole market moves; one that sees levels has
    learnt last month's levels.
    """
    return {
        name: columns[name].astype(np.float64) - reference if name in RATE_COLUMNS else columns[name]
        for name in names
        if name in columns
    }
