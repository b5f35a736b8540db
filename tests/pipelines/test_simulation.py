"""The synthetic market: same seed same bytes, tables as a platform would export them, a truth beside them."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from features.catalogue import load_catalogue
from features.tables import CARD_TYPES, MARKET, TABLES, TRADES, Table
from pipelines.simulation import Market, OccupiedFolder, World, WorldError, simulate, write
from pipelines.simulation.oracle import face_values_fen
from pipelines.simulation.tables import file_schema
from serving.commands.simulate import simulate as simulate_command
from serving.refusals import Refusal

FILES = ("trades.parquet", "market.parquet", "card_types.parquet", "oracle.parquet", "world.json")
LATER = ("accepted", "decided_at", "resale_rate", "resold_at", "fraud", "fraud_known_at", "label_source")


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(World(trades=20_000, days=90, seed=3))


@pytest.fixture(scope="module")
def trades(market: Market) -> pd.DataFrame:
    """Trades and truth side by side."""
    both = market.trades.to_pandas(timestamp_as_object=False)
    return both.drop(columns="offer_centre").join(market.oracle.drop(["trade_id"]).to_pandas())


def _written(folder: Path, world: World) -> dict[str, bytes]:
    write(simulate(world), folder)
    return {name: (folder / name).read_bytes() for name in FILES}


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Equal worlds give equal files, another seed gives other tables."""
    first = _written(tmp_path / "a", World(trades=600, days=20, seed=5))
    again = _written(tmp_path / "b", World(trades=600, days=20, seed=5))
    other = _written(tmp_path / "c", World(trades=600, days=20, seed=6))
    assert first == again
    assert all(first[name] != other[name] for name in FILES if name != "card_types.parquet")


