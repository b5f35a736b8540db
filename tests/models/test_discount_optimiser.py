"""The optimiser finds the best rate there is, and the best rate keeps the order of values and expectations."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.acceptance import AcceptanceCurve
from models.discount.link import KNOTS, PLAIN, Link, link_of
from models.discount.link_fit import fit_link
from models.discount.optimiser import CHUNK_ROWS, Economics, best_rates
from models.money import RATE_SCALE

ROWS = 60


@cache
def fitted_links() -> tuple[Link, ...]:
    """The plain link, and what is fitted to sellers with light and with heavy tails on either side."""
    rng = np.random.default_rng(1)
    found = [PLAIN]
    light_below, heavy_below = np.where(KNOTS < 0, 3.0, 0.5), np.where(KNOTS < 0, 0.4, 3.0)
    both_heavy, both_light = 1.5 / (1.0 + np.abs(KNOTS)), 0.7 + 0.5 * np.abs(KNOTS)
    for slopes in (light_below, heavy_below, both_heavy, both_light):
        truth = link_of(slopes, 0.0)
        scores = rng.normal(0, 2.5, 6_000)
        accepted = (rng.random(6_000) < truth.probability(scores)).astype(np.float64)
        found.append(fit_link(scores=scores, floor=np.zeros(6_000), accepted=accepted, prior=PLAIN))
    return tuple(found)


def random_trades(
    rng: np.random.Generator, link: Link, rows: int = ROWS
) -> tuple[Economics, AcceptanceCurve, np.ndarray, np.ndarray]:
    """Cards of every sort with their rails: small and large, thin and fat margins, honest kinds and hunted ones."""
    value = rng.uniform(0.5, 1.1, rows)
    low = rng.integers(3_000, 9_000, rows) / RATE_SCALE
    high = np.minimum(low + rng.integers(0, 4_000, rows) / RATE_SCALE, 1.2)
    fraud = rng.choice([0.0, 0.005, 0.03, 0.3], rows)
    economics = Economics(
        face_value_fen=rng.choice([1_000, 10_000, 50_000, 1_000_000], rows),
        resale_mean=value + 0.01,
        value=value,
        logistics_share=rng.choice([0.0, 0.06], rows),
        capital_share=rng.uniform(0.0, 0.02, rows),
        fraud_share=fraud * rng.uniform(0.2, 3.0, rows),
        fraud_of_type=fraud,
        taken_usually=rng.uniform(0.05, 0.95, rows),
        fixed_fen=rng.choice([0, 200, 2_000], rows),
        fraud_loss=float(rng.choice([0.5, 1.0, 1.5])),
        like_honest=float(rng.choice([0.0, 0.4, 1.0])),
    )
    curve = AcceptanceCurve(
        location=value - rng.uniform(-0.1, 0.2, rows),
        steepness=np.exp(rng.uniform(np.log(0.3), np.log(12.0), rows)),
        floor=economics.fraud_share,
        link=link,
    )
    return economics, curve, low, high


seeds = st.integers(0, 2**32 - 1)
links = st.integers(0, 4)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, link=links)
def test_best_rate_is_the_best_of_all_shown_rates(seed: int, link: int) -> None:
    """It equals the argmax over every four-decimal rate between the rails that a tenth of honest sellers take, by the
    curve that decides."""
    economics, curve, low, high = random_trades(np.random.default_rng(seed), fitted_links()[link])
    found = best_rates(economics=economics, curve=curve, low=low, high=high)
    tenth = np.rint(np.clip(curve.least_rate(), low, high) * RATE_SCALE)
    for row in range(ROWS):
        rates = np.arange(tenth[row], np.rint(high[row] * RATE_SCALE) + 1) / RATE_SCALE
        one = slice(row, row + 1)
        grid = rates[None, :]
        values = economics.rows(one).deciding_part_fen(grid, curve.rows(one).deciding(grid))[0]
        assert found[row] == rates[np.argmax(values)]


def ladder(
    economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray, *, what: str, to: float
) -> np.ndarray:
    """Best rates (rows, 41) while ``what`` rises by up to ``to``."""
    found = []
    for step in np.linspace(0.0, to, 41):
        moved, there = economics, curve
        if what in ("value", "both"):
            moved = Economics(
                **vars(economics)
                | {"value": economics.value + step, "resale_mean": economics.resale_mean + step}
            )
        if what in ("location", "both"):
            there = AcceptanceCurve(curve.location + step, curve.steepness, curve.floor, curve.link)
        found.append(best_rates(economics=moved, curve=there, low=low, high=high))
    return np.stack(found, axis=1)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, link=links, what=st.sampled_from(["value", "location", "both"]), to=st.floats(0.005, 0.3))
def test_best_rate_never_falls_as_value_or_expectations_rise(
    seed: int, link: int, what: str, to: float
) -> None:
    """A card worth more, and sellers who expect more, never lower the best rate: not by the last decimal."""
    trades = random_trades(np.random.default_rng(seed), fitted_links()[link])
    assert np.all(np.diff(ladder(*trades, what=what, to=to), axis=1) >= 0)


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("fraud", [0.0, 0.004, 0.03])
def test_best_rate_follows_expectations_where_few_accept(kind: int, fraud: float) -> None:
    """Thin margins on steep curves, where the best rate lies low on the curve: the hardest place for the order."""
    rows = 1_500
    location = 0.80 + np.linspace(0.0, 0.2, rows)
    economics = trade(rows=rows, resale=0.9, fraud=fraud)
    for steepness in (0.7, 2.0, 6.0):
        curve = AcceptanceCurve(
            location, np.full(rows, steepness), np.full(rows, fraud), fitted_links()[kind]
        )
        best = best_rates(economics=economics, curve=curve, low=np.full(rows, 0.5), high=np.full(rows, 0.89))
        assert np.all(np.diff(best) >= 0)


def trade(*, rows: int = 1, face: int = 50_000, resale: float = 0.9, fraud: float = 0.0) -> Economics:
    return Economics(
        face_value_fen=np.full(rows, face),
        resale_mean=np.full(rows, resale),
        value=np.full(rows, resale),
        logistics_share=np.zeros(rows),
        capital_share=np.full(rows, 0.0009),
        fraud_share=np.full(rows, fraud),
        fraud_of_type=np.full(rows, fraud),
        taken_usually=np.full(rows, 0.5),
        fixed_fen=np.full(rows, 200),
        fraud_loss=1.0,
        like_honest=0.0,
    )


@settings(max_examples=25, deadline=None)
@given(
    location=st.floats(0.75, 0.92),
    steepness=st.floats(0.5, 8.0),
    face=st.integers(5_000, 500_000),
    fraud=st.floats(0.0, 0.01),
)
def test_best_rate_has_the_highest_expected_profit(
    location: float, steepness: float, face: int, fraud: float
) -> None:
    """The documented V, honest and fraudulent sellers together, is nowhere higher (by a thousandth of a percent of
    face value) among rates that a tenth of sellers take, as long as the kind of card is worth buying."""
    economics = trade(face=face, fraud=fraud)
    curve = AcceptanceCurve(np.full(1, location), np.full(1, steepness), np.full(1, fraud))
    found = best_rates(economics=economics, curve=curve, low=np.full(1, 0.4), high=np.full(1, 0.9))
    grid = np.arange(0.4, 0.9, 0.0005)[None, :]
    honest = curve.honest(grid)
    values = np.where(grid >= curve.least_rate(), economics.expected_profit_fen(grid, honest), -np.inf)
    assert economics.expected_profit_fen(found, curve.honest(found))[0] >= values.max() - 1e-5 * face


def test_value_is_the_documented_formula() -> None:
    """V at one rate, worked out by hand; the reserve lowers what decides the rate and not what is expected."""
    economics = Economics(**vars(trade(face=10_000, fraud=0.02)) | {"value": np.array([0.88])})
    rate, honest = np.array([0.8]), np.array([0.5])
    margin = 10_000 * (0.9 - 0.8 * 1.0009) - 200
    loss = 10_000 * 0.8 * 1.0009 + 200
    np.testing.assert_allclose(
        economics.expected_profit_fen(rate, honest), [0.98 * 0.5 * margin - 0.02 * loss]
    )
    np.testing.assert_allclose(economics.honest_profit_fen(rate), [margin])
    np.testing.assert_allclose(economics.honest_profit_fen(rate, reserve=True), [margin - 200])


def test_chunks_do_not_change_the_answer() -> None:
    """More rows than a chunk holds are answered as each would be alone."""
    rows = CHUNK_ROWS + 3
    curve = AcceptanceCurve(np.linspace(0.78, 0.9, rows), np.full(rows, 2.0), np.zeros(rows))
    low, high = np.full(rows, 0.6), np.full(rows, 0.9)
    found = best_rates(economics=trade(rows=rows), curve=curve, low=low, high=high)
    for row in (0, CHUNK_ROWS - 1, CHUNK_ROWS, rows - 1):
        one = slice(row, row + 1)
        alone = best_rates(economics=trade(), curve=curve.rows(one), low=low[one], high=high[one])
        assert found[row] == alone[0]
    assert np.all(np.diff(found) >= 0)


def test_single_rate_between_the_rails_is_the_answer() -> None:
    """Where the rails leave one rate, it is that one, even where nobody takes it or it loses money."""
    rail = np.array([0.7, 0.99])
    curve = AcceptanceCurve(np.array([0.9, 0.5]), np.full(2, 4.0), np.zeros(2))
    assert np.array_equal(best_rates(economics=trade(rows=2), curve=curve, low=rail, high=rail), rail)
