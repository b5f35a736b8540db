"""Guard rails: band before margin floor before the log, on shown rates, and in the order of values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.discount.context import card_context
from models.discount.guard_rails import ORDINARY_DAYS, GuardRails, fixed_fen, guard_rails, price_band
from models.policy import Band, Costs, PricePolicy
from tests.models.discount_market import cards

POLICY = PricePolicy()


def rails(
    *,
    value: float | np.ndarray,
    table: float | np.ndarray = 0.82,
    half_width: float = np.inf,
    policy: PricePolicy = POLICY,
    costs: Costs | None = None,
    **varied: np.ndarray,
) -> GuardRails:
    rows = max(np.size(value), np.size(table), *(np.size(x) for x in varied.values()), 1)
    columns = cards(**({"card_face_cny": np.full(rows, 500.0)} | varied))
    return guard_rails(
        context=card_context(columns, rows),
        face_value_fen=np.rint(columns["card_face_cny"] * 100).astype(np.int64),
        value=np.broadcast_to(value, rows),
        capital_share=0.0009,
        table_rate=np.broadcast_to(table, rows),
        support_half_width=np.full(rows, half_width),
        costs=costs or Costs(),
        policy=policy,
    )


def band(policy: PricePolicy = POLICY, **known: object) -> tuple[float, float]:
    columns = cards(card_face_cny=np.array([500.0]))
    columns |= {
        name: np.array([value], dtype=object if isinstance(value, str) else np.float64)
        for name, value in known.items()
    }
    low, high = price_band(context=card_context(columns, 1), policy=policy)
    return float(low[0]), float(high[0])


def test_band_comes_from_the_catalogue_and_is_overridden_by_category_then_type() -> None:
    """A band of the policy wins over the catalogue, the card type's over the category's."""
    policy = PricePolicy(
        categories={"retail": Band(max_rate=0.70)}, card_types={"type_3": Band(min_rate=0.62, max_rate=0.65)}
    )
    assert band() == (0.60, 0.97)
    assert band(policy, card_type="type_2") == (0.60, 0.70)
    assert band(policy) == (0.62, 0.65)
    assert band(policy, card_type="type_5", card_category="fuel") == (0.60, 0.97)


def test_card_type_outside_the_catalogue_has_the_widest_band() -> None:
    """Unknown bounds are 0 and 1."""
    assert band(card_min_rate=np.nan, card_max_rate=np.nan) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-1.0, (0.01, 0.05)),
        (0.0, (0.05, 0.97)),
        (ORDINARY_DAYS - 1.0, (0.05, 0.97)),
        (ORDINARY_DAYS, (0.60, 0.97)),
    ],
)
def test_band_widens_downwards_near_expiry(days: float, expected: tuple[float, float]) -> None:
    """A card with little time left may fall towards the band of expired ones; an expired one lies in it."""
    assert band(card_days_to_expiry=days) == expected


def test_margin_floor_is_the_ceiling() -> None:
    """At the upper rail exactly the floor is left after costs, to the last shown decimal on the safe side."""
    found = rails(value=0.9)
    left = 0.9 - found.high[0] * 1.0009 - 200 / 50_000
    assert POLICY.margin_floor <= left < POLICY.margin_floor + 0.0002
    assert found.reachable[0]


def test_logistics_and_complaints_lower_the_ceiling() -> None:
    """A physical card pays its shipping, and every trade its share of complaints."""
    plain = rails(value=0.9).high[0]
    physical = rails(value=0.9, card_form=np.array(["physical"], dtype=object)).high[0]
    assert plain - physical == pytest.approx(0.06 / 1.0009, abs=2e-4)
    costly = rails(value=0.9, costs=Costs(complaint_share=0.01)).high[0]
    assert plain - costly == pytest.approx(250 / 50_000, abs=2e-4)


def test_card_that_cannot_earn_its_floor_is_unreachable() -> None:
    """No rate of the band leaves the floor: both rails lie on the lower end of the band, and it must not be bought."""
    found = rails(value=0.55)
    assert not found.reachable[0]
    assert found.low[0] == found.high[0] == found.band_low[0] == 0.60


def test_window_keeps_the_model_where_the_log_has_seen_offers() -> None:
    """The rails lie at most the half width from the table's rate, unless the log says nothing of the type."""
    found = rails(value=0.95, table=0.82, half_width=0.06)
    assert found.low[0] == pytest.approx(0.76)
    assert found.high[0] == pytest.approx(0.88)
    free = rails(value=0.95, table=0.82)
    assert (free.low[0], free.high[0]) == (0.60, pytest.approx(0.95, abs=0.02))


def test_window_slides_down_with_a_fallen_market() -> None:
    """Where the floor lies under the table, the window goes down with it instead of pinning the price to the floor."""
    found = rails(value=0.75, table=0.82, half_width=0.06)
    assert found.high[0] < 0.75
    assert found.high[0] - found.low[0] == pytest.approx(0.06, abs=2e-4)


def test_asking_the_issuer_costs_only_expired_cards() -> None:
    """The fixed cost of an expired card includes its re-activation."""
    columns = cards(card_days_to_expiry=np.array([-3.0, 30.0]))
    found = fixed_fen(
        context=card_context(columns, 2), costs=Costs(), policy=PricePolicy(expired_handling_cny=1.5)
    )
    assert list(found) == [350, 200]


rate = st.floats(0.0, 1.3)


@given(
    value=rate,
    table=st.floats(0.0, 1.0),
    half_width=st.sampled_from([0.0, 0.02, 0.06, np.inf]),
    days=st.sampled_from([np.nan, -4.0, 10.0, 200.0]),
    face=st.integers(1, 5_000),
)
def test_rails_are_shown_rates_inside_the_band(
    value: float, table: float, half_width: float, days: float, face: int
) -> None:
    """band_low <= low <= high <= band_high, all with four decimals, whatever the numbers."""
    found = rails(
        value=value,
        table=table,
        half_width=half_width,
        card_face_cny=np.array([float(face)]),
        card_days_to_expiry=np.array([days]),
    )
    ladder = np.array([found.band_low[0], found.low[0], found.high[0], found.band_high[0]])
    assert np.all(np.diff(ladder) >= 0)
    np.testing.assert_array_equal(ladder, np.rint(ladder * 10_000) / 10_000)


@given(
    values=st.tuples(rate, rate),
    tables=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    faces=st.tuples(st.integers(10, 2_000), st.integers(10, 2_000)),
    days=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    half_width=st.sampled_from([0.02, 0.06, np.inf]),
)
def test_both_rails_rise_with_value_table_face_and_days(
    values: tuple[float, float],
    tables: tuple[float, float],
    faces: tuple[int, int],
    days: tuple[int, int],
    half_width: float,
) -> None:
    """A card worth more, larger, fresher and listed higher never has a lower rail."""
    found = rails(
        value=np.sort(values),
        table=np.sort(tables),
        half_width=half_width,
        card_face_cny=np.sort(faces).astype(np.float64),
        card_days_to_expiry=np.sort(days).astype(np.float64),
    )
    assert found.low[0] <= found.low[1]
    assert found.high[0] <= found.high[1]
