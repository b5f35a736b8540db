"""Exploration: deterministic, uniform, blind to the person, in order, inside the rails, of a true density and cost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.discount.acceptance import AcceptanceCurve
from models.discount.context import CardContext, card_context
from models.discount.exploration import HOUR_MS, USUAL_CURVATURE, Curvatures, draws, measure_curvatures, place
from models.discount.offer_movement import NOTHING
from models.discount.optimiser import Economics, best_rates
from models.money import round_rate
from models.policy import PricePolicy
from tests.models.discount_market import cards, fitted_model, later_market, price, price_cards


def draw(*, rows: int = 4_000, seed: str = "huika") -> np.ndarray:
    return draws(
        seed=seed,
        card_type=np.full(rows, "jd_ecard", dtype=object),
        card_form=np.full(rows, None, dtype=object),
        submitted_at=np.arange(rows) * HOUR_MS + 17,
    )


def test_draws_are_deterministic_and_change_with_the_seed() -> None:
    """The same key gives the same draw; another seed redraws all of them."""
    assert np.array_equal(draw(), draw())
    assert not np.any(draw() == draw(seed="other"))


def test_draws_are_uniform() -> None:
    """Kolmogorov distance to the uniform distribution stays under the 0.1 % critical value."""
    ordered = np.sort((draw() + 1) / 2)
    assert ordered[0] >= 0
    assert ordered[-1] < 1
    assert np.abs(ordered - (np.arange(4_000) + 0.5) / 4_000).max() < 1.95 / np.sqrt(4_000)


def test_one_kind_of_card_in_one_hour_has_one_draw() -> None:
    """Two sellers within the hour share it; type, form and the next hour draw anew."""
    found = draws(
        seed="huika",
        card_type=np.array(["jd_ecard", "jd_ecard", "jd_ecard", "other", "jd_ecard"], dtype=object),
        card_form=np.array(["virtual", "virtual", "physical", "virtual", "virtual"], dtype=object),
        submitted_at=np.array([0, HOUR_MS - 1, 0, 0, HOUR_MS]),
    )
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 4


def test_all_faces_and_expiries_of_a_kind_share_the_draw() -> None:
    """Priced in one hour, cards of a type are moved by the same share of the room that each has."""
    rng = np.random.default_rng(0)
    faces, days = rng.choice([50.0, 100.0, 500.0, 1_000.0], 60), rng.integers(100, 900, 60).astype(np.float64)
    columns = cards(card_face_cny=faces, card_face_of_max=faces / 1_000, card_days_to_expiry=days)
    policy = PricePolicy()
    offers = price_cards(columns, policy=policy)
    half_width = fitted_model().curvatures.half_width(
        card_context(columns, 60),
        most=policy.exploration_half_width,
        cost_share=policy.exploration_cost_share * fitted_model().training.curiosity,
    )
    from_rate = np.maximum(offers.centre_rate - half_width, offers.low)
    length = np.minimum(offers.centre_rate + half_width, offers.high) - from_rate
    wide = length > 0.005
    assert wide.sum() > 30
    assert len(np.unique(offers.centre_rate)) > 5
    share = (offers.rate - from_rate)[wide] / length[wide]
    assert np.ptp(share) < 2 * 0.00005 / length[wide].min() + 1e-9
    np.testing.assert_allclose(offers.offer_density[wide], 1 / length[wide])


@pytest.mark.parametrize(("slope_error", "spent"), [(0.02, 0.25), (0.08, 0.64), (0.2, 1.0), (NOTHING, 1.0)])
def test_a_log_that_measured_the_reaction_explores_less(slope_error: float, spent: float) -> None:
    """What exploration costs follows the square of the slope's error, never under a quarter of what is allowed."""
    facts = replace(fitted_model().training, slope_error=slope_error)
    assert facts.curiosity == pytest.approx(spent)


rail = st.floats(0.0, 0.06)


def one(**known: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in known.items()}


@given(centre=st.floats(0.0, 1.0), low_gap=rail, high_gap=rail, draw=st.floats(-1.0, 0.999), half_width=rail)
def test_explored_rate_stays_between_the_rails(
    centre: float, low_gap: float, high_gap: float, draw: float, half_width: float
) -> None:
    """The rate is inside the rails, no farther than the half width, and the density is one over the length."""
    low, high = centre - low_gap, centre + high_gap
    rate, density = place(**one(centre=centre, draw=draw, low=low, high=high, half_width=half_width))
    assert low - 1e-12 <= rate[0] <= high + 1e-12
    assert abs(rate[0] - centre) <= half_width + 1e-12
    length = min(low_gap, half_width) + min(high_gap, half_width)
    if length > 2e-4:
        np.testing.assert_allclose(density, 1 / length, rtol=1e-6)


@given(centre=st.floats(0.1, 0.9), low_gap=rail, high_gap=rail, half_width=st.floats(0.001, 0.05))
def test_density_integrates_to_one(centre: float, low_gap: float, high_gap: float, half_width: float) -> None:
    """Over all draws the rates fill the logged length evenly: density times the length they span is one."""
    steps = 400
    draw = -1 + 2 * (np.arange(steps) + 0.5) / steps
    rate, density = place(
        centre=np.full(steps, centre),
        draw=draw,
        low=np.full(steps, centre - low_gap),
        high=np.full(steps, centre + high_gap),
        half_width=np.full(steps, half_width),
    )
    if np.isnan(density).any():
        assert np.isnan(density).all()
        assert np.ptp(rate) <= 1e-4 + 1e-12
        return
    cell = np.diff(rate)
    np.testing.assert_allclose(cell, cell[0], rtol=1e-6, atol=1e-12)
    assert density[0] * cell.mean() * steps == pytest.approx(1.0, rel=1e-6)


