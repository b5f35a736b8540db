"""The cap of daily moves: how far a price may go in a day, in which order, and what it never overrides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.explain import DAILY_MOVE, DAILY_MOVE_WAITS, NO_OFFER, reasons_of_all, waterfall
from models.discount.model import DiscountModel
from models.discount.move_cap import PRICED, DayBefore, as_reference
from models.discount.offers import Offers
from models.policy import Costs, PricePolicy
from tests.models.discount_market import DAY_MS, cards, fit_market, fitted_model, later_market, make_market

CAP, DOWN = 0.02, 0.05
STILL = PricePolicy(exploration_half_width=0.0, move_cap=CAP, move_cap_down=DOWN)
FREE = STILL.model_copy(update={"move_cap": 0.0, "move_cap_down": 0.0})
REFERENCE_CNY = 100.0
LEVELS = (
    "market_competitor_best",
    "market_competitor_mean",
    "market_competitor_level",
    "market_buyer_best",
    "resale_mean_30d",
)
EXACT = 1e-9
FEN = 5e-4
"""Costs are told in whole fen: of a small card that is some ten-thousandths of its face value."""


@cache
def other_model() -> DiscountModel:
    """The model of another day, which sees prices two points higher."""
    return fit_market(make_market(rows=6_000, seed=3, level=0.02))


def moved(columns: Mapping[str, np.ndarray], level: float | np.ndarray) -> dict[str, np.ndarray]:
    """The same cards in a market whose prices all stand elsewhere."""
    return {name: column + level if name in LEVELS else column for name, column in columns.items()}


def day_before(columns: Mapping[str, np.ndarray], rate: float | np.ndarray, days: float = 1.0) -> DayBefore:
    """The reference cards of n cards' types at ``rate`` (n,), in the market of ``columns``."""
    size = len(columns["card_type"])
    card = {
        "card_form": np.full(size, "virtual", dtype=object),
        "card_face_cny": np.full(size, REFERENCE_CNY),
        "card_face_of_max": np.full(size, 0.1),
        "card_face_is_usual": np.ones(size),
        "card_days_to_expiry": np.full(size, np.nan),
        "card_is_expired": np.zeros(size),
    }
    market = {
        name: column
        for name, column in columns.items()
        if name.startswith(PRICED) and not name.startswith(("card_", "time_"))
    }
    return DayBefore(
        rate=np.broadcast_to(np.asarray(rate, dtype=np.float64), size),
        days=np.full(size, days),
        market=market,
        card=card,
        face_value_fen=np.full(size, int(REFERENCE_CNY * 100)),
    )


def offers(
    columns: Mapping[str, np.ndarray],
    before: DayBefore | None = None,
    policy: PricePolicy = STILL,
    model: DiscountModel | None = None,
) -> Offers:
    face = np.rint(columns["card_face_cny"] * 100).astype(np.int64)
    return (model or fitted_model()).price(
        columns=columns,
        face_value_fen=face,
        submitted_at=np.full(len(face), 70 * DAY_MS),
        costs=Costs(),
        policy=policy,
        before=before,
    )


def references(
    columns: Mapping[str, np.ndarray], before: DayBefore, model: DiscountModel | None = None
) -> np.ndarray:
    """What the reference cards (n,) are priced at."""
    return offers(as_reference(columns, before), before, model=model).centre_rate


def remembered(columns: Mapping[str, np.ndarray], days: float = 1.0) -> DayBefore:
    """A day whose reference cards were priced freely in the market of ``columns``."""
    return day_before(columns, references(columns, day_before(columns, np.nan)), days)


def later() -> dict[str, np.ndarray]:
    """Some hundred valid and expired cards of all types."""
    return {name: column[:400] for name, column in later_market().columns.items()}


def test_a_market_that_stands_still_is_priced_as_without_a_cap() -> None:
    """With the same market and model as the day before, remembering it changes nothing."""
    columns = later()
    free, held = offers(columns), offers(columns, remembered(columns))
    for name in ("rate", "centre_rate", "uncapped_rate", "offer_density", "low", "high", "no_offer"):
        np.testing.assert_array_equal(getattr(held, name), getattr(free, name), err_msg=name)
    np.testing.assert_array_equal(held.centre_rate, held.uncapped_rate)


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-0.15, 0.1), days=st.sampled_from([1.0, 2.0, 3.0]), new_model=st.booleans())
def test_no_valid_card_moves_by_more_than_the_cap(level, days, new_model):
    """Whatever market and model do overnight, a card's price lies within the cap of what it would have been shown
    the day before; only where the margin floor admits less does it fall further."""
    columns = later()
    before, model = remembered(columns, days), other_model() if new_model else fitted_model()
    today = offers(moved(columns, level), before, model=model)
    then = offers(columns, model=model).centre_rate
    missed = references(columns, day_before(columns, np.nan), model) - before.rate
    valid = columns["card_is_expired"] == 0
    move = (today.centre_rate - (then - missed))[valid]
    rises = move > CAP * days + EXACT
    np.testing.assert_array_equal(today.centre_rate[valid][rises], today.band_low[valid][rises])
    falls = move < -DOWN * days - EXACT
    at_floor = today.centre_rate[valid][falls]
    np.testing.assert_array_less(most_admitted(today)[valid][falls] - FEN, at_floor)


