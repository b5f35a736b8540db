"""Other shapes of the synthetic market: skewed and mixed acceptance, a confounded log, a shock, other jitter."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from pipelines.simulation import Market, World, WorldError, simulate, write
from pipelines.simulation.acceptance import Reservations
from pipelines.simulation.oracle import Oracle, acceptance_probability, read_oracle
from pipelines.simulation.worlds import WORLDS, world_of

START = dt.date(2025, 9, 1)
SHAPES = {
    "logistic": {},
    "skewed": {"acceptance": "skewed"},
    "mixed": {"acceptance": "mixed"},
    "shock": {"shock_day": 25},
    "mixed_shock": {"acceptance": "mixed", "shock_day": 25},
}
LARGE = {"trades": 80_000, "days": 50, "seed": 12}


def _honest(market: Market) -> tuple[pd.DataFrame, Oracle]:
    """Trades and truth of honest sellers, side by side and as an oracle."""
    both = market.trades.to_pandas(timestamp_as_object=False)
    both = both.drop(columns="offer_centre").join(market.oracle.drop(["trade_id"]).to_pandas())
    honest = np.flatnonzero(~both["is_fraud"])
    oracle = read_oracle(market.oracle, market.trades["trade_id"])
    return both.iloc[honest].reset_index(drop=True), oracle.slice(honest)


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request: pytest.FixtureRequest) -> tuple[pd.DataFrame, Oracle]:
    return _honest(simulate(World(**LARGE, **SHAPES[request.param])))


@pytest.fixture(scope="module")
def confounded() -> tuple[pd.DataFrame, Oracle]:
    return _honest(simulate(World(**LARGE, confounded=True)))


def _deviations(trades: pd.DataFrame, oracle: Oracle, of: np.ndarray, bins: int = 10) -> np.ndarray:
    """By how many standard errors more sellers accept than stated, in each quantile bin of ``of`` (bins,).

    A seller's trades are not independent, so the error is that of sums over sellers.
    """
    stated = acceptance_probability(oracle, trades["unscreened_offer"].to_numpy())
    excess = pd.Series(trades["would_accept"].to_numpy() - stated)
    bin_of = pd.qcut(of, bins, labels=False)
    by_seller = excess.groupby([bin_of, trades["seller_id"].to_numpy()]).sum()
    sums = by_seller.groupby(level=0)
    return (sums.sum() / np.sqrt((by_seller**2).groupby(level=0).sum())).to_numpy()


def test_sellers_accept_as_often_as_the_oracle_says(shaped: tuple[pd.DataFrame, Oracle]) -> None:
    """In every band of the rate, and of its distance from the middle rate, acceptance is the stated one."""
    trades, oracle = shaped
    rate = trades["unscreened_offer"].to_numpy()
    for of in (rate, rate - oracle.accept_mu, (rate - oracle.accept_mu) / oracle.accept_scale):
        assert np.abs(_deviations(trades, oracle, of)).max() < 4


def test_least_rates_have_the_stated_distribution(shaped: tuple[pd.DataFrame, Oracle]) -> None:
    """The stated share of sellers below each seller's own least rate is uniform."""
    trades, oracle = shaped
    once = ~trades.duplicated("seller_id").to_numpy()
    place = acceptance_probability(oracle, trades["reservation_rate"].to_numpy())[once]
    assert len(place) > 10_000
    assert kstest(place, "uniform").pvalue > 0.001


def test_other_shapes_are_not_logistic() -> None:
    """A logistic curve of the same middle and spread misses a skewed and a mixed market by far."""
    trades, oracle = _honest(simulate(World(**LARGE, acceptance="skewed")))
    distance = (trades["unscreened_offer"].to_numpy() - oracle.accept_mu) / oracle.accept_scale
    assert np.abs(_deviations(trades, replace(oracle, accept_skew=0.0), distance)).max() > 10
    trades, oracle = _honest(simulate(World(**LARGE, acceptance="mixed")))
    distance = (trades["unscreened_offer"].to_numpy() - oracle.accept_mu) / oracle.accept_scale
    assert np.abs(_deviations(trades, replace(oracle, hurried_share=0.0), distance)).max() > 10


