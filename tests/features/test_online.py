"""The live path gives the offline values, bit for bit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.backfill import backfill
from features.catalogue import load_catalogue
from features.entities import NotKept
from features.events import Labelled, Record, Submitted
from features.history import History, HistoryMoment
from features.kind_definitions import KIND_RISK_PRIOR, KIND_RISK_STRENGTH
from features.live_moment import LiveMoment
from features.moment import Links
from features.online import entity_keys
from features.state import LAG, TAIL_MOST, State, decode, empty_state, encode
from features.state_book import StatesMissing
from features.store import FeatureStore
from tests.features import worlds
from tests.features.replay import MemoryStates, assert_equal, live, offline, records, row_of, timeline
from tests.redis_server import redis_url

TIMES = ("submitted_at", "decided_at", "resold_at", "fraud_known_at")
__all__ = ["redis_url"]  # a fixture: pytest finds it by its name here

NO_MARKET = worlds.market(rows=1, seed=1).slice(0, 0)
LINKS = ("link_sellers", "link_frauds", "link_frauds_per_seller")


def history_of(trades: pa.Table, market: pa.Table) -> History:
    return History(read=lambda name: trades[name], market=market, catalogue=load_catalogue())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_replay_through_the_live_path_equals_offline(seed):
    """Replaying history event by event gives, at every submission, exactly the offline features."""
    trades, market = worlds.trades(rows=400, seed=seed), worlds.market(rows=200, seed=seed)
    expected, features = offline(trades, market), live()
    place = {trade_id: row for row, trade_id in enumerate(trades["trade_id"].to_pylist())}
    answered = 0
    for seq, (at, event) in enumerate(timeline(trades, market), start=1):
        if isinstance(event, Submitted):
            trade_id = event.trade["trade_id"]
            found = features.answer(event.trade)
            assert_equal(found.values, row_of(expected, place[trade_id]), of=trade_id)
            assert (found.seq, found.moment) == (seq - 1, at)
            answered += 1
        features.apply([Record(seq, event)], now=at)
    assert answered == len(trades)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_replay_through_a_real_store_equals_offline(kind, request, tmp_path):
    """The same through Feast's online store, on SQLite and on Redis."""
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    trades, market = worlds.trades(rows=120, seed=12), worlds.market(rows=40, seed=12)
    expected, states = offline(trades, market), FeatureStore(tmp_path / "feast", online_url=url)
    states.clear_states()
    features = live(states)
    place = {trade_id: row for row, trade_id in enumerate(trades["trade_id"].to_pylist())}
    for seq, (at, event) in enumerate(timeline(trades, market), start=1):
        if isinstance(event, Submitted):
            trade_id = event.trade["trade_id"]
            assert_equal(features.answer(event.trade).values, row_of(expected, place[trade_id]), of=trade_id)
        features.apply([Record(seq, event)], now=at)
    assert features.applied == len(timeline(trades, market))


def test_records_told_twice_change_nothing():
    """A round that is told again, after a crash before its end was noted, leaves every state as it was."""
    trades, market = worlds.trades(rows=150, seed=3), worlds.market(rows=60, seed=3)
    states = MemoryStates()
    features = live(states)
    told = records(event for _, event in timeline(trades, market))
    for first in range(0, len(told), 7):
        features.apply(told[first : first + 7], now=worlds.START)
        before = dict(states.states)
        features.apply(told[first : first + 7], now=worlds.START)
        assert states.states == before


def test_a_batch_equals_one_by_one():
    """Records told many at a time, as after a pause, leave the features they leave one by one."""
    trades, market = worlds.trades(rows=200, seed=8), worlds.market(rows=60, seed=8)
    told = records(event for _, event in timeline(trades, market))
    alone, together = live(), live()
    for record in told:
        alone.apply([record], now=worlds.START)
    together.apply(told, now=worlds.START)
    for probe in probes(trades):
        assert_equal(together.answer(probe).values, alone.answer(probe).values)


@pytest.mark.parametrize("days", [1, 60])
def test_a_corrected_label_counts_as_the_new_one(days):
    """Correcting a label, also one old enough to be folded, leaves one label with the new value."""
    trade = worlds.trades(rows=5, seed=6).to_pylist()[0]
    first = trade["submitted_at"] + timedelta(days=1)
    second = first + timedelta(days=days)
    features = live()
    events = [
        Submitted(trade),
        Labelled(trade, True, first),
        Labelled(trade, False, second, old=(first, True)),
    ]
    features.apply(records(events), now=second)
    probe = trade | {"trade_id": "probe", "submitted_at": second + timedelta(minutes=1)}
    found = features.answer(probe).values
    assert (found["seller_labels_all"], found["seller_frauds_all"], found["link_frauds"]) == (1, 0, 0)
    honest = KIND_RISK_STRENGTH * KIND_RISK_PRIOR / (KIND_RISK_STRENGTH + 1)
    assert found["kind_fraud_rate_30d"] == pytest.approx(honest)


