"""Features against a naive oracle, and against the future."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import training_set
from features.definitions import FEATURES
from features.entities import ENTITIES
from features.registry import AS_OF
from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from features.tables import DECISIONS, LABEL_SOURCES, MARKET, TRADES, Table
from features.windows import DAY, HOUR, MATURE_30D, MINUTE, WINDOWS
from tests.features import worlds
from tests.features.naive import Log
from tests.features.replay import offline

Columns = dict[str, np.ndarray]


def oracle(trades: pa.Table, market: pa.Table, spine: pa.Table | None = None) -> Columns:
    """What :func:`offline` should give, trade by trade."""
    log = Log.of(trades, market, spine)
    asked = (trades if spine is None else spine)["trade_id"].to_pylist()
    values = {moment.trade["trade_id"]: FEATURES.values(moment) for moment in log.moments(asked)}
    return {
        name: np.array([values[trade_id][name] for trade_id in asked], object) for name in FEATURES.names()
    }


def assert_same(found: Columns, wanted: Columns, trade_ids: Sequence[str]) -> None:
    """The same values to the last bit; NaN equals NaN. Names the features and the trades that differ."""
    wrong = [
        f"{name} of {trade_id}: {one!r}, not {other!r}"
        for name in FEATURES.names()
        for one, other, trade_id in zip(found[name], wanted[name], trade_ids, strict=True)
        if not (one == other or (one != one and other != other))
    ]
    assert not wrong, f"{len(wrong)} values differ:\n" + "\n".join(wrong[:10])


def ids(trades: pa.Table) -> list[str]:
    return trades["trade_id"].to_pylist()


def table(rows: list[dict], like: pa.Table | Table) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=like.schema)


# --- by hand -------------------------------------------------------------------------------------------------

NOON = datetime(2025, 6, 2, 4, tzinfo=UTC)
"""Noon in China on a Monday, a holiday (Dragon Boat Festival)."""


def ago(hours: float = 0, *, days: float = 0) -> datetime:
    return NOON - timedelta(hours=hours, days=days)


OFFERED = ("trade_id", "submitted_at", "seller_id", "device_id", "card_type", "face_value_fen")
KNOWN = ("accepted", "decided_at", "resale_rate", "resold_at", "fraud", "fraud_known_at")


def by_hand() -> tuple[pa.Table, pa.Table]:
    """Five trades of three sellers before one at noon, and what two competitors and a buyer paid."""
    offered = [
        ("a", ago(days=25), "s3", None, "jd_supermarket", 50_000),
        ("b", ago(days=20), "s1", "d1", "jd_ecard", 10_000),
        ("c", ago(days=3), "s1", None, "jd_ecard", 40_000),
        ("d", ago(20), "s1", "d1", "jd_ecard", 30_000),
        ("e", ago(0.5), "s2", "d1", "jd_supermarket", 20_000),
        ("f", ago(0), "s1", "d1", "jd_ecard", 25_000),
    ]
    known = {
        "a": (True, ago(days=25), 0.8, ago(days=1), None, None),
        "b": (True, ago(days=19), 0.9, ago(days=10), False, ago(days=9)),
        "d": (True, ago(19), None, None, True, ago(1)),
    }
    rows: list[dict] = [
        dict(zip((*OFFERED, *KNOWN), (*row, *known.get(row[0], ())), strict=False)) for row in offered
    ]
    rows[-1]["expires_on"] = date(2025, 6, 10)
    seen = [
        (ago(48), "jd_ecard", "x", "competitor_bid", 0.90),
        (ago(24), "jd_ecard", "x", "competitor_bid", 0.92),
        (ago(5), "jd_ecard", "z", "buyer_bid", 0.95),
        (ago(3), "jd_ecard", "y", "competitor_bid", 0.88),
    ]
    bids = [dict(zip((*MARKET.key, "rate"), bid, strict=True)) for bid in seen]
    return table(rows, TRADES), table(bids, MARKET)


EXPECTED = (
    ("card", {"face_cny": 250, "face_of_max": 0.25, "face_is_usual": 0}),
    ("card", {"days_to_expiry": 8, "is_expired": 0, "registered": 0}),
    ("seller", {"count_1h": 0, "count_24h": 1, "count_7d": 2, "count_all": 3, "amount_24h": 300}),
    ("seller", {"hours_since_last": 20, "days_since_first": 20, "devices_30d": 1, "card_types_30d": 1}),
    ("seller", {"mean_amount_30d": 800 / 3, "amount_ratio": 250 / (800 / 3), "burst": 1 / (3 / 30)}),
    ("seller", {"amount_trend_24h": 3, "amount_trend_7d": 3.5, "largest_trend_7d": 4}),
    ("seller", {"amount_z": (250 - 800 / 3) / (np.std([100, 300, 400]) + 1), "accepted_all": 2}),
    ("seller", {"fraud_rate_24h": 1.05 / 6, "fraud_rate_30d": 1.05 / 7, "mature_fraud_rate": 0.05 / 6}),
    ("device", {"count_1h": 1, "count_30d": 3, "sellers_30d": 2, "amount_of_largest": 250 / 300}),
    ("device", {"labels_7d": 1, "labels_all": 2, "frauds_all": 1}),
    ("ip", {"count_all": np.nan, "fraud_rate_all": np.nan, "sellers_24h": np.nan}),
    ("kind", {"fraud_rate_30d": 2 / 52, "mature_fraud_rate": 1 / 51, "count_24h": 1}),
    ("kind", {"category_fraud_rate_30d": 2 / 52, "burst": 10, "amount_ratio": 250 / (800 / 3)}),
    ("resale", {"mean_30d": 0.9, "mean_7d": np.nan, "count_30d": 1, "category_mean_30d": 0.85}),
    ("resale", {"pooled_30d": (0.9 + 20 * 0.85) / 21, "matured_mean": 0.9}),
    ("stock", {"cards": 1, "cny": 300, "sold_share": 1}),
    ("market", {"competitor_best": 0.92, "competitor_mean": 0.9, "competitor_sources": 2, "age_hours": 3}),
    ("market", {"competitor_level": (0.92 / 48 + 0.88 / 27) / (1 / 48 + 1 / 27), "buyer_level": 0.95}),
    ("market", {"buyer_best": 0.95, "buyer_age_hours": 5, "spread": 0.03, "ask_best": np.nan}),
    ("link", {"sellers": 1, "frauds": 1, "frauds_per_seller": 1.05 / 7}),
    ("time", {"hour": 12, "weekday": 0, "is_day_off": 1, "days_to_sale": 16, "days_to_national_day": 121}),
    ("time", {"day_of_month": 2}),
    ("time", {"days_since_spring_festival": 124, "days_to_spring_festival": 260, "days_to_mid_autumn": 126}),
)
"""Some features of the trade at noon: beginning of their names, then the rest -> value."""


@pytest.mark.parametrize(("prefix", "values"), EXPECTED)
def test_features_of_a_small_history_are_what_a_person_works_out(prefix, values):
    """The definitions mean what they say: their values in a history of six trades, worked out by hand."""
    columns = offline(*by_hand())
    found = {name: columns[f"{prefix}_{name}"][-1] for name in values}
    assert found == pytest.approx(values, nan_ok=True, rel=1e-6 if prefix == "market" else 1e-12)


# --- against the oracle --------------------------------------------------------------------------------------

WORLDS = {
    "eighty days": {"seed": 1},
    "several link epochs": {"seed": 2, "days": 260},
    "four crowded days": {"seed": 3, "days": 4},
    "one day of many sellers": {"seed": 4, "days": 1, "sellers": 400},
    "few linked sellers": {"seed": 5, "days": 120, "sellers": 150},
}
"""What is told to :func:`tests.features.worlds.trades`."""


def world_of(name: str, rows: int) -> tuple[pa.Table, pa.Table]:
    told = WORLDS[name]
    bids = worlds.market(rows=rows, seed=told["seed"], days=told.get("days", 80))
    return worlds.trades(rows=rows, **told), bids


@pytest.mark.parametrize("name", list(WORLDS))
def test_every_feature_equals_the_oracle(name):
    """Every feature of every trade is what a loop over all rows known before it gives, to the last bit."""
    trades, market = world_of(name, rows=300)
    assert_same(offline(trades, market), oracle(trades, market), ids(trades))


EDGES = (0, 1, -1, 5 * MINUTE, HOUR, 6 * HOUR, DAY)
WIDTHS = (
    *(window.width for window in WINDOWS.values()),
    MATURE_30D.delay,
    MATURE_30D.delay + MATURE_30D.width,
)
WAITS = st.sampled_from((None, 0, 1, HOUR, DAY, *WIDTHS))


def shifted(time: datetime, offset: int) -> datetime:
    return time + timedelta(microseconds=offset)


MOMENTS = st.builds(
    lambda day, edge, nudge: shifted(worlds.START, day * DAY + edge + nudge),
    st.integers(0, 100),
    st.sampled_from(EDGES),
    st.sampled_from((0, 0, -1, 1)),
)
"""Moments on the edges of buckets and a microsecond beside them, over a hundred days."""

SUBMITTED = st.fixed_dictionaries(
    {
        "seller_id": st.sampled_from(["s1", "s2", "s3", "s4", "s5"]),
        "device_id": st.sampled_from(["d1", "d2", None]),
        "ip": st.sampled_from(["192.0.2.1", "192.0.2.9", "203.0.113.5", "2001:db8::1", "?", None]),
        "payout_account": st.sampled_from(["p1", "p2", None]),
        "card_type": st.sampled_from([*worlds.CARD_TYPES, "in_no_catalogue"]),
        "card_form": st.sampled_from(["virtual", "physical", None]),
        "face_value_fen": st.sampled_from([0, 1, 9_999, 10_000, 50_000, 100_000_000]),
        "expires_on": st.sampled_from([None, date(2025, 3, 1), date(2025, 5, 2)]),
        "card_prefix": st.sampled_from(["b1", "b2", "b3", None]),
        "card_fingerprint": st.sampled_from(["f1", "f2", None]),
        "asked_rate": st.sampled_from([None, 0.0, 0.8512345, 1.5]),
        "payee_is_seller": st.sampled_from([True, False, None]),
        "accepted": st.sampled_from([True, True, False, None]),
        "resale_rate": st.sampled_from([None, 0.0, 0.9, 0.8512345, 1.5]),
        "fraud": st.sampled_from([True, False, None]),
    }
)
"""A trade without its times; an outcome and its time are known or not independently of one another."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    """5 to 40 trades and up to 25 market rows around a few moments, at exactly a window's width from one another."""
    moments = draw(st.lists(MOMENTS, min_size=1, max_size=6))
    around = st.builds(
        lambda moment, width, nudge: shifted(moment, width + nudge),
        st.sampled_from(moments),
        st.sampled_from((0, 0, *WIDTHS)),
        st.sampled_from((0, 0, -1, 1)),
    )
    numbered = st.tuples(SUBMITTED, around, st.tuples(WAITS, WAITS, WAITS))
    size = draw(st.integers(5, 40))
    drawn = draw(st.lists(numbered, min_size=size, max_size=size))
    trades = [_with_times(number, *parts) for number, parts in enumerate(drawn)]
    trades.sort(key=lambda row: (row["submitted_at"], row["trade_id"]))
    bids = draw(st.lists(st.tuples(around, *BID), max_size=25, unique_by=lambda bid: bid[:4]))
    rows = [dict(zip((*MARKET.key, "rate"), bid, strict=True)) for bid in sorted(bids)]
    return table(trades, TRADES), table(rows, MARKET)


