"""The quoted surface keeps its order: a larger, fresher card, or one that others bid more for, is never cheaper."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from models.discount.model import LOYALTY, DiscountModel
from models.discount.offers import Offers
from models.policy import Costs, PricePolicy
from tests.models.discount_market import (
    MAX_FACE_CNY,
    TYPES,
    Market,
    fit_market,
    fitted_model,
    later_market,
    make_market,
    model_without_jitter,
    price,
    stubborn_model,
    two_hills_model,
)

EXPLORING = PricePolicy()
WIDE = PricePolicy(exploration_half_width=0.05, exploration_cost_share=0.1, loyalty_bonus=0.01)
CARDS = 80
ORDERED = ("rate", "centre_rate", "free_rate", "table_rate", "low", "high", "resale_mean")


@cache
def hunted_model() -> DiscountModel:
    """Half of the card types are brought by fraudsters in one of thirty trades or more; labels tell."""
    market = make_market(rows=8_000, seed=41)
    rng = np.random.default_rng(5)
    share = np.array([0.002, 0.004, 0.03, 0.05] * 2)[
        np.searchsorted(TYPES.astype(str), market.columns["card_type"].astype(str))
    ]
    fraud = rng.random(len(market)) < share * np.where(market.columns["card_face_cny"] >= 500, 2.0, 1.0)
    market.accepted[fraud] = 1.0
    return fit_market(market, fraud=np.where(market.accepted == 1, fraud, np.nan))


@cache
def skewed_model() -> DiscountModel:
    """Reservation rates with a long lower tail: half of the sellers in a hurry, half unwilling."""
    market = make_market(rows=12_000, seed=51)
    rng = np.random.default_rng(6)
    hurried = rng.exponential(0.05, len(market)) * (rng.random(len(market)) < 0.5)
    market.accepted[:] = (
        market.offered_rate >= market.accept_at + 0.01 + rng.logistic(0, 0.006, len(market)) - hurried
    )
    market.resale_rate[:] = market.resale_expected + rng.normal(0, 0.01, len(market))
    market.resold_at[:] = market.submitted_at + 1
    return fit_market(market)


MODELS = pytest.mark.parametrize(
    "model",
    [fitted_model, model_without_jitter, stubborn_model, hunted_model, skewed_model, two_hills_model],
)


def lines(count: int, *, seed: int) -> Market:
    """Random valid cards of the market, each repeated ``count`` times in a row, at the moments of their hours."""
    market = later_market()
    valid = np.flatnonzero(market.columns["card_is_expired"] == 0)
    chosen = np.random.default_rng(seed).choice(valid, CARDS, replace=False)
    return market.rows(np.repeat(chosen, count))


def along_face(seed: int) -> tuple[Market, int]:
    faces = np.concatenate([np.arange(10, 300, 5), np.arange(300, 2_000, 25)]).astype(np.float64)
    market = lines(len(faces), seed=seed)
    face = np.tile(faces, CARDS)
    market.columns["card_face_cny"][:] = face
    market.columns["card_face_of_max"][:] = face / MAX_FACE_CNY
    market.columns["card_face_is_usual"][:] = 1.0
    market.face_value_fen[:] = np.rint(face * 100)
    return market, len(faces)


def along_days(seed: int) -> tuple[Market, int]:
    days = np.concatenate([np.arange(-20, 130), np.arange(130, 800, 10)]).astype(np.float64)
    market = lines(len(days), seed=seed)
    market.columns["card_days_to_expiry"][:] = np.tile(days, CARDS)
    market.columns["card_is_expired"][:] = np.tile(days < 0, CARDS)
    return market, len(days)


def along_bids(seed: int) -> tuple[Market, int]:
    move = np.linspace(-0.12, 0.12, 201)
    market = lines(len(move), seed=seed)
    all_of_them = np.tile(move, CARDS)
    columns = market.columns
    unknown = np.isnan(columns["market_competitor_best"])
    columns["market_competitor_best"][unknown] = 0.85
    for name in ("market_competitor_mean", "market_competitor_level"):
        columns[name][unknown] = 0.845
    columns["market_competitor_momentum"][unknown] = 0.0
    for name in ("best", "mean", "level", "momentum"):
        columns[f"market_competitor_{name}"] += all_of_them
    columns["market_spread"] -= all_of_them
    return market, len(move)


AXES = pytest.mark.parametrize("axis", [along_face, along_days, along_bids])


def falls(offers: Offers, count: int, name: str) -> int:
    """How often a figure falls from one point of a line to the next."""
    return int((np.diff(getattr(offers, name).reshape(-1, count), axis=1) < 0).sum())


@MODELS
@AXES
def test_quoted_rates_keep_their_order(
    model: Callable[[], DiscountModel], axis: Callable[[int], tuple[Market, int]]
) -> None:
    """No shown rate falls along a dense line of any card, with exploration switched on, not by the last decimal; nor
    does a rail, the table's rate, the best rate before exploration or the expected resale."""
    market, count = axis(1)
    offers = price(model(), market, EXPLORING)
    assert {name: falls(offers, count, name) for name in ORDERED} == dict.fromkeys(ORDERED, 0)
    spread = np.ptp(offers.rate.reshape(-1, count), axis=1)
    assert np.median(spread) > 0.005