@pytest.mark.parametrize(("seed", "share"), [(4, 0.5), (5, 0.7), (6, 1.0)])
def test_bulk_rebuild_equals_replay(seed, share):
    """States rebuilt in bulk from the tables answer like states grown event by event, and go on like them."""
    trades, market = worlds.trades(rows=400, seed=seed), worlds.market(rows=200, seed=seed)
    told = timeline(trades, market)
    now = told[int(len(told) * share) - 1][0] + timedelta(microseconds=1)
    bulk, grown = MemoryStates(), live()
    applied = sum(at < now for at, _ in told)
    written = backfill(
        history=history_of(trades, market),
        sink=bulk,
        now=now,
        applied=applied,
        generation="bulk",
        progress=lambda done, total: None,
    )
    grown.apply(records(event for at, event in told if at < now), now=now)
    rebuilt = live(bulk)
    assert rebuilt.applied == grown.applied == applied
    assert rebuilt.generation == "bulk"
    assert written == len(bulk.states) - 2
    for probe in probes(trades, at=now):
        assert_equal(rebuilt.answer(probe).values, grown.answer(probe).values)
    for card_type in worlds.CARD_TYPES:
        assert rebuilt.channels(card_type, now) == grown.channels(card_type, now)
    for seq, (at, event) in enumerate(told[applied:], start=applied + 1):
        if isinstance(event, Submitted):
            assert_equal(rebuilt.answer(event.trade).values, grown.answer(event.trade).values)
        for features in (rebuilt, grown):
            features.apply([Record(seq, event)], now=at)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shuffle=st.randoms(use_true_random=False))
def test_events_may_come_in_any_order(seed, shuffle):
    """Late and out-of-order events land where they belong: the features afterwards equal the offline ones."""
    trades, market = worlds.trades(rows=40, seed=seed, days=50), worlds.market(rows=30, seed=seed, days=50)
    told = timeline(trades, market)
    events = [event for _, event in told]
    shuffle.shuffle(events)
    features = live()
    features.apply(records(events), now=worlds.START)
    last = probes(trades)[
        -1
    ]  # later than every event, of the market too: an earlier moment would be moved up
    asked = [last | {"submitted_at": max(last["submitted_at"], told[-1][0] + timedelta(microseconds=1))}]
    expected = offline(trades, market, spine=pa.Table.from_pylist(asked, schema=trades.schema))
    for row, probe in enumerate(asked):
        found, wanted = features.answer(probe).values, row_of(expected, row)
        for name in LINKS:  # who was linked to a hub before an earlier seller turned up stays linked
            del found[name]
        assert_equal(found, wanted, of=probe["trade_id"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), behind=st.integers(-5, LAG))
def test_a_moment_behind_the_newest_events_is_moved_up(seed, behind):
    """A trade whose moment lies before events already told of its entities is answered as of just after them, with
    exactly the features of the moment it is given."""
    trades, market = worlds.trades(rows=120, seed=seed, days=30), worlds.market(rows=40, seed=seed, days=30)
    told = timeline(trades, market)
    features = live()
    features.apply(records(event for _, event in told), now=told[-1][0])
    asked = told[-1][0] - timedelta(microseconds=behind)
    for number, row in enumerate(trades.to_pylist()[:8]):
        probe = row | {"trade_id": f"m{number}", "submitted_at": asked}
        found = features.answer(probe)
        assert asked <= found.moment <= told[-1][0] + timedelta(microseconds=6)
        spine = pa.Table.from_pylist([probe | {"submitted_at": found.moment}], schema=trades.schema)
        assert_equal(found.values, row_of(offline(trades, market, spine=spine), 0), of=probe["trade_id"])


def test_many_at_one_moment_stay_in_order():
    """More simultaneous trades than a tail holds, in any order of their ids: each sees exactly those before it."""
    base = worlds.trades(rows=5, seed=10).to_pylist()[0] | {"card_fingerprint": None}
    features, answers, told = live(), [], []
    for number in range(120):
        trade = base | {"trade_id": f"b{number * 37 % 120:03d}", "seller_id": f"s{number % 7}"}
        found = features.answer(trade)
        trade = trade | {"submitted_at": found.moment}
        features.apply([Record(number + 1, Submitted(trade))], now=found.moment)
        answers.append(found.values)
        told.append(trade)
    table = pa.Table.from_pylist(told, schema=worlds.trades(rows=5, seed=10).schema)
    order = [("submitted_at", "ascending"), ("trade_id", "ascending")]
    expected = offline(table.sort_by(order), NO_MARKET, spine=table)
    for number, values in enumerate(answers):
        assert_equal(values, row_of(expected, number), of=told[number]["trade_id"])


def test_a_trade_quoted_again_is_not_its_own_past():
    """The trade's own submission is no earlier submission of its seller, device or card."""
    trade = worlds.trades(rows=5, seed=9).to_pylist()[0] | {"card_fingerprint": "f1", "device_id": "d1"}
    features = live()
    features.apply(records([Submitted(trade)]), now=trade["submitted_at"])
    again = features.answer(trade | {"submitted_at": trade["submitted_at"] + timedelta(hours=1)}).values
    assert (again["seller_count_all"], again["fingerprint_count_all"], again["seller_devices_30d"]) == (
        0,
        0,
        0,
    )
    other = trade | {"trade_id": "other", "submitted_at": trade["submitted_at"] + timedelta(hours=1)}
    assert features.answer(other).values["fingerprint_count_all"] == 1