BID = (
    st.sampled_from([*worlds.CARD_TYPES, "in_no_catalogue"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["competitor_bid", "buyer_bid", "ask"]),
    st.sampled_from([0.0, 0.09, 0.6, 0.8, 0.9123455, 0.91, 1.5]),
)


def _with_times(number: int, submitted: dict, at: datetime, waits: tuple[int | None, ...]) -> dict:
    times = [None if wait is None else shifted(at, wait) for wait in waits]
    later = dict(zip(("decided_at", "resold_at", "fraud_known_at"), times, strict=True))
    trade_id = f"t{number * 7 % 40:02d}-{number}"  # not in the order of time
    return {"trade_id": trade_id, "submitted_at": at, **submitted, **later}


@settings(max_examples=100, deadline=None)
@given(history=histories())
def test_every_feature_equals_the_oracle_at_the_edges(history):
    """The same for any small history of times on and beside the edges of buckets and of windows."""
    trades, market = history
    assert_same(offline(trades, market), oracle(trades, market), ids(trades))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_spine_gets_what_it_would_have_got_inside_the_history(share):
    """Rows of a spine that are not in the history count as submissions for its later rows, the others only once."""
    trades, market = world_of("four crowded days", rows=150)
    asked, stored = _asked_and_stored(trades, share)
    spine = asked.select(SPINE_COLUMNS)
    assert_same(offline(stored, market, spine), oracle(stored, market, spine), ids(spine))


def test_a_trade_is_taken_as_the_spine_tells_it():
    """Where a spine tells a stored trade anew, its values count, for itself and for later rows."""
    trades, market = world_of("four crowded days", rows=150)
    asked, stored = _asked_and_stored(trades, 0.5)
    anew = {"seller_id": "s0", "device_id": None, "card_type": "apple_us", "face_value_fen": 77}
    rows = [row | anew if place % 3 == 0 else row for place, row in enumerate(asked.to_pylist())]
    spine = table(rows, trades).select(SPINE_COLUMNS)
    assert_same(offline(stored, market, spine), oracle(stored, market, spine), ids(spine))


def _asked_and_stored(trades: pa.Table, share: float) -> tuple[pa.Table, pa.Table]:
    """Half of the trades as a spine; a share of those, and all others, as the history."""
    rng = np.random.default_rng(7)
    asked = rng.random(len(trades)) < 0.5
    stored = ~asked | (rng.random(len(trades)) < share)
    return trades.filter(pa.array(asked)), trades.filter(pa.array(stored))


def test_a_training_set_is_written_with_the_same_values(tmp_path, monkeypatch):
    """Chunk by chunk from the stored tables, for a part of the trades: the values of the whole history."""
    monkeypatch.setattr(training_set, "CHUNK_ROWS", 32)
    trades, market = world_of("four crowded days", rows=150)
    store = TableStore(tmp_path / "tables")
    for name, stored in (("trades", trades), ("market", market)):
        pq.write_table(stored, store.staging(name))
        store.publish(name, store.staging(name))
    since = trades["submitted_at"][40].as_py()
    built = training_set.build_training_set(
        store=store,
        registry=FEATURES,
        folder=tmp_path,
        since=since,
        until=None,
        progress=lambda done, total: None,
    )
    written = training_set.columns_of(pq.read_table(built.path), FEATURES, FEATURES.names())
    rows = pc.greater_equal(trades["submitted_at"], since).to_numpy()
    whole = offline(trades, market)
    assert_same(written, {name: values[rows] for name, values in whole.items()}, ids(built.trades))


def test_a_spine_in_any_order_is_answered_in_that_order():
    """Shuffling a spine, inside or outside the history, shuffles the values with it and changes none."""
    trades, market = world_of("four crowded days", rows=150)
    order = np.random.default_rng(8).permutation(len(trades))
    shuffled = trades.take(pa.array(order))
    for history in (trades, trades.slice(0, 0), trades.slice(50, 60)):
        sorted_, mixed = offline(history, market, trades), offline(history, market, shuffled)
        assert_same(mixed, {name: values[order] for name, values in sorted_.items()}, ids(shuffled))


# --- against the future --------------------------------------------------------------------------------------

OUTCOMES = {
    "decision": ("accepted", "decided_at", True),
    "resale": ("resale_rate", "resold_at", 0.5),
    "label": ("fraud", "fraud_known_at", True),
}
"""Kind of outcome -> its column, the column of its time, and what is told in its place."""

KINDS = (*OUTCOMES, "submission", "market")
Rows = list[dict]


@pytest.fixture(scope="module")
def world() -> tuple[pa.Table, pa.Table]:
    return world_of("eighty days", rows=200)


@pytest.fixture(scope="module")
def columns(world: tuple[pa.Table, pa.Table]) -> Columns:
    return offline(*world)


def other_outcomes(rows: Rows, kind: str, cut: datetime, erase: bool) -> Rows:
    """Every outcome that is not known before the cut erased, or told to be another one known at the cut."""
    value, time, other = OUTCOMES[kind]
    changed = []
    for row in rows:
        known_at = max(cut, row["submitted_at"])
        future = {value: None, time: None} if erase else {value: other, time: known_at}
        changed.append(row if row[time] is not None and row[time] < cut else row | future)
    return changed


def other_submissions(rows: Rows, place: int, erase: bool) -> Rows:
    """The trades behind a place erased, or given to that place's seller, device, card type and so on."""
    if erase:
        return rows[: place + 1]
    same = {column: rows[place][column] for column in set(ENTITIES.values())}
    return rows[: place + 1] + [row | same | {"face_value_fen": 1} for row in rows[place + 1 :]]


def other_bids(rows: Rows, cut: datetime, erase: bool) -> Rows:
    """The market rows at and after the cut erased, or one of each source and side told to be dear at the cut."""
    past = [row for row in rows if row["observed_at"] < cut]
    if erase:
        return past
    future = {(r["card_type"], r["source"], r["side"]): r for r in rows if r["observed_at"] >= cut}
    return past + [row | {"observed_at": cut, "rate": 1.25} for row in future.values()]


@pytest.mark.parametrize("kind", [*KINDS, "everything"])
@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, 199), erase=st.booleans())
def test_nothing_known_later_changes_a_feature(kind, world, columns, place, erase):
    """Erasing or changing all that becomes known at or after a moment changes no feature up to that moment."""
    trades, market = (part.to_pylist() for part in world)
    cut = trades[place]["submitted_at"]
    kinds = KINDS if kind == "everything" else (kind,)
    for outcome in OUTCOMES.keys() & kinds:
        trades = other_outcomes(trades, outcome, cut, erase)
    if "submission" in kinds:
        trades = other_submissions(trades, place, erase)
    if "market" in kinds:
        market = other_bids(market, cut, erase)
    changed = offline(table(trades, world[0]), table(market, world[1]))
    upto = slice(0, place + 1)
    before = {name: values[upto] for name, values in columns.items()}
    assert_same({name: values[upto] for name, values in changed.items()}, before, ids(world[0])[upto])