def test_another_profile_meets_the_same_market() -> None:
    """What-if: under another pricing policy the market and the first offers of cards stay as they were."""
    head = simulate(World(trades=2_000, days=20, profile="head"))
    small = simulate(World(trades=2_000, days=20, profile="small"))
    assert head.market.equals(small.market)
    same_cards = set(head.trades["submitted_at"].to_pylist()) & set(small.trades["submitted_at"].to_pylist())
    assert len(same_cards) > 0.95 * 2_000
    assert not head.trades["offered_rate"].equals(small.trades["offered_rate"])


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_have_the_contract_s_columns(market: Market, name: str) -> None:
    """Every column of the input contract, in its file form, within its bounds, sorted and unique by key."""
    table: Table = TABLES[name]
    written: pa.Table = getattr(market, name)
    assert written.schema == file_schema(table)
    assert written.column_names == [column.name for column in table.columns]
    frame = written.to_pandas(timestamp_as_object=False)
    assert not frame.duplicated(list(table.key)).any()
    ordered = frame.sort_values(list(table.order), kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(frame, ordered)
    for column in table.columns:
        values = frame[column.name].dropna()
        assert not column.required or len(values) == len(frame), column.name
        assert column.low is None or (values >= column.low).all(), column.name
        assert column.high is None or (values <= column.high).all(), column.name
        assert column.values is None or values.isin(column.values).all(), column.name


def test_money_has_two_decimals(market: Market) -> None:
    """Yuan in files are whole fen."""
    fen = market.trades["face_value_cny"].to_numpy() * 100
    np.testing.assert_allclose(fen, np.rint(fen), atol=1e-6)
    np.testing.assert_array_equal(face_values_fen(market.trades), np.rint(fen).astype(np.int64))


def test_rules_across_columns_hold(market: Market) -> None:
    """No outcome lies before its trade, and no value stands without the time it became known."""
    trades = market.trades.to_pandas(timestamp_as_object=False)
    for rule in TRADES.not_before:
        both = trades[[rule.earlier, rule.later]].dropna()
        assert (both[rule.later] >= both[rule.earlier]).all()
    for rule in TRADES.together:
        assert (trades[rule.column].notna() == trades[rule.needs].notna()).all()
    card_types = market.card_types.to_pandas()
    assert (card_types["max_rate"] >= card_types["min_rate"]).all()


def test_card_types_are_rows_of_the_catalogue(market: Market) -> None:
    """The traded card types come from the catalogue unchanged, and everything refers to them."""
    names = market.card_types["card_type"].to_pylist()
    assert 40 <= len(names) <= 60
    stored = load_catalogue().to_table().to_pandas().set_index("card_type").loc[names]
    written = market.card_types.to_pandas().set_index("card_type")
    for column in (column.name for column in CARD_TYPES.columns[1:] if column.kind != "money"):
        pd.testing.assert_series_equal(written[column], stored[column])
    np.testing.assert_array_equal(written["max_face_cny"] * 100, stored["max_face_fen"])
    assert set(market.trades["card_type"].to_pylist()) <= set(names)
    assert set(market.market["card_type"].to_pylist()) <= set(names)


def test_nothing_later_than_the_log_is_known(market: Market, trades: pd.DataFrame) -> None:
    """Outcomes after the last day are censored; honest trades of the last three weeks have no label yet."""
    end = pd.Timestamp(market.world.end_us, unit="us", tz="UTC")
    for column in ("submitted_at", "decided_at", "resold_at", "fraud_known_at"):
        assert (trades[column].dropna() < end).all()
    recent = trades[trades["submitted_at"] > end - pd.Timedelta(days=21)]
    assert not (recent["fraud"] == False).any()  # noqa: E712 - an object column with nulls
    assert (recent["fraud"] == True).any()  # noqa: E712
    censored = trades["fraud"].isna() & (trades["accepted"] == True)  # noqa: E712
    assert (trades.loc[censored, "known_at"] >= end).all()


def test_screening_leaves_no_labels(trades: pd.DataFrame) -> None:
    """A trade turned away has neither offer nor answer nor label; a twentieth of the flagged ones pass."""
    out = trades[trades["was_screened_out"]]
    outcomes = ["offered_rate", "offer_density", "accepted", "decided_at", "resale_rate", "fraud"]
    assert len(out) > 50
    assert out[outcomes].isna().all(axis=None)
    assert trades.loc[~trades["was_screened_out"], "offered_rate"].notna().all()
    flagged = trades[trades["screen_flagged"]]
    assert 0.01 < (~flagged["was_screened_out"]).mean() < 0.12


def test_only_accepted_trades_have_labels_and_resales(trades: pd.DataFrame) -> None:
    """A declined offer leaves neither a fraud label nor a resale, and fraud is never resold."""
    declined = trades[trades["accepted"] == False]  # noqa: E712
    assert len(declined) > 1_000
    assert declined[["fraud", "fraud_known_at", "resale_rate", "resold_at"]].isna().all(axis=None)
    assert declined["decided_at"].notna().all()
    assert trades.loc[trades["is_fraud"], "resale_rate"].isna().all()
    labelled = trades[trades["fraud"].notna()]
    assert (labelled["fraud"].astype(bool) == labelled["is_fraud"]).all()


def test_shares_are_those_of_the_trade(trades: pd.DataFrame) -> None:
    """About 2 % fraud, half of the offers accepted, fraudsters take nearly all, margins of a few points."""
    assert trades["is_fraud"].mean() == pytest.approx(0.02, abs=1e-4)
    decided = trades[trades["accepted"].notna()]
    accepted = decided["accepted"].astype(bool)
    assert 0.40 < accepted.mean() < 0.70
    assert accepted[decided["is_fraud"]].mean() > 0.93
    assert accepted[~decided["is_fraud"]].mean() < 0.65
    sold = trades[trades["resale_rate"].notna()]
    margin = (sold["resale_rate"] - sold["offered_rate"] - sold["logistics_share"]).mean()
    assert 0.03 < margin < 0.08
    assert set(trades["fraud_kind"].dropna()) == {
        "stolen_batch_ring", "rented_accounts", "double_redemption", "ordinary",
    }  # fmt: skip


def test_offers_move_by_their_density() -> None:
    """With jitter the density is 1 / 0.04 and offers spread evenly; without it there is neither."""
    moved = simulate(World(trades=3_000, days=20, profile="medium"))
    still = simulate(World(trades=3_000, days=20, profile="medium", jitter=False))
    assert set(moved.trades["offer_density"].drop_null().to_pylist()) == {25.0}
    assert still.trades["offer_density"].null_count == 3_000
    by_time = still.trades.to_pandas().merge(
        moved.trades.to_pandas(), on=["submitted_at", "card_fingerprint"]
    )
    move = (by_time["offered_rate_y"] - by_time["offered_rate_x"]).dropna()
    assert move.abs().max() <= 0.02 + 1e-4
    assert move.std() == pytest.approx(0.04 / np.sqrt(12), rel=0.05)


def test_profiles_price_as_described() -> None:
    """A small platform pays one fixed rate for a valid virtual card, a medium one a table by week."""
    small = simulate(World(trades=2_000, days=20, profile="small", jitter=False))
    rates = small.trades.to_pandas()
    virtual = rates[(rates["card_form"] == "virtual") & (rates["offered_rate"] > 0.1)]
    capped = virtual["card_type"].map(
        dict(zip(*small.card_types.select(["card_type", "max_rate"]), strict=True))
    )
    assert len(capped) == len(virtual)
    assert (virtual["offered_rate"] <= 0.85).all()
    assert (virtual["offered_rate"] == 0.85).mean() > 0.9
    medium = simulate(World(trades=2_000, days=20, profile="medium", jitter=False)).trades.to_pandas()
    plain = medium[(medium["card_form"] == "virtual") & medium["expires_on"].isna()].dropna(
        subset="offered_rate"
    )
    week = (plain["submitted_at"] - pd.Timestamp("2025-08-31 16:00", tz="UTC")) // pd.Timedelta(days=7)
    assert (plain.groupby([week, "card_type"])["offered_rate"].nunique() == 1).all()


def test_rings_share_what_honest_sellers_rarely_do(trades: pd.DataFrame) -> None:
    """A ring's sellers meet in devices, accounts and a batch; rented accounts in one payout account."""
    ring = trades[trades["fraud_kind"] == "stolen_batch_ring"].groupby("ring_id")
    rented = trades[trades["fraud_kind"] == "rented_accounts"].groupby("ring_id")
    assert (ring["card_type"].nunique() == 1).all()
    top_batch = ring["card_prefix"].agg(lambda prefixes: prefixes.value_counts(normalize=True).iloc[0])
    assert top_batch.mean() > 0.6
    assert (ring["device_id"].nunique() < ring["seller_id"].nunique()).mean() > 0.3
    assert (rented["payout_account"].nunique() == 1).all()
    assert rented["seller_id"].nunique().mean() > 3
    span = ring["submitted_at"].agg(lambda moments: moments.max() - moments.min())
    assert span.median() < pd.Timedelta(days=11)


def test_fraud_is_not_told_by_one_sign(trades: pd.DataFrame) -> None:
    """Honest people share entities and bring cards twice too, and some fraud looks like them."""
    honest = trades[~trades["is_fraud"]]
    for entity in ("device_id", "ip", "payout_account", "card_prefix"):
        sellers = honest.groupby(entity)["seller_id"].nunique()
        assert (sellers > 1).any(), entity
    repeated = trades[trades.duplicated("card_fingerprint", keep="first")]
    assert 0.08 < repeated["is_fraud"].mean() < 0.8
    twice = trades[trades["fraud_kind"] == "double_redemption"]
    assert (trades.groupby("card_fingerprint")["trade_id"].transform("size")[twice.index] > 1).all()
    assert trades["fraud_kind"].eq("ordinary").sum() == pytest.approx(0.2 * trades["is_fraud"].sum(), abs=3)


def test_names_tell_nothing(trades: pd.DataFrame) -> None:
    """Identifiers are invented, and their numbers do not separate fraud from honest trades."""
    assert trades["ip"].str.match(r"198\.1[89]\.\d+\.\d+$").all()
    assert trades["card_fingerprint"].str.fullmatch(r"[0-9a-f]{16}").all()
    for column, prefix in (("seller_id", "s"), ("payout_account", "acct-"), ("card_prefix", "b")):
        assert trades[column].str.fullmatch(prefix + r"\d{4,}").all()
    number = trades["seller_id"].str[1:].astype(int)
    ranks = number.rank(pct=True).groupby(trades["is_fraud"]).mean()
    assert abs(ranks[True] - ranks[False]) < 0.1


def test_market_shows_the_level_late(market: Market) -> None:
    """Three buyers and four competitors quote; consumers pay more than buyers, buyers than competitors."""
    quotes = market.market.to_pandas(timestamp_as_object=False)
    sources = quotes.groupby("side")["source"].nunique().to_dict()
    assert sources == {"ask": 1, "buyer_bid": 3, "competitor_bid": 4}
    jd = quotes[quotes["card_type"] == "jd_ecard"].groupby("side")["rate"].mean()
    assert jd["ask"] > jd["buyer_bid"] > jd["competitor_bid"]
    assert quotes["observed_at"].min() < market.trades["submitted_at"][0].as_py()
    gaps = quotes.groupby(["card_type", "source"])["observed_at"].diff().dropna()
    assert gaps.between(pd.Timedelta(hours=6), pd.Timedelta(hours=24)).all()


def test_fraudsters_who_come_at_all_hours_leave_the_night_alone() -> None:
    """At night a card is several times as likely to be stolen as by day, but for a world whose fraudsters come when
    everybody does: there it is about as likely."""
    ratios = []
    for night_fraud in (True, False):
        found = simulate(World(trades=5_000, days=60, night_fraud=night_fraud))
        hour = (found.trades["submitted_at"].cast(pa.int64()).to_numpy() // 3_600_000_000 + 8) % 24
        rate = found.oracle["fraud_rate_context"].to_numpy()
        ratios.append(rate[hour < 6].mean() / rate[(hour >= 9) & (hour < 21)].mean())
    assert ratios[0] > 3
    assert 0.7 < ratios[1] < 1.4


def test_a_world_without_fraud_has_none() -> None:
    """Fraud share 0 is possible, and then no trade, no context and no label knows fraud."""
    calm = simulate(World(trades=400, days=40, fraud_share=0.0))
    assert not any(calm.oracle["is_fraud"].to_pylist())
    assert set(calm.oracle["fraud_rate_screened"].to_pylist()) == {0.0}
    assert True not in calm.trades["fraud"].to_pylist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"trades": 1},
        {"days": 2},
        {"fraud_share": 0.9},
        {"profile": "huge"},
        {"seed": -1},
        {"start": dt.date(1990, 1, 1)},
        {"acceptance": "linear"},
        {"jitter_half_width": 0.0},
        {"shock_day": 0},
        {"shock_day": 180},
    ],
)
def test_impossible_worlds_are_refused(wrong: dict) -> None:
    """A parameter out of range is refused by name."""
    with pytest.raises(WorldError, match=next(iter(wrong))):
        World(**wrong)


