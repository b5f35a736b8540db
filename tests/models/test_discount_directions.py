"""Which facts may move a price in which direction: nothing that moves with face, expiry or bids goes without one."""

from __future__ import annotations

import numpy as np

from features.definitions import FEATURES
from models.discount.anchor import resale_anchor
from models.discount.context import RATE_COLUMNS, card_context, relative_matrix
from models.discount.directions import (
    COMPETITOR_COLUMNS,
    RISING,
    STEADY_COLUMNS,
    UNDIRECTED,
    constraints,
)
from models.matrix import Encoding
from tests.models.discount_market import cards, later_market, stubborn_model

WITHOUT_A_SIZE = {"card_face_is_usual", "market_competitor_sources"}
"""Whether the face value is a usual one, and how many competitors bid: neither is more or less of a bid or a face."""


def test_every_fact_of_face_expiry_and_bids_has_a_direction() -> None:
    """A feature added to the price with such a fact in it must be given a direction, or be left out."""
    moving = {
        name
        for name in FEATURES.names("discount")
        if any(part in name for part in ("face", "days_to_expiry", "competitor", "spread", "amount"))
    }
    assert moving - WITHOUT_A_SIZE == {*RISING, *UNDIRECTED}


def test_steepness_and_order_share_no_fact() -> None:
    """What the steepness depends on does not move with face, expiry or bids."""
    assert not {*STEADY_COLUMNS} & {*RISING, *UNDIRECTED}
    assert {*STEADY_COLUMNS} <= {*FEATURES.names("discount")}


def test_constraints_name_the_rising_columns() -> None:
    """One sign for each input, in the order of the inputs, kept by the method that does not break it."""
    found = constraints(("card_type", "card_face_cny", "time_hour", "market_competitor_mean"))
    assert found == {"monotone_constraints": [0, 1, 0, 1], "monotone_constraints_method": "basic"}


def test_undirected_columns_reach_no_model_of_a_price() -> None:
    """The spread is learnt from by neither the resale nor the acceptance model."""
    model = stubborn_model()
    inputs = (model.resale.encoding, model.acceptance.place_inputs, model.acceptance.slope_inputs)
    for encoding in inputs:
        assert encoding is not None
        assert not {*UNDIRECTED} & {*encoding.names}
    assert "market_spread" in model.training.names


def test_anchor_does_not_move_with_face_expiry_or_bids() -> None:
    """Distances are taken from a rate that these facts leave alone, so that a distance keeps their order."""
    rng = np.random.default_rng(0)
    varied = {name: rng.uniform(0.7, 1.0, 50) for name in COMPETITOR_COLUMNS}
    columns = cards(
        card_face_cny=rng.uniform(10, 2_000, 50), card_days_to_expiry=rng.uniform(0, 900, 50), **varied
    )
    rate, source = resale_anchor(card_context(columns, 50), expired_rate=0.06)
    assert np.ptp(rate) == 0
    assert set(source) == {"buyer_best"}


def test_rates_become_distances_and_nothing_else_changes() -> None:
    """Every rate is read as its distance from the reference; other columns stay."""
    columns = later_market().columns
    reference = np.linspace(0.5, 1.0, 2_000)
    encoding = Encoding.fit(columns, tuple(columns))
    plain, found = encoding.matrix(columns), relative_matrix(columns, encoding, reference)
    for name, before, after in zip(encoding.names, plain.T, found.T, strict=True):
        np.testing.assert_array_equal(after, before - reference if name in RATE_COLUMNS else before)
    assert "market_competitor_best" in RATE_COLUMNS
    assert "market_competitor_momentum" not in RATE_COLUMNS
