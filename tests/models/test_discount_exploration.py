"""Exploration: deterministic, uniform, blind to the person, inside the rails with a true density."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.discount.exploration import HOUR_MS, offsets, place


def draw(*, rows: int = 4_000, seed: str = "huika", half_width: float = 0.02) -> np.ndarray:
    return offsets(
        seed=seed,
        card_type=np.full(rows, "jd_ecard", dtype=object),
        card_form=np.full(rows, None, dtype=object),
        face_value_fen=np.full(rows, 50_000),
        submitted_at=np.arange(rows) * HOUR_MS + 17,
        half_width=half_width,
    )


def test_offsets_are_deterministic_and_change_with_the_seed() -> None:
    """The same key gives the same offset; another seed redraws all of them."""
    assert np.array_equal(draw(), draw())
    assert not np.any(draw() == draw(seed="other"))


def test_offsets_are_uniform() -> None:
    """Kolmogorov distance to the uniform distribution stays under the 0.1 % critical value."""
    ordered = np.sort((draw() / 0.02 + 1) / 2)
    assert ordered[0] >= 0
    assert ordered[-1] < 1
    assert np.abs(ordered - (np.arange(4_000) + 0.5) / 4_000).max() < 1.95 / np.sqrt(4_000)


def test_one_card_in_one_hour_has_one_offset() -> None:
    """Two sellers within the hour share it; form and face value make another card."""
    card_type = np.full(4, "jd_ecard", dtype=object)
    found = offsets(
        seed="huika",
        card_type=card_type,
        card_form=np.array(["virtual", "virtual", "physical", "virtual"], dtype=object),
        face_value_fen=np.array([10_000, 10_000, 10_000, 20_000]),
        submitted_at=np.array([0, HOUR_MS - 1, 0, 0]),
        half_width=0.02,
    )
    assert found[0] == found[1]
    assert len(set(found)) == 3


@given(
    centre=st.floats(0.0, 1.0),
    low_gap=st.floats(0.0, 0.05),
    high_gap=st.floats(0.0, 0.05),
    draw=st.floats(-1.0, 0.999),
)
def test_explored_rate_stays_between_the_rails(
    centre: float, low_gap: float, high_gap: float, draw: float
) -> None:
    """The rate is inside the rails, and its density is one over the length it was drawn from."""
    half_width = 0.02
    low, high = np.array([centre - low_gap]), np.array([centre + high_gap])
    rate, density = place(
        centre=np.array([centre]),
        offset=np.array([draw * half_width]),
        low=low,
        high=high,
        half_width=half_width,
    )
    assert low[0] - 1e-12 <= rate[0] <= high[0] + 1e-12
    length = min(low_gap, half_width) + min(high_gap, half_width)
    if length > 2e-4:
        np.testing.assert_allclose(density, 1 / length, rtol=1e-6)


def test_without_exploration_the_offer_is_the_centre_and_has_no_density() -> None:
    """A single point has no density: it is recorded as unknown, never as infinite."""
    centre = np.array([0.8])
    rate, density = place(
        centre=centre, offset=np.zeros(1), low=np.array([0.7]), high=np.array([0.9]), half_width=0.0
    )
    assert rate[0] == 0.8
    assert np.isnan(density[0])