def test_a_hot_address_keeps_a_small_exact_state():
    """Thousands of sellers from one address leave a bounded state, and counts that are still exact."""
    base = worlds.trades(rows=5, seed=10).to_pylist()[0] | {"ip": "203.0.113.7", "card_fingerprint": None}
    hot = [
        base
        | {
            "trade_id": f"h{number:05d}",
            "submitted_at": worlds.START + timedelta(seconds=40 * number),
            "seller_id": f"hot{number}",
            "device_id": f"hd{number}",
            "payout_account": None,
        }
        for number in range(3_000)
    ]
    states = MemoryStates()
    features = live(states)
    for first in range(0, len(hot), 100):
        features.apply(
            [Record(n + 1, Submitted(hot[n])) for n in range(first, first + 100)], now=worlds.START
        )
    probe = base | {"trade_id": "probe", "submitted_at": hot[-1]["submitted_at"] + timedelta(seconds=40)}
    found = features.answer(probe).values
    assert (found["ip_count_all"], found["ip_count_1h"], found["ip_sellers_24h"]) == (3_000, 90, 64)
    assert len(states.states["ip=203.0.113.7"]) < 12_000
    assert len(decode(states.states["ip=203.0.113.7"]).tail) <= TAIL_MOST


def test_an_emptied_store_is_noticed():
    """Where the states are gone, nothing is answered from nothing and nothing is told to nobody."""
    trade = worlds.trades(rows=5, seed=6).to_pylist()[0]
    states = MemoryStates()
    features = live(states)
    features.apply(records([Submitted(trade)]), now=trade["submitted_at"])
    states.states.clear()
    with pytest.raises(StatesMissing):
        features.answer(trade)
    with pytest.raises(StatesMissing):
        _ = features.applied
    assert features.generation == ""


def test_the_market_of_an_untraded_card_type_is_rebuilt():
    """Rates of a card type that nobody has traded yet are in a rebuilt state as they are offline."""
    trades = worlds.trades(rows=40, seed=5).filter(pc.not_equal(pc.field("card_type"), "sinopec_fuel"))
    market = worlds.market(rows=800, seed=5)
    known = [*trades["submitted_at"].to_pylist(), *market["observed_at"].to_pylist()]
    now = max(known) + timedelta(seconds=1)
    bulk = MemoryStates()
    backfill(
        history=history_of(trades, market),
        sink=bulk,
        now=now,
        applied=0,
        generation="bulk",
        progress=lambda done, total: None,
    )
    probe = trades.to_pylist()[0] | {"trade_id": "z", "submitted_at": now, "card_type": "sinopec_fuel"}
    expected = offline(trades, market, spine=pa.Table.from_pylist([probe], schema=trades.schema))
    found = live(bulk).answer(probe).values
    assert found["market_buyer_best"] == expected["market_buyer_best"][0]
    assert found["market_competitor_mean"] == expected["market_competitor_mean"][0]
    assert found["market_buyer_best"] == found["market_buyer_best"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.resales("card_type", "24h"),
        lambda m: m.hours_since_last("card_category"),
        lambda m: m.distinct("card_type", "seller", "30d"),
        lambda m: m.count("card_fingerprint", "7d"),
    ],
)
def test_what_is_not_kept_is_refused_offline_and_live(ask):
    """A feature that asks for what no state keeps is refused by both evaluators, not answered by one of them."""
    trades, market = worlds.trades(rows=20, seed=1), worlds.market(rows=5, seed=1)
    history = history_of(trades, market)
    trade = trades.to_pylist()[5]
    with pytest.raises(NotKept, match=r"entities\.py"):
        ask(HistoryMoment(history, history.spine_rows))
    keys = entity_keys(trade, "any")
    states = {entity: empty_state(entity) for entity in keys}
    live_moment = LiveMoment(trade=trade, states=states, links=Links(0.0, 0.0), catalogue=load_catalogue())
    with pytest.raises(NotKept, match=r"entities\.py"):
        ask(live_moment)


def test_states_survive_their_bytes():
    """A state read back from its bytes is the state that was written."""
    trades, market = worlds.trades(rows=200, seed=11), worlds.market(rows=80, seed=11)
    states = MemoryStates()
    live(states).apply(records(event for _, event in timeline(trades, market)), now=worlds.START)
    for key, data in states.states.items():
        if "=" in key:
            assert isinstance(decode(data), State)
            assert encode(decode(data)) == data


def probes(trades: pa.Table, *, at: datetime | None = None) -> list[dict[str, Any]]:
    """Every tenth trade offered once more: at a moment, or one after another when everything has happened."""
    rows = trades.to_pylist()
    known = [row[name] for row in rows for name in TIMES if row[name] is not None]
    start, step = (max(known) + timedelta(days=1), timedelta(seconds=1)) if at is None else (at, timedelta(0))
    chosen = enumerate(rows[::10])
    return [row | {"trade_id": f"z{n}", "submitted_at": start + n * step} for n, row in chosen]
