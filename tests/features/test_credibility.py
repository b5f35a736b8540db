"""Whom prices believe: absurd and old bids, in three evaluators, and what people are shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.catalogue import load_catalogue
from features.channels import (
    DECIMAL_POINT,
    FAR,
    OUT_OF_BAND,
    STALE,
    WHY_NOT,
    best_and_worst,
    channels_of,
)
from features.definitions import FEATURES
from features.events import Observed, Record
from features.rows import SPINE_COLUMNS
from features.tables import MARKET, TRADES
from features.training_set import compute_features
from features.windows import DAY, HOUR
from tests.features import worlds
from tests.features.naive import Log
from tests.features.replay import MemoryStates, assert_equal, live, row_of

NOON = datetime(2025, 6, 2, 4, 30, tzinfo=UTC)
MARKET_FEATURES = tuple(item.name for item in FEATURES if item.family == "market")
PRICED = FEATURES.names("discount")
BANDED, BANDLESS = "jd_ecard", "in_no_catalogue"
SIDES = ("competitor_bid", "buyer_bid", "ask")

Row = tuple[float, str, str, float]
"""Hours before noon, source, side, rate."""


def market_of(rows: Sequence[Row], card_type: str = BANDED) -> pa.Table:
    """A market table; of rows of one channel and time the last counts."""
    told = {
        (NOON - timedelta(hours=hours), card_type, source, side): rate for hours, source, side, rate in rows
    }
    table = [
        dict(zip((*MARKET.key, "rate"), (*key, rate), strict=True)) for key, rate in sorted(told.items())
    ]
    return pa.Table.from_pylist(table, schema=MARKET.schema)


def probes(moments: Sequence[datetime], card_type: str = BANDED) -> pa.Table:
    """A card of the type offered at each moment."""
    card = {"seller_id": "s", "card_type": card_type, "face_value_fen": 50_000}
    rows = [{"trade_id": f"t{n}", "submitted_at": at, **card} for n, at in enumerate(moments)]
    return pa.Table.from_pylist(rows, schema=TRADES.schema)


def in_columns(
    market: pa.Table, trades: pa.Table, names: Sequence[str] = MARKET_FEATURES
) -> dict[str, np.ndarray]:
    return compute_features(
        spine=trades.select(SPINE_COLUMNS),
        trades=trades.slice(0, 0),
        market=market,
        catalogue=load_catalogue(),
        registry=FEATURES,
        progress=lambda done, total: None,
        names=names,
    )


def at_noon(rows: Sequence[Row], card_type: str = BANDED, names: Sequence[str] = PRICED) -> Mapping:
    """Features of a card offered at noon."""
    return row_of(in_columns(market_of(rows, card_type), probes([NOON], card_type), names), 0)


def observed(market: pa.Table) -> list[Observed]:
    return [
        Observed(row["card_type"], row["source"], row["side"], row["rate"], row["observed_at"])
        for row in market.to_pylist()
    ]


# --- three evaluators --------------------------------------------------------------------------------------------

EDGES = (0, 1, 5, 6, 23, 24, 25, 7 * 24 - 1, 7 * 24, 7 * 24 + 6, 31 * 24)
RATES = st.one_of(
    st.sampled_from([0.0, 0.009, 0.09, 0.59, 1.13, 1.5]),
    st.floats(0.8, 0.95).map(lambda rate: round(rate, 3)),
    st.floats(0.0, 1.5).map(lambda rate: round(rate, 7)),
)
ROWS = st.lists(
    st.tuples(
        st.builds(
            lambda edge, nudge: edge + nudge, st.sampled_from(EDGES), st.sampled_from([0, 0.5, 1, 2.75])
        ),
        st.sampled_from("abcde"),
        st.sampled_from(SIDES),
        RATES,
    ),
    max_size=40,
)
"""Markets of one to five sources on three sides, whose rates agree, differ widely or are absurd."""


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, card_type=st.sampled_from([BANDED, BANDLESS, "sinopec_fuel"]))
def test_three_evaluators_believe_the_same(rows, card_type):
    """Columns, the live state and nested loops give the same market features to the last bit, at any moment."""
    market = market_of(rows, card_type)
    seen = market["observed_at"].to_pylist()
    moments = sorted({NOON, *(at + timedelta(microseconds=nudge) for at in seen for nudge in (0, 1))})
    trades = probes(moments, card_type)
    columns = in_columns(market, trades)
    log, features, told = Log.of(trades, market), live(), observed(market)
    for row, moment in enumerate(log.moments(trades["trade_id"].to_pylist())):
        expected = FEATURES.values(moment, MARKET_FEATURES)
        assert_equal(row_of(columns, row), expected, of="in columns")
        while told and told[0].at < moments[row]:
            features.apply([Record(len(rows) - len(told) + 1, told[0])], now=NOON)
            told.pop(0)
        answer = features.answer(moment.trade | {"submitted_at": moments[row]}, names=MARKET_FEATURES)
        assert answer.moment == moments[row]
        assert_equal(answer.values, expected, of="live")


# --- absurd bids ---------------------------------------------------------------------------------------------------


@st.composite
def agreeing_markets(draw: st.DrawFn) -> tuple[float, list[Row]]:
    """A level, and a week of three or four sources a side within three points of it, all of them fresh at noon."""
    level = draw(st.floats(0.25, 0.95))
    rows = []
    for side in SIDES:
        for source in "abcd"[: draw(st.integers(3, 4))]:
            for hours in draw(st.lists(st.floats(0.1, 160), min_size=1, max_size=5)):
                rate = level + draw(st.floats(-0.03, 0.03))
                rows.append((round(hours, 2), source, side, round(rate, 4)))
    return level, rows


@settings(max_examples=150, deadline=None)
@given(
    world=agreeing_markets(),
    hours=st.floats(0.01, 160),
    source=st.sampled_from("abcdefg"),
    side=st.sampled_from(SIDES),
    absurd=st.floats(0, 1.5),
    card_type=st.sampled_from([BANDED, BANDLESS]),
)
def test_an_absurd_bid_counts_as_if_it_were_not_there(world, hours, source, side, absurd, card_type):
    """Where three sources agree, a rate far from theirs changes no bit of anything that a price is made of."""
    level, rows = world
    rate = round(absurd, 4)
    assume(abs(rate - level) > 0.17 and (level > 0.5 or card_type == BANDLESS))
    taken = {(row[0], row[1], row[2]) for row in rows}
    typo = (round(hours, 3) + 0.0001, source, side, rate)
    assert typo[:3] not in taken
    assert_equal(at_noon([*rows, typo], card_type), at_noon(rows, card_type))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("slip", [10, 1 / 10, 1 / 100, 0])
@pytest.mark.parametrize("side", SIDES)
def test_a_slipped_decimal_point_counts_as_if_it_were_not_there(channels, slip, side):
    """Ten times a rate, a tenth, a hundredth or nothing changes no feature more than its absence: it is as if absent,
    however few channels there are, also where it is the channel's first bid."""
    rows = [(5.0 + n, f"source {n}", side, 0.9 + n / 500) for n in range(channels)]
    rows += [(4.0, "other side", other, 0.91) for other in SIDES if other != side]
    before = at_noon(rows)
    for source in ("source 0", "a new one"):
        rate = min(0.9 * slip, 1.5)
        assert_equal(at_noon([*rows, (1.0, source, side, rate)]), before, of=source)


