"""The check of the quoted surface sees a price that falls, and only that."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from models.discount.model import DiscountModel
from models.evaluation.stability import stability_metrics
from models.evaluation.surface import (
    BID_MOVES,
    DAYS,
    FACES_CNY,
    SurfaceMetrics,
    ladder_of,
    surface_metrics,
    typical_cards,
    usual_faces,
    violations,
)
from models.policy import Costs, PricePolicy
from tests.models.discount_market import later_market

Columns = dict[str, np.ndarray]


class Formula(DiscountModel):
    """Prices by a formula of the columns."""

    def __init__(self, rate: Callable[[Columns], np.ndarray]) -> None:
        object.__setattr__(self, "formula", rate)
        object.__setattr__(self, "asked", [])

    def price(self, *, columns, face_value_fen, submitted_at, costs, policy):  # type: ignore[override]
        self.__dict__["asked"].append((columns, face_value_fen, policy))
        rate = self.__dict__["formula"](columns)
        return SimpleNamespace(rate=rate, centre_rate=rate)


def metrics_of(model: DiscountModel) -> SurfaceMetrics:
    market = later_market()
    return surface_metrics(
        model=model,
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        submitted_at=market.submitted_at,
        costs=Costs(),
        policy=PricePolicy(),
    )


def test_a_price_that_falls_with_a_bid_is_counted() -> None:
    """A price against competitors' bids falls on every step of that axis, and on no other."""
    found = metrics_of(Formula(lambda cards: 0.8 - 0.1 * np.nan_to_num(cards["market_competitor_best"])))
    known = found.violations_bid
    assert found.violations == known > 0
    assert known <= found.cards * len(FACES_CNY) * len(DAYS) * (len(BID_MOVES) - 1)
    np.testing.assert_allclose(found.largest_fall, 0.001)


def test_a_price_that_rises_is_not_counted_and_its_steepness_is_told() -> None:
    """A price twice as steep as the bids breaks no order; the figure says that it is twice as steep."""
    found = metrics_of(
        Formula(
            lambda cards: (
                2 * np.nan_to_num(cards["market_competitor_mean"])
                + cards["card_face_cny"] / 1e5
                + cards["card_days_to_expiry"] / 1e4
            )
        )
    )
    assert found.violations == 0
    np.testing.assert_allclose(found.steepest_bid, 2.0)


def test_the_grid_is_one_of_cards_that_can_exist() -> None:
    """Face value, its share of the largest one and the spread go along with what is moved; no card has expired."""
    model = Formula(lambda cards: np.zeros(len(cards["card_face_cny"])))
    metrics_of(model)
    columns, face_fen, _ = model.__dict__["asked"][0]
    np.testing.assert_allclose(columns["card_face_of_max"], columns["card_face_cny"] / 1000)
    np.testing.assert_array_equal(face_fen, columns["card_face_cny"] * 100)
    assert columns["card_face_cny"].max() <= 1000
    assert set(columns["card_face_is_usual"]) == {1.0}
    assert columns["card_is_expired"].max() == 0
    assert set(columns["card_days_to_expiry"]) == set(DAYS)
    spread = columns["market_buyer_best"] - columns["market_competitor_best"]
    np.testing.assert_allclose(columns["market_spread"], spread, atol=1e-12)


def test_a_ladder_is_the_usual_faces_or_a_fixed_one_below_the_largest_card() -> None:
    """Types with too few usual faces get the fixed ladder, which stops at the largest card that can exist."""
    columns = {
        "card_type": np.array(["a", "a", "a", "b"], dtype=object),
        "card_face_cny": np.array([100.0, 300.0, 500.0, 200.0]),
        "card_face_is_usual": np.ones(4),
        "card_face_of_max": np.array([0.1, 0.3, 0.5, 0.2]),
    }
    usual = usual_faces(columns)
    assert {name: faces.tolist() for name, faces in usual.items()} == {"a": [100, 300, 500]}
    ladder = ladder_of(columns, np.array([10_000, 30_000, 50_000, 20_000]), usual)
    assert ladder.usual.tolist() == [True, True, True, False]
    assert ladder.face_cny[0].tolist() == [100, 300, 500, 500, 500, 500, 500, 500, 500]
    assert ladder.face_cny[3].tolist() == [50, 100, 200, 300, 500, 800, 1000, 1000, 1000]


def test_violations_are_counted_along_each_axis() -> None:
    """One dent in a flat surface falls once along each axis."""
    rate = np.full((1, 3, 3, len(BID_MOVES)), 0.9)
    rate[0, 1, 1, 1] = 0.88
    found = violations(rate)
    assert (found.violations_face, found.violations_expiry, found.violations_bid) == (1, 1, 1)
    np.testing.assert_allclose(found.largest_fall, 0.02)


def test_typical_cards_are_of_the_largest_types() -> None:
    """Three cards of each type, the first and the last one among them; no cards, no rows."""
    columns = {"card_type": np.array(["a"] * 5 + ["b"] * 3, dtype=object)}
    assert typical_cards(columns, 8).tolist() == [0, 2, 4, 5, 6, 7]
    assert len(typical_cards({"card_type": np.zeros(0, dtype=object)}, 0)) == 0


def test_daily_moves_are_those_of_the_same_card() -> None:
    """Faces of the day do not count as a move of the price; what the market does is."""
    market = later_market()

    def moves(rate: Callable[[Columns], np.ndarray]) -> tuple[float, int]:
        found = stability_metrics(
            model=Formula(rate),
            columns=market.columns,
            face_value_fen=market.face_value_fen,
            submitted_at=market.submitted_at,
            costs=Costs(),
            policy=PricePolicy(),
        )
        return found.mean_daily_move, found.moves

    still, pairs = moves(lambda cards: cards["card_face_cny"] / 1e4 + cards["time_hour"] / 1e3)
    assert (still, pairs) == (0.0, 8 * 13)
    moving, _ = moves(lambda cards: cards["time_weekday"] / 1e3)
    assert moving > 0
