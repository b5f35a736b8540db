"""Features against a naive oracle, and against the future."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.facts import SPINE_COLUMNS
from features.online import to_microseconds
from features.training_set import compute_features
from features.windows import WINDOWS
from tests.features import worlds


def offline(trades: pa.Table, market: pa.Table, spine: pa.Table | None = None) -> dict[str, np.ndarray]:
    return compute_features(
        spine=(trades if spine is None else spine).select(SPINE_COLUMNS),
        trades=trades,
        market=market,
        catalogue=load_catalogue(),
        registry=FEATURES,
        progress=lambda done, total: None,
    )


@pytest.fixture(scope="module")
def world() -> tuple[pa.Table, pa.Table]:
    return worlds.trades(rows=500, seed=1), worlds.market(rows=400, seed=2)


@pytest.fixture(scope="module")
def columns(world: tuple[pa.Table, pa.Table]) -> dict[str, np.ndarray]:
    return offline(*world)


class Naive:
    """The same facts by looping over everything for every row."""

    def __init__(self, trades: pa.Table, market: pa.Table) -> None:
        self.rows = trades.to_pylist()
        self.market = market.to_pylist()

    def inside(self, event, moment, window: str) -> bool:
        if window == "all":
            return True
        width, hop = WINDOWS[window].width, WINDOWS[window].hop
        return to_microseconds(event) // hop >= (to_microseconds(moment) - width) // hop

    def earlier(self, row: dict, column: str, window: str) -> list[dict]:
        """Submissions of the row's entity strictly earlier in (time, trade_id)."""
        order = (row["submitted_at"], row["trade_id"])
        return [
            other
            for other in self.rows
            if other[column] == row[column]
            and (other["submitted_at"], other["trade_id"]) < order
            and self.inside(other["submitted_at"], row["submitted_at"], window)
        ]

    def labelled(self, row: dict, column: str, window: str) -> list[dict]:
        return [
            other
            for other in self.rows
            if other[column] == row[column]
            and other["fraud"] is not None
            and other["fraud_known_at"] < row["submitted_at"]
            and self.inside(other["fraud_known_at"], row["submitted_at"], window)
        ]


def expect(values: np.ndarray, expected: list[float | None]) -> None:
    wanted = np.array([np.nan if item is None else item for item in expected], dtype=np.float64)
    np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize(
    ("entity", "column"), [("seller", "seller_id"), ("device", "device_id"), ("ip", "ip")]
)
@pytest.mark.parametrize("window", ["1h", "24h", "7d", "30d", "all"])
def test_counts_equal_a_naive_loop(world, columns, entity, column, window):
    """Counts over every window equal a loop over all trades, simultaneous and edge-of-bucket ones included."""
    naive = Naive(*world)
    expect(
        columns[f"{entity}_count_{window}"],
        [None if row[column] is None else len(naive.earlier(row, column, window)) for row in naive.rows],
    )


@pytest.mark.parametrize("window", ["24h", "7d", "30d"])
def test_amounts_equal_a_naive_loop(world, columns, window):
    """Amounts are sums of integer fen, so they equal the loop to the last bit."""
    naive = Naive(*world)
    expect(
        columns[f"seller_amount_{window}"],
        [
            sum(o["face_value_fen"] for o in naive.earlier(row, "seller_id", window)) / 100
            for row in naive.rows
        ],
    )


@pytest.mark.parametrize(
    ("name", "column", "value", "window"),
    [
        ("device_sellers_30d", "device_id", "seller_id", "30d"),
        ("ip_sellers_24h", "ip", "seller_id", "24h"),
        ("card_prefix_sellers_7d", "card_prefix", "seller_id", "7d"),
        ("seller_payout_accounts_30d", "seller_id", "payout_account", "30d"),
    ],
)
def test_distinct_counts_equal_a_naive_loop(world, columns, name, column, value, window):
    """Distinct values are those seen in the window, unknown values left out."""
    naive = Naive(*world)
    expect(
        columns[name],
        [
            None
            if row[column] is None
            else len({o[value] for o in naive.earlier(row, column, window)} - {None})
            for row in naive.rows
        ],
    )


@pytest.mark.parametrize("window", ["24h", "7d", "30d", "all"])
def test_risk_counts_only_labels_known_by_then(world, columns, window):
    """A fraud rate uses labels whose fraud_known_at lies strictly before the moment."""
    naive = Naive(*world)
    known = [naive.labelled(row, "device_id", window) for row in naive.rows]
    rates = [
        None
        if row["device_id"] is None
        else (sum(o["fraud"] for o in found) + 5.0 * 0.01) / (len(found) + 5.0)
        for row, found in zip(naive.rows, known, strict=True)
    ]
    expect(columns[f"device_fraud_rate_{window}"], rates)


