"""The live path gives the offline values, bit for bit."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.backfill import backfill
from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.facts import SPINE_COLUMNS
from features.online import LiveFeatures
from tests.features import worlds
from tests.features.test_definitions import offline


class MemoryStates:
    """States in a dictionary."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}

    def read_states(self, keys):
        return [self.states.get(key) for key in keys]

    def write_states(self, states, *, now):
        self.states.update(states)


def live(states: MemoryStates) -> LiveFeatures:
    return LiveFeatures(states=states, registry=FEATURES, catalogue=load_catalogue())


def timeline(trades: pa.Table, market: pa.Table) -> list[tuple[datetime, int, str, dict]]:
    """Everything that happens, by time; at one time submissions come before what is learned then."""
    happened = [(row["submitted_at"], 0, "submitted", row) for row in trades.to_pylist()]
    for row in trades.to_pylist():
        if row["accepted"]:
            happened.append((row["decided_at"], 1, "accepted", row))
        if row["resold_at"] is not None:
            happened.append((row["resold_at"], 1, "resold", row))
        if row["fraud_known_at"] is not None:
            happened.append((row["fraud_known_at"], 1, "labelled", row))
    happened += [(row["observed_at"], 1, "observed", row) for row in market.to_pylist()]
    return sorted(happened, key=lambda item: (item[0], item[1], item[3].get("trade_id", "")))


def tell(features: LiveFeatures, kind: str, row: dict, at: datetime, *, again: bool = False) -> None:
    match kind:
        case "submitted":
            features.submitted(row, now=at)
        case "accepted":
            features.accepted(row, decided_at=at, now=at)
        case "resold":
            features.resold(row, rate=row["resale_rate"], resold_at=at, now=at)
        case "labelled":
            old = (at, row["fraud"]) if again else None
            features.labelled(row, fraud=row["fraud"], known_at=at, old=old, now=at)
        case "observed":
            bid = {name: row[name] for name in ("card_type", "source", "side", "rate")}
            features.observed(**bid, at=at, now=at)


@pytest.mark.parametrize("seed", [1, 2])
def test_replay_through_the_live_path_equals_offline(seed):
    """Replaying history event by event gives, at every submission, exactly the offline features."""
    trades, market = worlds.trades(rows=400, seed=seed), worlds.market(rows=200, seed=seed)
    expected = offline(trades, market)
    features = live(MemoryStates())
    row_of = {trade_id: row for row, trade_id in enumerate(trades["trade_id"].to_pylist())}
    answered = 0
    for at, _, kind, row in timeline(trades, market):
        if kind == "submitted":
            found = features.features([row])
            for name in FEATURES.names():
                wanted = expected[name][row_of[row["trade_id"]] : row_of[row["trade_id"]] + 1]
                np.testing.assert_array_equal(found[name], wanted, err_msg=f"{name} of {row['trade_id']}")
            answered += 1
        tell(features, kind, row, at)
    assert answered == len(trades)


def test_events_told_twice_count_once():
    """A repeated submission, label, acceptance or bid changes no feature."""
    trades, market = worlds.trades(rows=150, seed=3), worlds.market(rows=60, seed=3)
    once, twice = live(MemoryStates()), live(MemoryStates())
    for at, _, kind, row in timeline(trades, market):
        tell(once, kind, row, at)
        tell(twice, kind, row, at)
        if kind != "resold":  # resales are told apart by the event log of the service
            tell(twice, kind, row, at, again=True)
    probe = trades.slice(len(trades) - 1).to_pylist()[0] | {"trade_id": "probe"}
    probe["submitted_at"] += timedelta(days=1)
    assert_same(once.features([probe]), twice.features([probe]))


@pytest.mark.parametrize("days", [1, 60])
def test_a_corrected_label_counts_as_the_new_one(days):
    """Correcting a label, also one old enough to be folded, leaves one label with the new value."""
    trade = worlds.trades(rows=5, seed=6).to_pylist()[0]
    first, second = worlds.START + timedelta(days=1), worlds.START + timedelta(days=1 + days)
    features = live(MemoryStates())
    features.submitted(trade, now=first)
    features.labelled(trade, fraud=True, known_at=first, now=first)
    features.accepted(trade, decided_at=second, now=second)
    features.labelled(trade, fraud=False, known_at=second, old=(first, True), now=second)
    probe = trade | {"trade_id": "probe", "submitted_at": second + timedelta(minutes=1)}
    found = features.features([probe])
    assert (found["seller_labels_all"][0], found["seller_frauds_all"][0]) == (1, 0)
    assert found["kind_labels_30d"][0] == 1


def test_backfill_equals_replay():
    """State rebuilt in bulk from the tables answers like state grown event by event, and like offline."""
    trades, market = worlds.trades(rows=400, seed=4), worlds.market(rows=200, seed=4)
    now = max(item[0] for item in timeline(trades, market)) + timedelta(seconds=1)
    states = MemoryStates()
    backfill(
        states=states,
        trades=trades,
        market=market,
        catalogue=load_catalogue(),
        now=now,
        progress=lambda done, total: None,
    )
    probes = [
        row | {"trade_id": f"z{n}", "submitted_at": now} for n, row in enumerate(trades.to_pylist()[::10])
    ]
    spine = pa.Table.from_pylist(probes, schema=trades.schema).select(SPINE_COLUMNS)
    assert_same(live(states).features(probes), offline(trades, market, spine=spine))


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    for name in FEATURES.names():
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
