"""The truth behind the synthetic market: it is keyed by trade, says what happens, and its best rate is the best."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.policy import Costs
from pipelines.simulation import Market, World, simulate
from pipelines.simulation.oracle import (
    Oracle,
    UnknownTrade,
    acceptance_probability,
    best_rate,
    expected_profit_fen,
    face_values_fen,
    profit_share,
    read_oracle,
)
from pipelines.simulation.prices import sale_lag_shares
from pipelines.simulation.world import ACCEPTANCES, Acceptance
from pipelines.simulation.worlds import WORLDS, world_of


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(World(trades=20_000, days=90, seed=3))


@pytest.fixture(scope="module")
def trades(market: Market) -> pd.DataFrame:
    """Trades and truth side by side."""
    both = market.trades.to_pandas(timestamp_as_object=False)
    return both.drop(columns="offer_centre").join(market.oracle.drop(["trade_id"]).to_pandas())


@pytest.fixture(scope="module")
def truth(market: Market) -> Oracle:
    return read_oracle(market.oracle, market.trades["trade_id"])


def test_oracle_is_keyed_one_to_one(market: Market) -> None:
    """One row of truth per trade; a trade it does not know is refused by name."""
    assert market.oracle["trade_id"].equals(market.trades["trade_id"])
    assert not {"is_fraud", "accept_mu", "resale_expected"} & set(market.trades.column_names)
    turned = market.trades["trade_id"].take(pa.array([5, 2]))
    two = read_oracle(market.oracle, turned)
    np.testing.assert_array_equal(two.accept_mu, market.oracle["accept_mu"].to_numpy()[[5, 2]])
    with pytest.raises(UnknownTrade, match="t99"):
        read_oracle(market.oracle, pa.array(["t99"]))


def test_acceptance_is_what_the_oracle_says(trades: pd.DataFrame, truth: Oracle) -> None:
    """Among honest sellers, the share that would accept equals the stated probability in every band of it."""
    honest = ~truth.is_fraud
    stated = acceptance_probability(truth, trades["unscreened_offer"].to_numpy())[honest]
    took = trades["would_accept"].to_numpy()[honest]
    band = np.digitize(stated, [0.2, 0.35, 0.5, 0.65, 0.8])
    for index in range(6):
        here = band == index
        assert took[here].mean() == pytest.approx(stated[here].mean(), abs=4 * 0.5 / np.sqrt(here.sum()))


def test_resale_is_what_the_oracle_expects(trades: pd.DataFrame) -> None:
    """The realised resale rate is unbiased around the stated mean, expired cards included."""
    honest = trades[~trades["is_fraud"]]
    error = honest["resale_realised"] - honest["resale_expected"]
    assert abs(error.mean()) < 0.002
    expired = honest[honest["resale_expected"] < 0.1]
    assert expired["resale_expected"].min() >= 0.01
    assert expired["resale_realised"].mean() == pytest.approx(expired["resale_expected"].mean(), abs=0.04)
    assert sale_lag_shares().sum() == pytest.approx(1.0)


def test_fraud_rate_of_the_context_is_calibrated() -> None:
    """In contexts of high stated fraud rate there is as much fraud as stated, before and after screening."""
    oracle = simulate(World(trades=60_000, days=30, seed=11)).oracle.to_pandas()
    for stated, rows in (
        ("fraud_rate_context", oracle),
        ("fraud_rate_screened", oracle[~oracle["was_screened_out"]]),
    ):
        risky = rows[stated] > rows[stated].quantile(0.8)
        for part in (rows[risky], rows[~risky]):
            assert part["is_fraud"].mean() == pytest.approx(part[stated].mean(), rel=0.25)


def test_best_rate_beats_every_other_rate(market: Market, truth: Oracle) -> None:
    """No random rate earns more than the best one, and no offer is right where the best one loses."""
    face, costs = face_values_fen(market.trades), Costs()
    known = {"oracle": truth, "face_value_fen": face, "costs": costs}
    best = best_rate(**known)
    earns = expected_profit_fen(rate=best, **known)
    assert (earns >= 0).all()
    assert (earns[np.isnan(best)] == 0).all()
    rng = np.random.default_rng(1)
    for _ in range(20):
        other = expected_profit_fen(rate=truth.accept_mu + rng.uniform(-0.1, 0.1, len(face)), **known)
        assert (other <= earns + 0.002 * face).all()
        assert other.sum() < earns.sum()


def test_expected_profit_by_hand() -> None:
    """A card of 100 yuan at 0.90: the formula of the module, term by term."""
    one = np.array([1.0])
    oracle = Oracle(
        accept_mu=0.90 * one,
        accept_scale=0.02 * one,
        resale_expected=0.95 * one,
        logistics_share=0.01 * one,
        fraud_rate_screened=0.10 * one,
        fraud_accepts=one,
        is_fraud=one == 0,
    )
    costs = Costs(handling_cny=1.0, capital_rate_daily=0.001, days_to_sell=2.0, loss_given_fraud=1.0)
    profit = expected_profit_fen(oracle=oracle, face_value_fen=10_000 * one, rate=0.90 * one, costs=costs)
    gain = 10_000 * (0.95 - 0.01 - 0.90 * 1.002) - 100
    loss = 10_000 * (0.90 + 0.01) + 100
    np.testing.assert_allclose(profit, 0.9 * 0.5 * gain - 0.1 * loss)


def test_profit_share_of_the_best_rates_is_one(market: Market, truth: Oracle) -> None:
    """The best policy earns all there is, the logged one less, no offers nothing; days add up."""
    costs, face = Costs(), face_values_fen(market.trades)
    judged = {"oracle": truth, "trades": market.trades, "costs": costs}
    best = best_rate(oracle=truth, face_value_fen=face, costs=costs)
    ideal = profit_share(rates=best, **judged)
    logged = profit_share(rates=market.oracle["unscreened_offer"].to_numpy(), **judged)
    nothing = profit_share(rates=np.full(len(face), np.nan), **judged)
    assert ideal.share == pytest.approx(1.0)
    assert 0 < logged.share < 0.95
    assert nothing.share == 0
    assert logged.policy_by_day_fen.sum() == pytest.approx(logged.policy_fen)
    assert len(logged.days) == market.world.days
    assert logged.days[0] == np.datetime64(market.world.start)


def _dense_best_fen(oracle: Oracle, face_fen: np.ndarray, costs: Costs) -> np.ndarray:
    """The most that any of 4,001 rates from 0 to 1 earns, or no offer (n,)."""
    most = np.zeros(len(face_fen))
    for rate in np.linspace(0.0, 1.0, 4_001):
        rates = np.full(len(face_fen), rate)
        earns = expected_profit_fen(oracle=oracle, face_value_fen=face_fen, rate=rates, costs=costs)
        most = np.maximum(most, earns)
    return most


@pytest.mark.parametrize("acceptance", ACCEPTANCES)
def test_best_rate_beats_a_dense_grid(acceptance: Acceptance) -> None:
    """In every shape of acceptance, no rate of a grid of 0.025 points earns a thousandth of a point more."""
    world = World(trades=3_000, days=60, seed=8, acceptance=acceptance, shock_day=30, fraud_share=0.05)
    market = simulate(world)
    oracle, face = read_oracle(market.oracle, market.trades["trade_id"]), face_values_fen(market.trades)
    best = best_rate(oracle=oracle, face_value_fen=face, costs=Costs())
    earns = expected_profit_fen(oracle=oracle, face_value_fen=face, rate=best, costs=Costs())
    assert (earns >= _dense_best_fen(oracle, face, Costs()) - 1e-5 * face).all()


def test_best_rate_finds_the_higher_of_two_hills() -> None:
    """Two groups far apart make two hills; whichever is higher is found, though they differ by little."""
    share = np.linspace(0.3, 0.7, 401)
    one = np.ones(len(share))
    oracle = Oracle(
        accept_mu=0.90 * one,
        accept_scale=0.0025 * one,
        hurried_share=share,
        hurried_mu=0.82 * one,
        hurried_scale=0.008 * one,
        resale_expected=0.97 * one,
        logistics_share=0 * one,
        fraud_rate_screened=0.005 * one,
        fraud_accepts=one,
        is_fraud=one == 0,
    )
    face = 50_000 * one
    best = best_rate(oracle=oracle, face_value_fen=face, costs=Costs())
    assert (best[:100] > 0.89).all()
    assert (best[-100:] < 0.86).all()
    earns = expected_profit_fen(oracle=oracle, face_value_fen=face, rate=best, costs=Costs())
    assert (earns >= _dense_best_fen(oracle, face, Costs()) - 1e-5 * face).all()


@pytest.mark.parametrize("name", WORLDS)
def test_profit_share_of_the_best_rates_is_one_in_every_world(name: str) -> None:
    """Whatever the shape, the best rates earn all there is and the log's offers less."""
    market = simulate(world_of(name, trades=3_000, days=90, seed=4, start=dt.date(2025, 9, 1)))
    oracle, face = read_oracle(market.oracle, market.trades["trade_id"]), face_values_fen(market.trades)
    judged = {"oracle": oracle, "trades": market.trades, "costs": Costs()}
    best = best_rate(oracle=oracle, face_value_fen=face, costs=Costs())
    assert profit_share(rates=best, **judged).share == pytest.approx(1.0)
    assert profit_share(rates=market.oracle["unscreened_offer"].to_numpy(), **judged).share < 0.95