shown = st.integers(0, 400)


@given(
    low=shown,
    width=shown,
    low_step=st.integers(0, 30),
    high_step=st.integers(0, 30),
    centres=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    draw=st.floats(-1.0, 0.999),
    half_width=st.sampled_from([0.0, 0.00004, 0.003, 0.02]),
)
@example(low=100, width=1, low_step=0, high_step=2, centres=(1.0, 0.3), draw=-1.0, half_width=0.02)
def test_exploration_keeps_the_order_of_prices(
    low: int,
    width: int,
    low_step: int,
    high_step: int,
    centres: tuple[float, float],
    draw: float,
    half_width: float,
) -> None:
    """Two cards of one draw: the one with higher rails and a higher centre is never shown the lower rate."""
    lows = np.array([low, low + low_step]) / 10_000
    highs = np.maximum(np.array([low + width, low + width + high_step]) / 10_000, lows)
    centre = np.clip(lows[0] + centres[0] * (highs[0] - lows[0]), lows[0], highs[0])
    higher = np.clip(max(centre, lows[1] + centres[1] * (highs[1] - lows[1])), lows[1], highs[1])
    rate, _ = place(
        centre=np.array([centre, higher]),
        draw=np.full(2, draw),
        low=lows,
        high=highs,
        half_width=np.full(2, half_width),
    )
    first, second = np.clip(round_rate(rate), lows, highs)
    assert first <= second


def test_without_exploration_the_offer_is_the_centre_and_has_no_density() -> None:
    """A single point has no density: it is recorded as unknown, never as infinite."""
    rate, density = place(**one(centre=0.8, draw=0.3, low=0.7, high=0.9, half_width=0.0))
    assert rate[0] == 0.8
    assert np.isnan(density[0])


def kinds(rows: int) -> CardContext:
    return card_context({"card_type": np.full(rows, "any", dtype=object)}, rows)


def trades(*, steepness: float, rows: int = 200) -> dict[str, object]:
    economics = Economics(
        face_value_fen=np.full(rows, 50_000),
        resale_mean=np.full(rows, 0.9),
        value=np.full(rows, 0.9),
        logistics_share=np.zeros(rows),
        capital_share=np.full(rows, 0.0009),
        fraud_share=np.zeros(rows),
        fraud_of_type=np.zeros(rows),
        taken_usually=np.full(rows, 0.5),
        fixed_fen=np.full(rows, 200),
        fraud_loss=1.0,
        like_honest=0.0,
    )
    curve = AcceptanceCurve(np.linspace(0.80, 0.84, rows), np.full(rows, steepness), np.zeros(rows))
    best = best_rates(economics=economics, curve=curve, low=np.full(rows, 0.5), high=np.full(rows, 0.9))
    return {"economics": economics, "curve": curve, "best": best}


@pytest.mark.parametrize("steepness", [1.0, 2.5, 6.0])
def test_moves_cost_what_they_may_cost(steepness: float) -> None:
    """Draws of the found half width lose about the allowed share of the expected profit."""
    known = trades(steepness=steepness)
    curvatures = measure_curvatures(context=kinds(200), **known)
    allowed = 0.003
    half_width = curvatures.half_width(kinds(200), most=1.0, cost_share=allowed)
    moved = known["best"][:, None] + half_width[:, None] * np.linspace(-1, 1, 201)
    economics, curve = known["economics"], known["curve"]
    profit = economics.expected_profit_fen(moved, curve.honest(moved)).mean(axis=1).sum()
    best = economics.expected_profit_fen(known["best"], curve.honest(known["best"])).sum()
    assert 0.6 * allowed < 1 - profit / best < 1.6 * allowed


def test_half_width_follows_cost_share_and_steepness() -> None:
    """Four times the cost buys twice the width, up to the most; where prices matter more it is narrower."""
    curvatures = Curvatures(of_type={"any/valid": 6_000.0}, overall=1_500.0)

    def width(cost_share: float, most: float = 1.0, context: CardContext = kinds(1)) -> float:
        return curvatures.half_width(context, most=most, cost_share=cost_share)[0]

    assert width(0.004) == pytest.approx(2 * width(0.001))
    assert width(0.004, most=0.001) == 0.001
    assert width(0.0) == 0.0
    other = card_context({"card_type": np.array(["other"], dtype=object)}, 1)
    assert width(0.001, context=other) == pytest.approx(2 * width(0.001))


def test_steep_markets_have_a_high_curvature() -> None:
    """The steeper sellers react, the faster profit falls off its top; nothing worth buying gives the usual figure."""
    flat, steep = (measure_curvatures(context=kinds(200), **trades(steepness=x)) for x in (1.0, 6.0))
    assert steep.overall > 2 * flat.overall
    known = trades(steepness=2.0)
    worthless = Economics(**vars(known["economics"]) | {"value": np.full(200, 0.3)})
    found = measure_curvatures(context=kinds(200), **known | {"economics": worthless})
    assert found == Curvatures() == Curvatures({}, USUAL_CURVATURE)
    assert Curvatures.from_dict(json.loads(json.dumps(steep.to_dict()))) == steep


def test_logged_density_is_that_of_the_offer() -> None:
    """Every priced offer that was drawn has a finite density of at least one over the full width."""
    offers = price(fitted_model(), later_market())
    drawn = np.isfinite(offers.offer_density)
    assert drawn.mean() > 0.3
    assert np.all(offers.offer_density[drawn] >= 1 / (2 * PricePolicy().exploration_half_width) - 1e-9)
    assert np.all(np.abs(offers.rate - offers.centre_rate) <= PricePolicy().exploration_half_width + 0.00005)