def test_skew_keeps_middle_and_spread() -> None:
    """A skewed group has the median and every central interval's width of the logistic one, and a longer
    tail below."""
    quantile = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    one = np.ones(5)
    plain = Reservations(accept_mu=0.9 * one, accept_scale=0.02 * one).quantile(quantile)
    skewed = Reservations(accept_mu=0.9 * one, accept_scale=0.02 * one, accept_skew=0.7 * one)
    least = skewed.quantile(quantile)
    assert least[2] == pytest.approx(0.9)
    np.testing.assert_allclose(least[[4, 3]] - least[[0, 1]], plain[[4, 3]] - plain[[0, 1]])
    assert least[2] - least[0] > 2 * (least[4] - least[2])
    np.testing.assert_allclose(skewed.share_content(least), quantile)


def test_mixed_sellers_differ_by_card() -> None:
    """Comparers stand close around the best competitor, hurried ones lower and wider; their share depends on
    category and face value; expired cards have one group."""
    trades, oracle = _honest(simulate(World(trades=10_000, days=60, acceptance="mixed")))
    valid = trades["hurried_share"].to_numpy() > 0
    assert (oracle.hurried_scale / oracle.accept_scale)[valid] == pytest.approx(1.3 / 0.4)
    assert (oracle.hurried_mu < oracle.accept_mu)[valid].mean() > 0.9
    expired = (
        trades["expires_on"] < trades["submitted_at"].dt.tz_convert("Asia/Shanghai").dt.date
    ).to_numpy()
    assert (valid == ~expired).all()
    middle = trades[valid & trades["face_value_cny"].between(101, 999)]
    assert 5 < middle["hurried_share"].nunique() <= 13
    assert (middle.groupby("card_type")["hurried_share"].nunique() == 1).all()
    small = trades[valid & (trades["face_value_cny"] <= 100)].groupby("card_type")["hurried_share"].mean()
    common = small.index.intersection(middle["card_type"])
    assert (small[common] > middle.groupby("card_type")["hurried_share"].first()[common]).all()


def test_confounded_logs_mislead(confounded: tuple[pd.DataFrame, Oracle]) -> None:
    """Sellers offered more than usual are the stubborn ones: they accept less often than the card's curve says,
    the others more often, so the log's own curve is flatter."""
    trades, oracle = confounded
    by_move = _deviations(trades, oracle, trades["trader_move"].to_numpy(), bins=4)
    assert by_move[0] > 10
    assert by_move[3] < -10
    distance = trades["unscreened_offer"].to_numpy() - oracle.accept_mu
    by_distance = _deviations(trades, oracle, distance, bins=5)
    assert by_distance[0] > 4
    assert by_distance[4] < -4
    assert 0.009 < trades["trader_move"].std() < 0.015
    assert trades["trader_move"].abs().max() <= 0.025


def test_a_trader_knows_more_of_the_market_than_the_bids() -> None:
    """Of two cards with equal buyers' bids, the one that resells for more got the higher move."""
    market = simulate(World(trades=20_000, days=50, seed=12, confounded=True))
    trades, _ = _honest(market)
    plain = trades[trades["expires_on"].isna() & (trades["resale_expected"] > 0.3)]
    quotes = market.market.to_pandas(timestamp_as_object=False)
    bids = []
    for _, source in quotes[quotes["side"] == "buyer_bid"].groupby("source"):
        latest = pd.merge_asof(plain, source, left_on="submitted_at", right_on="observed_at", by="card_type")
        bids.append(latest["rate"].to_numpy())
    unseen = plain["resale_expected"].to_numpy() - np.nanmean(bids, axis=0)
    unseen = pd.Series(unseen).groupby([plain["card_type"].to_numpy(), plain["face_value_cny"].to_numpy()])
    within = unseen.transform("mean").rsub(unseen.obj)
    assert np.corrcoef(within, plain["trader_move"])[0, 1] > 0.1


def test_confounded_density_is_honest(confounded: tuple[pd.DataFrame, Oracle]) -> None:
    """The logged density is that of the move which owes nothing to the trader; without one there is none."""
    trades, oracle = confounded
    offered = trades["offered_rate"].notna()
    assert set(trades.loc[offered, "offer_density"]) == {25.0}
    assert trades.loc[~offered, "offer_density"].isna().all()
    drawn = (trades["unscreened_offer"] - trades["offer_centre"]).to_numpy()
    assert kstest((drawn + 0.02) / 0.04, "uniform").pvalue > 0.001
    for hidden in (trades["trader_move"], acceptance_probability(oracle, trades["reservation_rate"])):
        assert abs(np.corrcoef(drawn, hidden)[0, 1]) < 4 / np.sqrt(len(drawn))
    still, _ = _honest(simulate(World(trades=2_000, days=30, confounded=True, jitter=False)))
    assert still["offer_density"].isna().all()
    np.testing.assert_allclose(still["unscreened_offer"], still["offer_centre"], atol=0.6e-4)
    assert still["trader_move"].std() > 0.009