def most_admitted(found: Offers) -> np.ndarray:
    """The highest rates (n,) that leave the margin floor, by the parts of the offers; at least the band's lower end."""
    face = found.face_value_fen
    costs = (found.reserve_fen + found.logistics_fen + found.fixed_fen) / face
    capital = found.capital_fen / found.payout_fen
    room = found.resale_mean - costs - STILL.margin_floor
    return np.clip(room / (1.0 + capital), found.band_low, found.band_high)


@settings(max_examples=15, deadline=None)
@given(levels=st.lists(st.floats(-0.08, 0.08), min_size=2, max_size=6))
def test_reference_cards_move_by_at_most_the_cap_each_day(levels):
    """Over days of a jumping market the remembered reference rises by at most the cap and falls by at most the other;
    and once the market stands still it arrives where it would be without a cap."""
    columns = {name: column[:8] for name, column in later_market().columns.items()}
    columns |= {"card_type": np.array([f"type_{n}" for n in range(8)], dtype=object)}
    columns |= {name: columns[name] * 0 + 0.9 for name in LEVELS}
    before = remembered(columns)
    for level in [*levels, *[levels[-1]] * 12]:
        market = moved(columns, level)
        reference = references(market, before)
        step = reference - before.rate
        floor = offers(as_reference(market, before), before)
        assert (step <= CAP + EXACT).all()
        assert ((step >= -DOWN - EXACT) | (reference >= most_admitted(floor) - FEN)).all()
        before = day_before(market, reference)
    free = references(market, day_before(market, np.nan))
    np.testing.assert_allclose(before.rate, free, atol=EXACT)


@pytest.mark.parametrize("level", [-0.12, -0.08, 0.04, 0.08])
def test_held_prices_keep_their_order(level):
    """With the cap holding prices back, a rate never falls with face value, days to expiry or a competitor's bid."""
    before = remembered(cards(card_type=np.array(["type_3"], dtype=object)))

    def rates(**varied: np.ndarray) -> np.ndarray:
        columns = moved(cards(**varied), level)
        size = len(columns["card_type"])
        shared = before.rows(np.zeros(size, dtype=np.int64))
        found = offers(columns, shared, PricePolicy(move_cap=CAP, move_cap_down=DOWN))
        assert (np.abs(found.centre_rate - found.uncapped_rate) > 1e-4).any()
        return found.rate

    faces = np.array([50.0, 100.0, 200.0, 500.0, 1_000.0])
    assert (np.diff(rates(card_face_cny=faces, card_face_of_max=faces / 1_000)) >= -EXACT).all()
    days = np.array([0.0, 7, 15, 29, 30, 45, 89, 90, 180, 365, 730])
    assert (np.diff(rates(card_days_to_expiry=days)) >= -EXACT).all()
    bids = np.linspace(-0.08, 0.08, 41)
    names = LEVELS[:3]
    bid = dict.fromkeys(names, 0.84 + bids) | {"market_competitor_momentum": bids}
    assert (np.diff(rates(**bid)) >= -EXACT).all()


def test_a_crash_never_leaves_an_offer_above_the_margin_floor():
    """Prices held up by the cap still leave the least margin on every card that can earn it, and the others are no
    offer."""
    columns = later()
    found = offers(moved(columns, -0.15), remembered(columns))
    held_up = found.centre_rate > found.uncapped_rate + EXACT
    assert held_up.any()
    assert (found.centre_rate <= most_admitted(found) + FEN).all()
    below = most_admitted(found) <= found.band_low
    assert found.no_offer[below].all()


def test_an_expired_card_is_left_alone():
    """The market of valid cards moves no expired card."""
    columns = cards(card_days_to_expiry=np.array([-3.0, 200.0]), card_is_expired=np.array([1.0, 0.0]))
    found = offers(moved(columns, 0.08), remembered(columns))
    assert found.centre_rate[0] == found.uncapped_rate[0]
    assert found.centre_rate[1] < found.uncapped_rate[1] - 0.01


