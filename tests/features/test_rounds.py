"""Several trades answered in one round see each other as if they had come one by one."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from features import online
from features.events import Labelled, Observed, Record, Submitted
from features.state import decode
from tests.features import worlds
from tests.features.replay import MemoryStates, assert_equal, live, timeline


@pytest.mark.parametrize("most", [1, 4, 16])
def test_a_round_equals_one_by_one(most):
    """Rounds of submissions between other events give the values, moments and states of telling each by itself."""
    trades, market = worlds.trades(rows=250, seed=21), worlds.market(rows=80, seed=21)
    alone_states, round_states = MemoryStates(), MemoryStates()
    alone, rounds = live(alone_states), live(round_states)
    waiting: list[Submitted] = []
    seq = 0

    def answer_waiting() -> None:
        nonlocal seq
        found = rounds.round([event.trade for event in waiting])
        for event in waiting:
            wanted, got = alone.answer(event.trade), found.answer(event.trade)
            assert_equal(got.values, wanted.values, of=event.trade["trade_id"])
            assert (got.seq, got.moment, got.extremes) == (wanted.seq, wanted.moment, wanted.extremes)
            seq += 1
            alone.apply([Record(seq, event)], now=worlds.START)
            found.submit(event.trade)
        found.write(now=worlds.START)
        waiting.clear()

    for at, event in timeline(trades, market):
        if isinstance(event, Submitted):
            waiting.append(event)
            if len(waiting) < most:
                continue
        answer_waiting()
        if not isinstance(event, Submitted):
            seq += 1
            for features in (alone, rounds):
                features.apply([Record(seq, event)], now=at)
    answer_waiting()
    assert rounds.applied == alone.applied == seq
    assert _without_numbers(round_states) == _without_numbers(alone_states)


def _without_numbers(states: MemoryStates) -> dict[str, list]:
    """States without the number of the last record each took: a round writes its last one into all."""
    found = {key: decode(data) for key, data in states.states.items() if "=" in key}
    return {key: msgspec.to_builtins(state)[1:] for key, state in found.items()}


def probe_after(trade: dict) -> dict:
    return trade | {"trade_id": "probe", "submitted_at": trade["submitted_at"] + timedelta(minutes=1)}


def test_a_dropped_round_leaves_nothing():
    """What a round told and never wrote is not seen by the next, though both share the states at hand."""
    features = live()
    trade = worlds.trades(rows=1, seed=5).to_pylist()[0]
    before = features.answer(probe_after(trade))
    lost = features.round([trade])
    lost.submit(trade)
    lost.drop()
    after = features.answer(probe_after(trade))
    assert_equal(after.values, before.values)
    assert after.seq == before.seq


def test_states_at_hand_follow_another_writer():
    """A record told by another process is seen at once: states kept from an earlier round do not hide it."""
    states = MemoryStates()
    one, other = live(states), live(states)
    trade = worlds.trades(rows=1, seed=5).to_pylist()[0]
    at = trade["submitted_at"]
    one.answer(trade)
    bid = Observed(trade["card_type"], "elsewhere", "competitor_bid", 0.9, at - timedelta(hours=1))
    other.apply([Record(1, bid)], now=at)
    found = one.answer(trade)
    assert found.seq == 1
    assert found.values["market_competitor_best"] == other.answer(trade).values["market_competitor_best"]


def test_what_holds_for_an_hour_ends_with_the_next_label():
    """Sums over a card type that one trade left for the others of its hour are worked out anew once a label is told."""
    features = live()
    first, second = worlds.trades(rows=2, seed=5).to_pylist()
    second |= {name: first[name] for name in ("card_type", "submitted_at")}
    features.apply([Record(1, Submitted(first))], now=worlds.START)
    before = features.answer(probe_after(second)).values["kind_fraud_rate_30d"]
    label = Labelled(first, True, first["submitted_at"] + timedelta(seconds=30))
    features.apply([Record(2, label)], now=worlds.START)
    assert features.answer(probe_after(second)).values["kind_fraud_rate_30d"] > before


def test_models_that_ask_for_different_sums_do_not_share_them():
    """What one model's features worked out for an hour is not taken for the like sums of another model's."""
    states = MemoryStates()
    features, trades = live(states), worlds.trades(rows=120, seed=21)
    for seq, (at, event) in enumerate(timeline(trades, worlds.market(rows=40, seed=21)), start=1):
        features.apply([Record(seq, event)], now=at)
    probe = trades.to_pylist()[-1] | {"trade_id": "probe", "submitted_at": at}
    values = {
        name: features.answer(probe, names=(name,)).values[name] for name in ("stock_cards", "stock_cny")
    }
    assert values["stock_cny"] > values["stock_cards"] > 0
    assert_equal(values, live(states).answer(probe, names=tuple(values)).values)


@pytest.mark.parametrize("most", [3, 40])
def test_states_at_hand_are_few_and_right(most, monkeypatch):
    """However few states are kept between rounds, linked ones among them, every answer is that of states read anew."""
    monkeypatch.setattr(online, "STATES_AT_HAND", most)
    anew_states, kept_states = MemoryStates(), MemoryStates()
    anew, kept = live(anew_states), live(kept_states)
    trades = worlds.trades(rows=150, seed=23).to_pylist()
    for start in range(0, len(trades), 4):
        part = trades[start : start + 4]
        anew.forget()
        rounds = [features.round(part) for features in (anew, kept)]
        for trade in part:
            wanted, got = (found.answer(trade) for found in rounds)
            assert_equal(got.values, wanted.values, of=trade["trade_id"])
            for found in rounds:
                found.submit(trade)
        for found in rounds:
            found.write(now=worlds.START)
        assert len(kept._kept.states) <= most
    assert kept_states.states == anew_states.states