def test_a_shock_begins_another_market() -> None:
    """Nothing differs before the day; then bids fall by 2.5 to 5.5 points in two days and half recover in two
    months, competitors fall by a point more for good, and sellers agree more."""
    world = World(trades=5_000, days=120, seed=9, shock_day=40)
    calm, struck = simulate(replace(world, shock_day=None)), simulate(world)
    quotes = struck.market.to_pandas(timestamp_as_object=False)
    keys = ["observed_at", "card_type", "source", "side"]
    assert struck.market.select(keys).equals(calm.market.select(keys))
    quotes["fall"] = calm.market["rate"].to_numpy() - struck.market["rate"].to_numpy()
    begins = pd.Timestamp(world.start, tz="Asia/Shanghai") + pd.Timedelta(days=40)
    quotes["day"] = (quotes["observed_at"] - begins) / pd.Timedelta(days=1)
    assert (quotes.loc[quotes["day"] < 0, "fall"] == 0).all()
    soon = quotes[quotes["day"].between(6, 12)].groupby("side")["fall"]
    assert soon.get_group("buyer_bid").between(0.02, 0.055).all()
    widened = soon.mean()["competitor_bid"] - soon.mean()["buyer_bid"]
    assert 0.009 < widened < 0.015
    late = quotes[quotes["day"] > 60].groupby("side")["fall"].mean()
    assert 0.35 < late["buyer_bid"] / soon.mean()["buyer_bid"] < 0.65
    assert late["competitor_bid"] - late["buyer_bid"] == pytest.approx(0.012, abs=0.003)
    trades, _ = _honest(struck)
    plain = trades[trades["resale_expected"] > 0.3]
    scale = plain.groupby(plain["submitted_at"] >= begins)["accept_scale"].mean()
    assert scale[True] / scale[False] == pytest.approx(0.65, abs=0.02)


def test_resale_is_unbiased_through_a_shock() -> None:
    """Before, within and after the fall, realised resale rates average what the oracle expects."""
    trades, _ = _honest(simulate(World(**LARGE, shock_day=25)))
    day = (trades["submitted_at"] - trades["submitted_at"].min()) // pd.Timedelta(days=1)
    error = (
        (trades["resale_realised"] - trades["resale_expected"]).groupby(pd.cut(day, [-1, 21, 28, 50])).mean()
    )
    assert (error.abs() < 0.003).all()


@pytest.mark.parametrize("half_width", [0.005, 0.05])
def test_jitter_has_the_given_width(half_width: float) -> None:
    """Offers move by up to the half width, their density says so, and no rate leaves 0–1."""
    world = World(trades=3_000, days=20, jitter_half_width=half_width)
    trades, _ = _honest(simulate(world))
    drawn = (trades["unscreened_offer"] - trades["offer_centre"]).to_numpy()
    assert np.abs(drawn).max() == pytest.approx(half_width, abs=2e-4)
    assert kstest((drawn / half_width + 1) / 2, "uniform").pvalue > 0.001
    assert trades["offer_density"].dropna().unique() == pytest.approx([1 / (2 * half_width)])
    assert trades["unscreened_offer"].between(0.005, 1).all()


@pytest.mark.parametrize("name", WORLDS)
def test_named_worlds_give_the_same_bytes_again(tmp_path: Path, name: str) -> None:
    """Each named world is what its name says, and equal seeds give equal files."""
    world = world_of(name, trades=600, days=30, seed=2, start=START)
    for folder in ("a", "b"):
        write(simulate(world), tmp_path / folder)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    usual = World(trades=600, days=30, seed=2, start=START)
    assert (world == usual) == (name == "logistic")


def test_named_shock_comes_before_the_judged_days() -> None:
    """The shock falls into the weeks before the newest 30 days, and an unknown name is refused by name."""
    for days in (60, 90, 180, 365):
        shock_day = world_of("shock", trades=600, days=days, seed=2, start=START).shock_day
        assert shock_day is not None
        assert 7 <= days - 30 - shock_day <= 21
    with pytest.raises(WorldError, match="stormy"):
        world_of("stormy", trades=600, days=30, seed=2, start=START)