def test_a_slip_is_noticed_without_a_band():
    """Where the catalogue knows no band, three channels of any side notice that a lone buyer lost a decimal point."""
    rows = [(5.0, "one", "competitor_bid", 0.86), (6.0, "two", "competitor_bid", 0.88)]
    buyer = (3.0, "only", "buyer_bid", 0.93)
    before = at_noon([*rows, buyer], BANDLESS)
    slipped = [*rows, buyer, (1.0, "only", "buyer_bid", 0.093)]
    assert_equal(at_noon(slipped, BANDLESS), before)
    found = at_noon([*rows, (1.0, "only", "buyer_bid", 0.093)], BANDLESS)
    assert (
        found["market_buyer_sources" if "market_buyer_sources" in found else "market_competitor_sources"] == 2
    )
    assert found["market_buyer_best"] != found["market_buyer_best"]


def test_of_two_that_disagree_the_other_sides_decide():
    """Two buyers far from one another: the one nearer to the market is believed, the lower one where there is none."""
    buyers = [(2.0, "one", "buyer_bid", 0.93), (1.0, "two", "buyer_bid", 0.55)]
    others = [(3.0, "rival", "competitor_bid", 0.86), (3.0, "shelf", "ask", 0.97)]
    assert at_noon(buyers)["market_buyer_best"] == 0.55
    assert at_noon(buyers + others)["market_buyer_worst"] == 0.93
    low = [(3.0, "rival", "competitor_bid", 0.5), (3.0, "shelf", "ask", 0.6)]
    assert at_noon(buyers + low)["market_buyer_best"] == 0.55


