"""A simulated log that somebody else prices: what follows from other rates is the market's own truth."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.simulation import Market, World, simulate
from pipelines.simulation.own_prices import FILLED, Shown, with_prices


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(World(trades=4_000, days=60, seed=11, start=date(2025, 11, 1), fraud_share=0.05))


def repriced(market: Market, rows: np.ndarray, rate: np.ndarray) -> pa.Table:
    width = np.where(np.isfinite(rate), 0.01, np.nan)
    return with_prices(
        market.trades, market.oracle, rows=rows, shown=Shown(rate=rate, density=1 / width, centre=rate)
    )


def rates(table: pa.Table) -> np.ndarray:
    return table["offered_rate"].to_numpy(zero_copy_only=False)


def test_the_same_prices_give_the_same_log(market: Market) -> None:
    """Offered what it was offered, each trade of the first weeks has the decision, resale and label of the log."""
    rows = np.arange(1_000)
    found = repriced(market, rows, rates(market.trades.take(pa.array(rows))))
    for name in FILLED:
        if name not in ("offer_density", "offer_centre"):
            assert found[name].take(pa.array(rows)).equals(market.trades[name].take(pa.array(rows))), name
    assert found.slice(1_000).equals(market.trades.slice(1_000))


def test_more_buys_more_and_no_offer_buys_nothing(market: Market) -> None:
    """At two points more nobody declines who had accepted, and what is bought then has its resale or its fraud label;
    a trade without an offer has no outcome; whom the log's platform turned away gets no offer."""
    rows = np.arange(1_500)
    before = market.trades.slice(0, 1_500)
    more = repriced(market, rows, rates(before) + 0.02).slice(0, 1_500)
    was, now = (pc.fill_null(table["accepted"], False).to_numpy() for table in (before, more))
    assert (now >= was).all()
    assert now.sum() > was.sum()
    fraud = market.oracle["is_fraud"].slice(0, 1_500).to_numpy(zero_copy_only=False)
    assert (more["resale_rate"].is_valid().to_numpy() == (now & ~fraud)).all()
    assert (more["fraud"].is_valid().to_numpy() == now).all()
    nothing = repriced(market, rows, np.full(1_500, np.nan)).slice(0, 1_500)
    assert all(nothing[name].null_count == 1_500 for name in FILLED)
    everyone = repriced(market, rows, np.full(1_500, 0.9)).slice(0, 1_500)
    turned_away = market.oracle["was_screened_out"].slice(0, 1_500).to_numpy(zero_copy_only=False)
    assert (everyone["offered_rate"].is_valid().to_numpy() == ~turned_away).all()