@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, 199), seed=st.integers(0, 2**32 - 1))
def test_shifting_labels_that_are_known_later_changes_no_feature(world, columns, place, seed):
    """Every label not known before a moment moved to any other time from that moment on: no feature up to it moves."""
    trades, market = world
    rows, rng = trades.to_pylist(), np.random.default_rng(seed)
    cut = rows[place]["submitted_at"]
    for row in rows:
        if row["fraud_known_at"] is not None and row["fraud_known_at"] >= cut:
            wait = int(rng.choice([0, 1, rng.integers(0, 90 * DAY)]))
            row["fraud_known_at"] = max(shifted(cut, wait), row["submitted_at"])
    changed, upto = offline(table(rows, trades), market), slice(0, place + 1)
    before = {name: values[upto] for name, values in columns.items()}
    assert_same({name: values[upto] for name, values in changed.items()}, before, ids(trades)[upto])


def test_no_feature_reads_what_the_platform_did_or_who_said_so(world, columns):
    """Decisions, random draws and the sources of labels are outcomes: with any others all features are the same."""
    trades, market = world
    rng = np.random.default_rng(5)
    rows = [
        row
        | {
            "decision": str(rng.choice(DECISIONS)),
            "let_through": float(rng.uniform(0.01, 1)),
            "offer_centre": float(rng.uniform(0.5, 1)),
            "label_source": str(rng.choice(LABEL_SOURCES)),
        }
        for row in trades.to_pylist()
    ]
    assert_same(offline(table(rows, trades), market), columns, ids(trades))
    assert not {"decision", "let_through", "offer_centre", "label_source"} & set(SPINE_COLUMNS)