def test_a_market_that_moves_is_believed_at_once():
    """When two of three sources have moved by fifteen points, they are the market."""
    rows: list[Row] = [(30.0, source, "buyer_bid", 0.93) for source in "abc"]
    one = [*rows, (3.0, "a", "buyer_bid", 0.78)]
    two = [*one, (2.0, "b", "buyer_bid", 0.77)]
    assert at_noon(rows)["market_buyer_best"] == at_noon(one)["market_buyer_worst"] == 0.93
    found = at_noon(two)
    assert (found["market_buyer_best"], found["market_buyer_worst"]) == (0.78, 0.77)


def test_a_market_of_wide_prices_is_no_absurdity():
    """Where sources differ by ten points and more from their neighbours, all of them count; a typo does not."""
    rows: list[Row] = [(3.0, source, "competitor_bid", 0.62 + n * 0.1) for n, source in enumerate("abc")]
    found = at_noon([*rows, (1.0, "d", "competitor_bid", 0.072)])
    assert (found["market_competitor_best"], found["market_competitor_sources"]) == (0.82, 3)


def test_a_source_that_keeps_saying_absurd_things_loses_its_former_bid():
    """After the fourth absurd rate in a row a source counts no more, until it says something sensible."""
    rows: list[Row] = [
        (30.0, source, "buyer_bid", rate) for source, rate in zip("abc", (0.93, 0.92, 0.91), strict=True)
    ]
    absurd: list[Row] = [(9.0 - n, "a", "buyer_bid", 0.6 + n / 100) for n in range(4)]
    assert at_noon(rows + absurd[:3])["market_buyer_best"] == 0.93
    assert at_noon(rows + absurd)["market_buyer_best"] == 0.92
    assert at_noon([*rows, *absurd, (1.0, "a", "buyer_bid", 0.94)])["market_buyer_best"] == 0.94


# --- age -----------------------------------------------------------------------------------------------------------


def test_an_old_bid_weighs_less_and_ages_out():
    """The level moves from an old bid to a fresh one by the hour; after seven days the old one is gone."""
    rows: list[Row] = [(24.0, "old", "buyer_bid", 0.95), (0.25, "new", "buyer_bid", 0.91)]
    market = market_of(rows)
    later = [NOON + timedelta(hours=hours) for hours in (0, 24, 96, 143, 150)]
    found = in_columns(market, probes(later))
    assert found["market_buyer_level"][0] == pytest.approx(
        (0.95 / 48 + 0.91 / 24) / (1 / 48 + 1 / 24), abs=1e-6
    )
    assert found["market_buyer_level"][0] < found["market_buyer_mean_24h"][0] == pytest.approx(0.93)
    np.testing.assert_array_equal(found["market_buyer_best"], [0.95, 0.95, 0.95, 0.95, 0.91])
    assert found["market_buyer_level"][4] == 0.91
    assert (np.diff(found["market_buyer_level"][:4]) > 0).all()  # both grow old, and their weights nearer