@MODELS
@AXES
def test_order_holds_for_wide_moves_bonuses_and_high_costs(
    model: Callable[[], DiscountModel], axis: Callable[[int], tuple[Market, int]]
) -> None:
    """The same with the widest exploration, a loyalty bonus for regular sellers and dear handling."""
    market, count = axis(2)
    regular = np.full(len(market), 50.0)
    market.columns[LOYALTY] = regular
    offers = price(model(), market, WIDE, Costs(handling_cny=8.0, capital_rate_daily=0.001))
    assert falls(offers, count, "rate") == 0


@MODELS
def test_order_holds_in_every_direction_at_once(model: Callable[[], DiscountModel]) -> None:
    """A card that is larger, fresher and bid more for at the same time is never cheaper."""
    rng = np.random.default_rng(3)
    pairs = 3_000
    market = later_market()
    valid = np.flatnonzero(market.columns["card_days_to_expiry"] >= 0)
    market = market.rows(np.repeat(rng.choice(valid, pairs), 2))
    columns = market.columns

    def rising(values: np.ndarray) -> np.ndarray:
        return np.sort(values.reshape(pairs, 2), axis=1).ravel()

    columns["card_face_cny"][:] = rising(rng.choice([50.0, 100.0, 200.0, 300.0, 500.0, 1_000.0], 2 * pairs))
    columns["card_face_of_max"][:] = columns["card_face_cny"] / MAX_FACE_CNY
    columns["card_face_is_usual"][:] = 1.0
    columns["card_days_to_expiry"][:] = rising(rng.integers(0, 400, 2 * pairs).astype(np.float64))
    for name in ("best", "mean", "level", "momentum"):
        column = columns[f"market_competitor_{name}"]
        column[:] = np.where(np.isnan(column), 0.85, column) + rising(rng.uniform(-0.03, 0.03, 2 * pairs))
    market.face_value_fen[:] = np.rint(columns["card_face_cny"] * 100)
    assert falls(price(model(), market, EXPLORING), 2, "rate") == 0


def test_loyalty_bonus_only_adds() -> None:
    """A regular seller gets the bonus on top as far as the rails leave room; nobody else's rate changes."""
    market = later_market()
    accepted_before = np.random.default_rng(0).integers(0, 30, len(market)).astype(np.float64)
    regular = accepted_before >= EXPLORING.loyalty_after
    policy = EXPLORING.model_copy(update={"loyalty_bonus": 0.005})
    plain = price(fitted_model(), market, EXPLORING)
    market = market.rows(slice(None))
    market.columns[LOYALTY] = accepted_before
    offers = price(fitted_model(), market, policy)
    assert np.array_equal(offers.rate[~regular], plain.rate[~regular])
    assert np.all(offers.loyalty_bonus[~regular] == 0)
    gain = offers.rate - plain.rate
    np.testing.assert_allclose(gain, offers.loyalty_bonus, atol=1e-12)
    assert np.all((gain >= 0) & (gain <= 0.005 + 1e-12))
    assert np.median(gain[regular & ~offers.no_offer]) == pytest.approx(0.005)
    assert np.all(offers.rate <= offers.high + 1e-12)
    assert np.array_equal(price(fitted_model(), market, EXPLORING).rate, plain.rate)


def test_unknown_person_is_no_regular_seller() -> None:
    """A seller of whom nothing is known gets the plain rate."""
    market = later_market().rows(slice(None))
    market.columns[LOYALTY] = np.full(len(market), np.nan)
    policy = EXPLORING.model_copy(update={"loyalty_bonus": 0.005})
    assert np.array_equal(
        price(fitted_model(), market, policy).rate, price(fitted_model(), later_market()).rate
    )
