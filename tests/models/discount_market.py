"""A small synthetic market of discount features for the tests: the truth about it is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from models.discount.boosters import BoosterSettings
from models.discount.model import DiscountModel
from models.discount.training import DiscountFitSettings, fit_discount

DAY_MS = 86_400_000
TYPES = np.array([f"type_{number}" for number in range(8)], dtype=object)
FACES_CNY = np.array([50, 100, 200, 500, 1000])
SMALL_TREES = BoosterSettings(threads=1, leaves=8, max_rounds=60, patience=10, min_rows_per_leaf=40)
SETTINGS = DiscountFitSettings(resale=SMALL_TREES, acceptance=SMALL_TREES)


@dataclass(frozen=True)
class Market:
    """n trades: feature columns, moments, outcomes, and the truth (expected resale, acceptance location)."""

    columns: dict[str, np.ndarray]
    submitted_at: np.ndarray
    face_value_fen: np.ndarray
    offered_rate: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    resale_expected: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)


def make_market(
    *, rows: int, seed: int, from_day: int = 0, days: int = 60, jitter: float = 0.02, level: float = 0.0
) -> Market:
    """A seeded market; ``level`` moves every price of it, ``jitter`` is the half width of the logged draw."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(from_day, from_day + days, rows))
    kind = rng.integers(0, len(TYPES), rows)
    face = rng.choice(FACES_CNY, rows)
    physical = rng.random(rows) < 0.25
    left = np.where(rng.random(rows) < 0.4, np.nan, rng.exponential(200, rows).round() - 10)
    expired = left < 0
    base = 0.86 + 0.012 * kind + level
    buyer = base + 0.01 * np.sin(day / 9 + kind)
    competitor = buyer - 0.05
    resale = np.where(expired, 0.10, buyer - 0.005 - 0.02 * (left < 30))
    accept_at = np.where(expired, 0.03, 0.5 * competitor + 0.5 * (resale - 0.05) - 0.004 * (kind % 3))
    offered = base - 0.06 - 0.03 * (left < 30)
    offered = np.where(expired, 0.03, offered + 0.3 * (competitor - base + 0.05))
    offered = np.clip(offered + rng.uniform(-1, 1, rows) * jitter, 0.005, 1.0).round(4)
    accepted = rng.random(rows) < 1 / (1 + np.exp(-(offered - accept_at) / 0.02))
    unknown_market = rng.random(rows) < 0.1
    columns = {
        "card_type": TYPES[kind],
        "card_category": np.where(kind < 4, "retail", "fuel").astype(object),
        "card_form": np.where(physical, "physical", "virtual").astype(object),
        "card_face_cny": face.astype(np.float64),
        "card_days_to_expiry": left,
        "card_is_expired": expired.astype(np.float64),
        "card_min_rate": np.full(rows, 0.60),
        "card_max_rate": np.full(rows, 0.97),
        "market_competitor_best": np.where(unknown_market, np.nan, competitor),
        "market_buyer_best": np.where(unknown_market, np.nan, buyer),
        "resale_mean_30d": base - 0.005,
        "resale_category_mean_30d": np.full(rows, 0.88),
        "kind_fraud_rate_30d": np.full(rows, 0.01),
        "time_weekday": (day % 7).astype(np.float64),
    }
    noise = rng.normal(0, 0.01, rows)
    return Market(
        columns=columns,
        submitted_at=day * DAY_MS + rng.integers(0, DAY_MS, rows),
        face_value_fen=face.astype(np.int64) * 100,
        offered_rate=offered,
        accepted=accepted.astype(np.float64),
        resale_rate=np.where(accepted, np.maximum(resale + noise, 0.0), np.nan),
        resale_expected=resale,
    )


def fit_market(market: Market, settings: DiscountFitSettings = SETTINGS) -> DiscountModel:
    return fit_discount(
        columns=market.columns,
        names=market.names,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        accepted=market.accepted,
        resale_rate=market.resale_rate,
        settings=settings,
    )


@cache
def fitted_model() -> DiscountModel:
    """One model for all tests of a run."""
    return fit_market(make_market(rows=8_000, seed=1))


@cache
def later_market() -> Market:
    """Trades after those the model was fitted on."""
    return make_market(rows=2_000, seed=2, from_day=61, days=14)


def card(**known: object) -> dict[str, np.ndarray]:
    """Feature columns of one card: a valid virtual card in a known market, but for ``known``."""
    usual: dict[str, object] = {
        "card_type": "type_3",
        "card_category": "retail",
        "card_form": "virtual",
        "card_face_cny": 500.0,
        "card_days_to_expiry": np.nan,
        "card_is_expired": 0.0,
        "card_min_rate": 0.60,
        "card_max_rate": 0.97,
        "market_competitor_best": 0.846,
        "market_buyer_best": 0.896,
        "resale_mean_30d": 0.891,
        "resale_category_mean_30d": 0.88,
        "kind_fraud_rate_30d": 0.01,
        "time_weekday": 2.0,
    }
    values = usual | known
    return {
        name: np.array([value], dtype=object if value is None or isinstance(value, str) else np.float64)
        for name, value in values.items()
    }