def test_write_refuses_a_folder_of_other_things(tmp_path: Path) -> None:
    """A folder with other files stays untouched; an earlier simulation is replaced."""
    small = simulate(World(trades=300, days=10))
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OccupiedFolder, match="not empty"):
        write(small, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    write(small, tmp_path / "new")
    write(small, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(FILES)
    assert pq.read_table(tmp_path / "new" / "market.parquet").schema == file_schema(MARKET)


def test_command_knows_every_parameter(tmp_path: Path) -> None:
    """Each option of ``huika simulate`` reaches the world that is written beside the tables."""
    app = typer.Typer()
    app.command()(simulate_command)
    options = [
        "--trades",
        "300",
        "--days",
        "30",
        "--acceptance",
        "mixed",
        "--confounded",
        "--shock-day",
        "20",
    ]
    options += ["--jitter-half-width", "0.01", "--fraud-share", "0.05", "--start", "2025-01-02"]
    result = CliRunner().invoke(app, [str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    world = World(
        trades=300,
        days=30,
        acceptance="mixed",
        confounded=True,
        shock_day=20,
        jitter_half_width=0.01,
        fraud_share=0.05,
        start=dt.date(2025, 1, 2),
    )
    assert json.loads((tmp_path / "out" / "world.json").read_text()) == world.to_dict()


def test_command_writes_and_refuses(tmp_path: Path) -> None:
    """``huika simulate`` writes the files and says how to import them; bad parameters are refused."""
    app = typer.Typer()
    app.command()(simulate_command)
    options = ["--trades", "300", "--days", "10", "--seed", "2", "--profile", "medium", "--no-jitter"]
    result = CliRunner().invoke(app, [str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    assert "huika import" in result.output
    assert all((tmp_path / "out" / name).exists() for name in FILES)
    assert pq.read_table(tmp_path / "out" / "trades.parquet")["offer_density"].null_count == 300
    for bad in (["--days", "1"], ["--profile", "huge"], ["--start", "someday"], ["--shock-day", "180"]):
        refused = CliRunner().invoke(app, [str(tmp_path / "bad"), *bad])
        assert isinstance(refused.exception, Refusal)
    assert not (tmp_path / "bad").exists()


def test_a_market_that_ends_in_the_middle_of_a_day_is_the_whole_days_as_known_then() -> None:
    """Trades and rates of that day until the moment, outcomes as far as known then, everything as without an end; and
    only the last day may be cut."""
    until = dt.datetime(2026, 3, 1, 7, 30, tzinfo=dt.UTC)
    cut = simulate(World.ending(until, days=29, trades=3_000))
    assert (cut.world.days, cut.world.start) == (30, dt.date(2026, 1, 31))
    whole = simulate(replace(cut.world, until=None))
    moment = pa.scalar(until, pa.timestamp("us", "UTC"))
    for name, column in (("trades", "submitted_at"), ("market", "observed_at")):
        full = getattr(whole, name)
        until_then = full.filter(pc.less(full[column], moment))
        assert len(until_then) < len(full)
        gone = [each for each in full.column_names if each in LATER]  # what may be unknown still
        assert getattr(cut, name).drop_columns(gone).equals(until_then.drop_columns(gone))
        newest = pc.max(getattr(cut, name)[column]).as_py()
        assert until - dt.timedelta(hours=2) < newest < until
    for when in ("decided_at", "resold_at", "fraud_known_at"):
        known = whole.trades[when].slice(0, len(cut.trades))
        told = pc.if_else(pc.less(known, moment), known, pa.scalar(None, known.type))
        assert cut.trades[when].equals(pa.chunked_array(told))
    assert len(cut.oracle) == len(cut.trades)
    midnight = World.ending(dt.datetime(2026, 2, 28, 16, tzinfo=dt.UTC), days=29)
    assert (midnight.days, midnight.end_us) == (29, midnight.end_of_days_us)
    with pytest.raises(WorldError, match="until"):
        replace(cut.world, until=until - dt.timedelta(days=1))