def test_time_since_last_and_first_equal_a_naive_loop(world, columns):
    """Ages are measured to the last and the first earlier submission."""
    naive = Naive(*world)
    found = [naive.earlier(row, "seller_id", "all") for row in naive.rows]
    hours = [
        (row["submitted_at"] - max(o["submitted_at"] for o in others)) / timedelta(hours=1)
        if others
        else None
        for row, others in zip(naive.rows, found, strict=True)
    ]
    np.testing.assert_allclose(columns["seller_hours_since_last"], np.array(hours, dtype=float), rtol=1e-12)
    days = [
        (row["submitted_at"] - min(o["submitted_at"] for o in others)) / timedelta(days=1) if others else None
        for row, others in zip(naive.rows, found, strict=True)
    ]
    np.testing.assert_allclose(columns["seller_days_since_first"], np.array(days, dtype=float), rtol=1e-12)


def test_best_bid_is_the_highest_fresh_one_of_each_source(world, columns):
    """The best competitor is the maximum over sources of the latest rate observed before the moment."""
    naive = Naive(*world)
    best: list[float | None] = []
    for row in naive.rows:
        latest: dict[str, dict] = {}
        for bid in naive.market:
            if (
                bid["card_type"] == row["card_type"]
                and bid["side"] == "competitor_bid"
                and bid["observed_at"] < row["submitted_at"]
            ):
                latest[bid["source"]] = bid
        fresh = [
            b["rate"] for b in latest.values() if naive.inside(b["observed_at"], row["submitted_at"], "7d")
        ]
        best.append(max(fresh) if fresh else None)
    expect(columns["market_competitor_best"], best)


def test_mean_resale_uses_what_was_resold_before(world, columns):
    """Realised resale is the mean over resales with resold_at before the moment."""
    naive = Naive(*world)
    means = []
    for row in naive.rows:
        rates = [
            other["resale_rate"]
            for other in naive.rows
            if other["card_type"] == row["card_type"]
            and other["resale_rate"] is not None
            and other["resold_at"] < row["submitted_at"]
            and naive.inside(other["resold_at"], row["submitted_at"], "30d")
        ]
        means.append(np.mean(rates) if rates else np.nan)
    np.testing.assert_allclose(columns["resale_mean_30d"], means, rtol=1e-12)


FUTURE_OF = {
    "decision": ("accepted", "decided_at"),
    "resale": ("resale_rate", "resold_at"),
    "label": ("fraud", "fraud_known_at"),
}


@pytest.mark.parametrize("kind", list(FUTURE_OF))
def test_nothing_known_later_changes_a_feature(world, kind):
    """Erasing every outcome known at or after a moment leaves all features up to that moment unchanged."""
    trades, market = world
    rows = trades.to_pylist()
    cut = rows[300]["submitted_at"]
    value, time = FUTURE_OF[kind]
    for row in rows:
        if row[time] is not None and row[time] >= cut:
            row[value], row[time] = None, None
    changed = offline(pa.Table.from_pylist(rows, schema=trades.schema), market)
    before = offline(trades, market)
    upto = np.array([row["submitted_at"] <= cut for row in rows])
    for name in FEATURES.names():
        np.testing.assert_array_equal(before[name][upto], changed[name][upto], err_msg=name)


def test_later_submissions_and_bids_change_nothing(world):
    """Cutting the history off after a moment leaves all features up to that moment unchanged."""
    trades, market = world
    cut = trades["submitted_at"][300].as_py()
    rows = [row for row in trades.to_pylist() if row["submitted_at"] <= cut]
    bids = [row for row in market.to_pylist() if row["observed_at"] < cut]
    short = pa.Table.from_pylist(rows, schema=trades.schema)
    part = offline(short, pa.Table.from_pylist(bids, schema=market.schema))
    whole = offline(trades, market)
    for name in FEATURES.names():
        np.testing.assert_array_equal(part[name], whole[name][: len(rows)], err_msg=name)


def test_rows_outside_the_history_are_answered_and_count_for_later_ones(world):
    """A spine that is not in the history gets the features it would have had inside it."""
    trades, market = world
    outside = trades.slice(100, 50)
    rest = pa.concat_tables([trades.slice(0, 100), trades.slice(150)])
    plain = ["seller_count_all", "device_sellers_30d", "seller_amount_7d", "market_buyer_best"]
    whole = offline(trades, market)
    part = offline(rest, market, spine=outside)
    for name in plain:
        np.testing.assert_array_equal(part[name], whole[name][100:150], err_msg=name)


def test_every_feature_is_documented():
    """The data dictionary has meaning, unit, family and a Chinese name for every feature."""
    for feature in FEATURES:
        assert all((feature.meaning, feature.unit, feature.family, feature.zh, feature.null)), feature.name


def test_prices_never_see_who_sells():
    """No feature of the discount model is computed from an identity."""
    for name in FEATURES.names("discount"):
        assert not name.startswith(("seller", "device", "ip_", "payout", "card_prefix", "fingerprint")), name
