"""What the seller asks for, who gets the money, and totals just below a legal mark."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.definitions import FEATURES, LEGAL_MARKS_CNY
from features.events import Record, Submitted
from features.tables import MARKET, TRADES
from models.fraud.rules import DAY_SUMS
from pipelines import screening
from tests.features import worlds
from tests.features.naive import Log
from tests.features.replay import live, offline, timeline

SIGNALS = (
    "seller_asked_over_market",
    "payee_is_seller",
    "seller_day_below_limit",
    "payout_account_day_below_limit",
)
NOON = datetime(2025, 6, 2, 4, tzinfo=UTC)


def one_trade(**told) -> dict:
    trade = {"trade_id": "z", "submitted_at": NOON, "seller_id": "s1", "card_type": "jd_ecard"}
    return trade | {"face_value_fen": 10_000} | told


def signals(*rows: dict, market: tuple[dict, ...] = ()) -> dict[str, float]:
    """The signals of the last one of some trades."""
    trades = pa.Table.from_pylist(list(rows), schema=TRADES.schema)
    columns = offline(trades, pa.Table.from_pylist(list(market), schema=MARKET.schema))
    return {name: float(columns[name][-1]) for name in SIGNALS}


def bid(rate: float, side: str = "competitor_bid") -> dict:
    seen = {"observed_at": NOON - timedelta(hours=1), "card_type": "jd_ecard", "source": "x"}
    return seen | {"side": side, "rate": rate}


def test_the_asked_rate_is_measured_from_what_competitors_bid():
    """Asked less bid; unknown where the seller asked for nothing or no competitor bids."""
    asked = one_trade(asked_rate=0.7)
    found = signals(asked, market=(bid(0.9),))["seller_asked_over_market"]
    assert found == pytest.approx(-0.2)
    assert np.isnan(signals(one_trade(), market=(bid(0.9),))["seller_asked_over_market"])
    assert np.isnan(signals(asked, market=(bid(0.9, "buyer_bid"),))["seller_asked_over_market"])


@pytest.mark.parametrize(("flag", "value"), [(True, 1.0), (False, 0.0), (None, np.nan)])
def test_the_payee_is_the_seller_or_not_or_unknown(flag, value):
    """Yes is 1, no is 0, and what nobody said is neither."""
    found = signals(one_trade(payee_is_seller=flag))["payee_is_seller"]
    assert found == pytest.approx(value, nan_ok=True)


TOTALS = (
    (8_999.99, 0),
    (9_000, 1),
    (9_999.99, 1),
    (10_000, 0),
    (44_999.99, 0),
    (45_000, 1),
    (49_999.99, 1),
    (50_000, 0),
    (449_999.99, 0),
    (450_000, 1),
    (500_000, 0),
)
"""Face value of a day in yuan -> whether it lies in the last tenth below a mark."""


@pytest.mark.parametrize(("total", "below"), TOTALS)
def test_a_day_s_total_just_below_a_mark_is_seen(total, below):
    """The last tenth below a mark counts to the fen, with the card of the moment and cards of 24 hours only."""
    rows = (
        one_trade(trade_id="a", submitted_at=NOON - timedelta(hours=30), face_value_fen=700_000),
        one_trade(trade_id="b", submitted_at=NOON - timedelta(hours=3), face_value_fen=500_000),
        one_trade(face_value_fen=round(total * 100) - 500_000),
    )
    found = signals(*rows)
    assert found["seller_day_below_limit"] == below
    assert np.isnan(found["payout_account_day_below_limit"])


def test_an_account_s_total_counts_whoever_sold():
    """Two sellers of one payout account: its total lies below a mark, that of neither seller does."""
    rows = (
        one_trade(trade_id="a", submitted_at=NOON - timedelta(hours=1), payout_account="p", seller_id="s2"),
        one_trade(payout_account="p", face_value_fen=940_000 - 10_000 - 50_000),
    )
    found = signals(rows[0] | {"face_value_fen": 60_000}, rows[1])
    assert (found["seller_day_below_limit"], found["payout_account_day_below_limit"]) == (0, 1)


def test_large_cards_give_the_same_bits_everywhere():
    """With face values around the marks, columns, live replay and the oracle agree on every trade."""
    told = worlds.trades(rows=300, seed=31, days=20)
    large = pa.array([fen * 23 for fen in told["face_value_fen"].to_pylist()], pa.int64())
    trades = told.set_column(told.column_names.index("face_value_fen"), "face_value_fen", large)
    market = worlds.market(rows=150, seed=31, days=20)
    columns = offline(trades, market)
    ids = trades["trade_id"].to_pylist()
    oracle = {m.trade["trade_id"]: FEATURES.values(m, SIGNALS) for m in Log.of(trades, market).moments(ids)}
    answered, features = {}, live()
    for seq, (at, event) in enumerate(timeline(trades, market), start=1):
        if isinstance(event, Submitted):
            answered[event.trade["trade_id"]] = features.answer(event.trade).values
        features.apply([Record(seq, event)], now=at)
    for name in SIGNALS:
        np.testing.assert_array_equal([oracle[trade_id][name] for trade_id in ids], columns[name], name)
        np.testing.assert_array_equal([answered[trade_id][name] for trade_id in ids], columns[name], name)
        assert len(np.unique(columns[name][~np.isnan(columns[name])])) > 1, name


def test_only_the_fraud_model_reads_them():
    """They say who sells, so no price ever sees one."""
    assert set(SIGNALS) <= set(FEATURES.names("fraud")) - set(FEATURES.names("discount"))


def test_the_marks_are_those_of_the_shipped_limits():
    """Every mark that a shipped limit sets for a day's total is one that the features look below."""
    shipped = tomllib.loads((Path(screening.__file__).parent / "limits.toml").read_text(encoding="utf-8"))
    structuring = [
        condition["below"]
        for limit in shipped["limit"]
        for condition in limit["when"]
        if condition["feature"] in DAY_SUMS and "below" in condition
    ]
    assert structuring
    assert set(structuring) <= set(LEGAL_MARKS_CNY)