# --- what people see -----------------------------------------------------------------------------------------------


def test_every_channel_is_shown_with_a_reason():
    """A channel's latest bid stands there with why it does not count, and beside it the former bid that does."""
    rows: list[Row] = [
        (200.0, "gone", "buyer_bid", 0.99),
        (40.0, "slip", "buyer_bid", 0.94),
        (2.0, "slip", "buyer_bid", 0.094),
        (3.0, "fine", "buyer_bid", 0.93),
        (3.0, "typo", "buyer_bid", 0.59),
        (3.0, "also", "buyer_bid", 0.92),
    ]
    found = channels_of(market_of(rows), card_type=BANDED, at=NOON, catalogue=load_catalogue())
    shown = [(item.source, item.rate, item.credible, item.why) for item in found]
    assert shown == [
        ("also", 0.92, True, ""),
        ("fine", 0.93, True, ""),
        ("gone", 0.99, False, STALE),
        ("slip", 0.094, False, OUT_OF_BAND),
        ("slip", 0.94, True, ""),
        ("typo", 0.59, False, FAR),
    ]
    assert all(item.side == "buyer_bid" for item in found)
    assert found[0].observed_at == NOON - timedelta(hours=3)
    bandless = channels_of(market_of(rows, BANDLESS), card_type=BANDLESS, at=NOON, catalogue=load_catalogue())
    assert [item.why for item in bandless if item.rate == 0.094] == [DECIMAL_POINT]
    assert {item.why for item in (*found, *bandless)} - {""} == set(WHY_NOT)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, card_type=st.sampled_from([BANDED, BANDLESS]))
def test_channels_are_those_of_the_features(rows, card_type):
    """Channels from the table and from the live state are the same, and their best and worst are the features'."""
    rows = [row for row in rows if row[0] > 0]  # what is told at noon itself moves the live moment behind it
    market, features = market_of(rows, card_type), live()
    features.apply([Record(n, event) for n, event in enumerate(observed(market), start=1)], now=NOON)
    stored = channels_of(market, card_type=card_type, at=NOON, catalogue=load_catalogue())
    assert features.channels(card_type, NOON) == stored
    found = at_noon(rows, card_type, MARKET_FEATURES)
    for side, name in (("buyer_bid", "market_buyer"), ("competitor_bid", "market_competitor")):
        extremes = best_and_worst(stored, side)
        if extremes is None:
            assert found[f"{name}_best"] != found[f"{name}_best"]
        else:
            assert extremes.best.rate == found[f"{name}_best"]
            assert name == "market_competitor" or extremes.worst.rate == found["market_buyer_worst"]
    credible = [item for item in stored if item.credible and item.side == "competitor_bid"]
    assert len(credible) == len({item.source for item in credible}) == found["market_competitor_sources"]


def test_channels_of_an_unknown_card_type_are_none():
    """A card type that nobody quotes has no channels, live and in the table."""
    assert live().channels("nobody's", NOON) == ()
    market = market_of([(1.0, "a", "buyer_bid", 0.9)])
    assert channels_of(market, card_type="nobody's", at=NOON, catalogue=load_catalogue()) == ()
    assert best_and_worst((), "buyer_bid") is None


def test_a_busy_market_keeps_a_small_state():
    """Five sources that show a rate every two minutes for eight days leave a bounded state."""
    states, rng = MemoryStates(), np.random.default_rng(1)
    features = live(states)
    start = worlds.START
    events = [
        Observed(
            BANDED,
            f"buyer {n % 5}",
            "buyer_bid",
            round(0.9 + rng.normal(0, 0.02), 4),
            start + n * timedelta(minutes=2),
        )
        for n in range(8 * DAY // HOUR * 30)
    ]
    features.apply([Record(n, event) for n, event in enumerate(events, start=1)], now=start)
    assert len(states.states[f"card_type={BANDED}"]) < 15_000