READS = {
    "decision": {"acceptance", "resale"},
    "resale": {"resale"},
    "label": {"label"},
    "market": {"market"},
}
"""What is erased -> the as-of rules of the features that may have read it (stock is bought and resold)."""


@pytest.mark.parametrize("kind", list(READS))
def test_a_feature_reads_only_what_its_as_of_rule_names(kind, world, columns):
    """Without any labels (decisions, resales, market rows) only the features that say so have other values."""
    trades, market = world
    if kind == "market":
        changed = offline(trades, market.slice(0, 0))
    else:
        rows = other_outcomes(trades.to_pylist(), kind, worlds.START - timedelta(days=1), erase=True)
        changed = offline(table(rows, trades), market)
    differs = {
        FEATURES[name].as_of
        for name in FEATURES.names()
        if any(a != b and (a == a or b == b) for a, b in zip(changed[name], columns[name], strict=True))
    }
    assert differs == READS[kind]


def test_a_trade_alone_is_described_without_history(world, columns):
    """Features that are as of the trade itself are the same in an empty history."""
    trades, market = world
    row = trades.slice(150, 1)
    alone = offline(trades.slice(0, 0), market.slice(0, 0), row)
    for feature in FEATURES:
        if feature.as_of == "trade":
            np.testing.assert_array_equal(alone[feature.name], columns[feature.name][150:151], feature.name)


