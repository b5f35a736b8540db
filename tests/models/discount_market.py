"""A small synthetic market of discount features for the tests: the truth about it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from models.discount.boosters import BoosterSettings
from models.discount.context import CardContext, card_context
from models.discount.model import DiscountModel
from models.discount.offers import Offers
from models.discount.training import DiscountFitSettings, fit_discount
from models.policy import Costs, PricePolicy

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
TYPES = np.array([f"type_{number}" for number in range(8)], dtype=object)
FACES_CNY = np.array([50, 100, 200, 500, 1000])
ODD_FACE_CNY = 137
MAX_FACE_CNY = 1000
DAYS_TO_SELL = {"retail": 2.0, "fuel": 6.0}
SMALL_TREES = BoosterSettings(threads=1, leaves=8, max_rounds=60, patience=10, min_rows_per_leaf=40)
SETTINGS = DiscountFitSettings(resale=SMALL_TREES, acceptance=SMALL_TREES)
STILL = PricePolicy(exploration_half_width=0.0)


@dataclass(frozen=True)
class Market:
    """n trades: feature columns, moments, outcomes, and the truth: expected resale, and the rate that half of the
    sellers take. offer_density: of the logged draw, NaN without one; resold_at: int64 ms, -1 where not resold."""

    columns: dict[str, np.ndarray]
    submitted_at: np.ndarray
    face_value_fen: np.ndarray
    offered_rate: np.ndarray
    offer_density: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    resold_at: np.ndarray
    resale_expected: np.ndarray
    accept_at: np.ndarray

    def __len__(self) -> int:
        return len(self.submitted_at)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def context(self) -> CardContext:
        return card_context(self.columns, len(self))

    def rows(self, chosen: np.ndarray | slice) -> Market:
        parts = {name: values[chosen] for name, values in vars(self).items() if name != "columns"}
        return Market(columns={name: column[chosen] for name, column in self.columns.items()}, **parts)


def make_market(
    *,
    rows: int,
    seed: int,
    from_day: int = 0,
    days: int = 60,
    jitter: float = 0.02,
    level: float = 0.0,
    face_slope: float = 0.004,
    days_step: float = 0.01,
) -> Market:
    """A seeded market; ``level`` moves every price of it, ``jitter`` is the half width of the logged draw.

    Sellers' expectations and resale rates rise by ``face_slope`` with each e-fold of face value; sellers with 90 days
    or more to go expect ``days_step`` more. Negative ones make a market in which large cards are the cheap ones.
    Sellers of fuel cards react more steeply, and expect less for physical ones.
    """
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(from_day, from_day + days, rows))
    submitted_at = day * DAY_MS + rng.integers(0, DAY_MS, rows)
    kind = rng.integers(0, len(TYPES), rows)
    face = np.where(rng.random(rows) < 0.03, ODD_FACE_CNY, rng.choice(FACES_CNY, rows))
    physical = rng.random(rows) < 0.25
    left = np.where(rng.random(rows) < 0.4, np.nan, rng.exponential(200, rows).round() - 10)
    expired = left < 0
    base = 0.86 + 0.012 * kind + level
    buyer = base + 0.01 * np.sin(day / 9 + kind)
    competitor = buyer - 0.05
    size = face_slope * np.log(face / 300)
    resale = np.where(expired, 0.10, buyer - 0.005 - 0.02 * (left < 30) + size)
    accept_at = (
        0.5 * competitor + 0.5 * (resale - 0.05) - 0.004 * (kind % 3) + size + days_step * (left >= 90)
    )
    fuel = kind >= 4
    accept_at = np.where(expired, 0.03, accept_at - 0.03 * (fuel & physical))
    offered = base - 0.06 - 0.03 * (left < 30)
    offered = np.where(expired, 0.03, offered + 0.3 * (competitor - base + 0.05))
    offered = np.clip(offered + rng.uniform(-1, 1, rows) * jitter, 0.005, 1.0).round(4)
    accepted = rng.random(rows) < 1 / (1 + np.exp(-(offered - accept_at) / np.where(fuel, 0.014, 0.026)))
    unknown_market = rng.random(rows) < 0.1
    noise = rng.normal(0, 0.01, rows)
    category = np.where(fuel, "fuel", "retail").astype(object)
    wait = rng.exponential([DAYS_TO_SELL[name] for name in category])
    gap = rng.uniform(0.004, 0.012, rows)
    columns = {
        "card_type": TYPES[kind],
        "card_category": category,
        "card_form": np.where(physical, "physical", "virtual").astype(object),
        "card_face_cny": face.astype(np.float64),
        "card_face_of_max": face / MAX_FACE_CNY,
        "card_face_is_usual": (face != ODD_FACE_CNY).astype(np.float64),
        "card_days_to_expiry": left,
        "card_is_expired": expired.astype(np.float64),
        "card_min_rate": np.full(rows, 0.60),
        "card_max_rate": np.full(rows, 0.97),
        "market_competitor_best": np.where(unknown_market, np.nan, competitor),
        "market_competitor_mean": np.where(unknown_market, np.nan, competitor - gap),
        "market_competitor_level": np.where(unknown_market, np.nan, competitor - gap / 2),
        "market_competitor_momentum": np.where(unknown_market, np.nan, competitor - gap - base + 0.058),
        "market_buyer_best": np.where(unknown_market, np.nan, buyer),
        "market_spread": np.where(unknown_market, np.nan, buyer - competitor),
        "resale_mean_30d": base - 0.005,
        "resale_category_mean_30d": np.full(rows, 0.88),
        "kind_fraud_rate_30d": np.full(rows, 0.01),
        "time_hour": (submitted_at // HOUR_MS + 8) % 24.0,
        "time_weekday": (day % 7).astype(np.float64),
    }
    return Market(
        columns=columns,
        submitted_at=submitted_at,
        face_value_fen=face.astype(np.int64) * 100,
        offered_rate=offered,
        offer_density=np.full(rows, 0.5 / jitter if jitter else np.nan),
        accepted=accepted.astype(np.float64),
        resale_rate=np.where(accepted, np.maximum(resale + noise, 0.0), np.nan),
        resold_at=np.where(accepted, submitted_at + (wait * DAY_MS).astype(np.int64), -1),
        resale_expected=resale,
        accept_at=accept_at,
    )


def two_populations(rows: int = 12_000, seed: int = 61) -> Market:
    """A market of sellers in a hurry, who bring two of five cards of four types and one of ten others, and
    of patient ones, who want five points more for the same card."""
    market = make_market(rows=rows, seed=seed, jitter=0.03)
    rng = np.random.default_rng(seed)
    mixed = np.isin(market.columns["card_type"], TYPES[[0, 1, 5, 6]])
    market.accept_at[:] += np.where(rng.random(rows) < np.where(mixed, 0.4, 0.1), -0.03, 0.02)
    market.accepted[:] = market.offered_rate >= market.accept_at + rng.logistic(0, 0.006, rows)
    market.resale_rate[:] = market.resale_expected + rng.normal(0, 0.01, rows)
    market.resold_at[:] = market.submitted_at + 1
    return market


def fit_market(
    market: Market, settings: DiscountFitSettings = SETTINGS, fraud: np.ndarray | None = None
) -> DiscountModel:
    return fit_discount(
        columns=market.columns,
        names=market.names,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        offer_density=market.offer_density,
        accepted=market.accepted,
        resale_rate=market.resale_rate,
        resold_at=market.resold_at,
        fraud=fraud,
        settings=settings,
    )


@cache
def fitted_model() -> DiscountModel:
    """One model for all tests of a run."""
    return fit_market(make_market(rows=8_000, seed=1))


@cache
def model_without_jitter() -> DiscountModel:
    """A model of a log in which like cards were always offered the same rate."""
    return fit_market(make_market(rows=6_000, seed=8, jitter=0.0))


@cache
def stubborn_model() -> DiscountModel:
    """A model of a market in which sellers of large and of fresh cards ask for less: the wrong way round."""
    return fit_market(make_market(rows=8_000, seed=31, face_slope=-0.008, days_step=-0.02))


@cache
def two_hills_model() -> DiscountModel:
    """A model of sellers in a hurry and patient ones."""
    return fit_market(two_populations())


@cache
def later_market() -> Market:
    """Trades after those the models were fitted on."""
    return make_market(rows=2_000, seed=2, from_day=61, days=14)


def price(
    model: DiscountModel, market: Market, policy: PricePolicy | None = None, costs: Costs | None = None
) -> Offers:
    return model.price(
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        costs=costs or Costs(),
        policy=policy or PricePolicy(),
    )


def price_cards(
    columns: Mapping[str, np.ndarray], *, model: DiscountModel | None = None, policy: PricePolicy = STILL
) -> Offers:
    """Offers for cards of given columns, all submitted at one moment."""
    return (model or fitted_model()).price(
        columns=columns,
        face_value_fen=np.rint(columns["card_face_cny"] * 100).astype(np.int64),
        submitted_at=np.full(len(columns["card_face_cny"]), 70 * DAY_MS),
        costs=Costs(),
        policy=policy,
    )


def card(**known: object) -> dict[str, np.ndarray]:
    """Feature columns of one card: a valid virtual card in a known market, but for ``known``."""
    usual: dict[str, object] = {
        "card_type": "type_3",
        "card_category": "retail",
        "card_form": "virtual",
        "card_face_cny": 500.0,
        "card_face_of_max": 0.5,
        "card_face_is_usual": 1.0,
        "card_days_to_expiry": np.nan,
        "card_is_expired": 0.0,
        "card_min_rate": 0.60,
        "card_max_rate": 0.97,
        "market_competitor_best": 0.846,
        "market_competitor_mean": 0.838,
        "market_competitor_level": 0.842,
        "market_competitor_momentum": 0.0,
        "market_buyer_best": 0.896,
        "market_spread": 0.05,
        "resale_mean_30d": 0.891,
        "resale_category_mean_30d": 0.88,
        "kind_fraud_rate_30d": 0.01,
        "time_hour": 14.0,
        "time_weekday": 2.0,
    }
    values = usual | known
    return {
        name: np.array([value], dtype=object if value is None or isinstance(value, str) else np.float64)
        for name, value in values.items()
    }


def cards(**varied: np.ndarray) -> dict[str, np.ndarray]:
    """Feature columns of n cards that differ from :func:`card` in the given columns (n,)."""
    rows = len(next(iter(varied.values())))
    same = {name: np.repeat(column, rows) for name, column in card().items()}
    return same | {name: np.asarray(values) for name, values in varied.items()}
