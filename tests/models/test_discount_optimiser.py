"""The optimiser finds the best rate between its rails."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.acceptance import AcceptanceCurve
from models.discount.optimiser import CHUNK_ROWS, Economics, best_rates


def economics(*, rows: int = 1, face: int = 50_000, resale: float = 0.9, fraud: float = 0.0) -> Economics:
    return Economics(
        face_value_fen=np.full(rows, face),
        resale_mean=np.full(rows, resale),
        logistics_share=np.zeros(rows),
        fraud_probability=np.full(rows, fraud),
        handling_fen=200,
        capital_share=0.0009,
        fraud_loss=1.0,
    )


@settings(max_examples=60, deadline=None)
@given(
    location=st.floats(-2.0, 0.5),
    steepness=st.floats(0.3, 5.0),
    fraud=st.floats(0.0, 0.1),
    face=st.integers(2_000, 500_000),
    low=st.floats(0.5, 0.8),
    width=st.floats(0.0, 0.3),
)
def test_no_rate_of_a_dense_grid_is_better(
    location: float, steepness: float, fraud: float, face: int, low: float, width: float
) -> None:
    """The two passes lose at most a thousandth of a percent of face value against an exhaustive search."""
    trade = economics(face=face, fraud=fraud)
    curve = AcceptanceCurve(np.array([0.9]), np.array([location]), np.array([steepness]))
    found = best_rates(economics=trade, curve=curve, low=np.array([low]), high=np.array([low + width]))
    grid = np.linspace(low, low + width, 4_001)[None, :]
    best = trade.expected_profit_fen(grid, curve.probability(grid)).max()
    value = trade.expected_profit_fen(found, curve.probability(found))[0]
    assert low <= found[0] <= low + width + 1e-12
    assert value >= best - 1e-5 * face


def test_value_is_the_documented_formula() -> None:
    """V at one rate, worked out by hand."""
    value = economics(face=10_000, fraud=0.02).expected_profit_fen(np.array([0.8]), np.array([0.5]))
    honest = 10_000 * (0.9 - 0.8 * 1.0009) - 200
    loss = 10_000 * 0.8 * 1.0009 + 200
    np.testing.assert_allclose(value, [0.48 * honest - 0.02 * loss])


def test_chunks_do_not_change_the_answer() -> None:
    """More rows than a chunk holds are answered as each would be alone."""
    rows = CHUNK_ROWS + 3
    location = np.linspace(-2, 0, rows)
    curve = AcceptanceCurve(np.full(rows, 0.9), location, np.full(rows, 2.0))
    low, high = np.full(rows, 0.6), np.full(rows, 0.9)
    found = best_rates(economics=economics(rows=rows), curve=curve, low=low, high=high)
    last = slice(rows - 1, rows)
    alone = best_rates(economics=economics(), curve=curve.rows(last), low=low[last], high=high[last])
    assert found[-1] == alone[0]
    assert np.all(np.diff(found) >= -1e-3)