# --- what the registry promises ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(WORLDS))
def test_values_lie_in_the_declared_range(name):
    """Every number is finite and inside its feature's range, and unknown only where the dictionary says when."""
    columns = offline(*world_of(name, rows=300))
    for feature in FEATURES:
        values = columns[feature.name]
        unknown = np.array([value is None or value != value for value in values])
        assert feature.null != "never" or not unknown.any(), f"{feature.name} is unknown somewhere"
        low, high = feature.range
        if feature.kind == "number" and low == low:
            known = values[~unknown]
            assert np.isfinite(known).all(), feature.name
            assert ((known >= low) & (known <= high)).all(), f"{feature.name}: {known.min()} … {known.max()}"


def test_every_feature_is_documented():
    """The data dictionary has for every feature what it means, in two languages, and when it is unknown."""
    for feature in FEATURES:
        texts = (feature.meaning, feature.unit, feature.family, feature.zh, feature.null)
        assert all(texts), feature.name
        assert feature.meaning.endswith("."), feature.name
        assert feature.as_of in AS_OF, feature.name
        assert feature.range[0] <= feature.range[1] or feature.unit == "-", feature.name


def test_prices_never_see_who_sells(world, columns):
    """Other sellers, devices, addresses, accounts, batches, cards and asked rates: the discount model reads the same
    numbers."""
    trades, market = world
    who = ("seller_id", "device_id", "ip", "payout_account", "card_prefix", "card_fingerprint")
    asks = {"asked_rate": 0.5, "payee_is_seller": False}
    rows = [row | dict.fromkeys(who, "the same") | asks for row in trades.to_pylist()]
    changed = offline(table(rows, trades), market)
    for name in FEATURES.names("discount"):
        np.testing.assert_array_equal(changed[name], columns[name], err_msg=name)
    assert {"seller_count_all", "link_sellers"}.isdisjoint(FEATURES.names("discount"))