def test_each_direction_can_be_switched_off():
    """A cap of 0 is no cap; with both at 0 the day before changes nothing at all."""
    columns = later()
    before, up, down = remembered(columns), moved(columns, 0.08), moved(columns, -0.12)
    only_down = STILL.model_copy(update={"move_cap": 0.0})
    only_up = STILL.model_copy(update={"move_cap_down": 0.0})
    np.testing.assert_array_equal(offers(up, before, only_down).rate, offers(up).rate)
    np.testing.assert_array_equal(offers(down, before, only_up).rate, offers(down).rate)
    np.testing.assert_array_equal(offers(up, before, FREE).rate, offers(up).rate)


def test_one_by_one_is_as_together_and_unknown_types_are_free():
    """A card's held price does not depend on what it is priced with, and one whose type is not remembered is free."""
    columns = {name: column[:40] for name, column in later().items()}
    before, market = remembered(columns), moved(columns, 0.07)
    half = np.where(np.arange(40) % 2 == 0, before.rate, np.nan)
    before = day_before(columns, half)
    together = offers(market, before, PricePolicy())
    free = offers(market, policy=PricePolicy())
    for row in range(40):
        one = np.array([row])
        alone = offers(
            {name: column[one] for name, column in market.items()}, before.rows(one), PricePolicy()
        )
        for name in ("rate", "centre_rate", "offer_density", "offer_centre"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[one], err_msg=name)
        if np.isnan(half[row]):
            assert alone.rate[0] == free.rate[row]


def test_the_waterfall_names_the_cap_and_adds_up():
    """What the cap takes is a step of its own, the steps add up to the payout, and the reason is told in both
    languages."""
    columns = later()
    found = offers(moved(columns, 0.08), remembered(columns), PricePolicy())
    reasons = reasons_of_all(columns=columns, offers=found)
    named = waiting = 0
    for row in range(len(found)):
        steps = waterfall(found, row)
        assert sum(step.amount_fen for step in steps) == found.payout_fen[row]
        taken = [step.amount_fen for step in steps if step.code == "DAILY_MOVE"]
        gap = found.centre_rate[row] - found.uncapped_rate[row]
        assert sum(taken) == pytest.approx(gap * found.face_value_fen[row], abs=1.01)
        assert (DAILY_MOVE in reasons[row]) == (abs(gap) >= 0.001 and not found.waits[row])
        named += DAILY_MOVE in reasons[row]
        waiting += DAILY_MOVE_WAITS in reasons[row]
    assert named > 100
    assert waiting > 30
    for reason in (DAILY_MOVE, DAILY_MOVE_WAITS):
        assert reason.zh
        assert reason.en


def test_no_offer_for_the_cap_alone_says_that_it_waits():
    """In a market that rises faster than the cap, a card that would be worth an offer is none with a reason of its own;
    a card that is worth none without the cap either keeps the usual one."""
    columns = later()
    before, up = remembered(columns), moved(columns, 0.08)
    held, free = offers(up, before), offers(up)
    np.testing.assert_array_equal(held.waits, held.no_offer & ~free.no_offer)
    assert min(held.waits.sum(), (held.no_offer & ~held.waits).sum()) > 40
    assert not free.waits.any()
    for row, reasons in enumerate(reasons_of_all(columns=up, offers=held)):
        assert (DAILY_MOVE_WAITS in reasons) == held.waits[row]
        assert (NO_OFFER in reasons) == (held.no_offer[row] and not held.waits[row])
        assert not (held.waits[row] and DAILY_MOVE in reasons)


def test_the_usual_cap_leaves_a_rising_market_its_offers():
    """In a market that rises by four points in a day, the cap of the settings costs no card its offer."""
    columns = later()
    found = offers(moved(columns, 0.04), remembered(columns), PricePolicy(exploration_half_width=0.0))
    assert not found.waits.any()
    assert not found.no_offer.all()


def test_exploration_is_drawn_around_the_held_price():
    """The density is one over the interval's length, its middle is ``offer_centre``, and every offer lies inside."""
    columns = later()
    found = offers(moved(columns, 0.08), remembered(columns), PricePolicy())
    drawn = np.isfinite(found.offer_density)
    half = 0.5 / found.offer_density[drawn]
    assert (np.abs(found.rate - found.offer_centre)[drawn] <= half + 1e-4).all()
    inside = np.minimum(found.centre_rate - found.low, found.high - found.centre_rate)[drawn] > half
    assert inside.any()
    np.testing.assert_allclose(found.offer_centre[drawn][inside], found.centre_rate[drawn][inside])
