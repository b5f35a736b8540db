"""Outcomes that come in batches: what a trade would have known had nobody heard of any since the last one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import training_set
from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.history import History, HistoryMoment
from features.rows import microseconds
from features.table_store import TableStore
from features.training_set import OUTCOME_BATCHES, build_training_set, known_before, paused_columns
from tests.features import worlds

PAUSED = {model: FEATURES.paused_features(model) for model in ("fraud", "discount")}
OUTCOMES = {"label", "resale", "acceptance"}


@pytest.fixture(scope="module")
def world() -> tuple[pa.Table, pa.Table]:
    return worlds.trades(rows=400, seed=3, days=90), worlds.market(rows=60, seed=3, days=90)


def columns(trades: pa.Table, market: pa.Table, batches: np.ndarray | None) -> dict[str, np.ndarray]:
    history = History(read=trades.column, market=market, catalogue=load_catalogue(), outcome_batches=batches)
    return FEATURES.compute(HistoryMoment(history, np.arange(len(trades))))


def differing(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    return {
        name
        for name, values in one.items()
        if not np.array_equal(values, other[name], equal_nan=values.dtype != object)
    }


def test_a_batch_at_every_outcome_changes_nothing(world):
    """Batches at the very moments at which outcomes became known: every feature to the last bit."""
    trades, market = world
    told = [microseconds(trades[name].drop_null()) for name in ("decided_at", "resold_at", "fraud_known_at")]
    moments = np.unique(np.concatenate(told))
    assert differing(columns(trades, market, None), columns(trades, market, moments)) == set()


def test_between_two_batches_only_what_was_known_before_counts(world):
    """After each batch features are those of a history without any younger outcome, and only those that say that
    outcomes go into them differ from the usual ones."""
    trades, market = world
    time = microseconds(trades["submitted_at"])
    batches = (
        time[[0, 130, 270]] - 1
    )  # so that no outcome is known, nor a trade submitted, at the very moment
    paused, usual = columns(trades, market, batches), columns(trades, market, None)
    edges = np.append(batches, np.iinfo(np.int64).max)
    for start, end in pairwise(edges):
        told = columns(known_before(trades, _moment(start)), market, None)
        part = np.flatnonzero((time > start) & (time <= end))
        assert differing(rows(paused, part), rows(told, part)) == set()
    changed = differing(usual, paused)
    assert {"seller_frauds_all", "seller_fraud_rate_30d", "kind_mature_fraud_rate", "link_frauds"} <= changed
    assert {"resale_mean_7d", "resale_matured_mean", "stock_cards", "stock_sold_share"} <= changed
    assert {FEATURES[name].as_of for name in changed} <= OUTCOMES
    assert {*PAUSED["fraud"], *PAUSED["discount"]} <= {
        item.name for item in FEATURES if item.as_of in OUTCOMES
    }


def rows(columns: dict[str, np.ndarray], part: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[part] for name, values in columns.items()}


def _moment(time_us: np.int64):
    return pa.scalar(int(time_us), pa.timestamp("us", "UTC")).as_py()


def test_a_training_set_keeps_its_paused_features(tmp_path, world, monkeypatch):
    """Of a part of the trades, in their order, written once: parts of equal size that begin with a batch."""
    trades, market = world
    store = TableStore(tmp_path / "tables")
    for name, stored in (("trades", trades), ("market", market)):
        pq.write_table(stored, store.staging(name))
        store.publish(name, store.staging(name))
    since = trades["submitted_at"][100].as_py()
    told = {"store": store, "registry": FEATURES, "folder": tmp_path, "since": since, "until": None}
    asked = {"paused": tuple(PAUSED), "progress": lambda done, total: None}
    built = build_training_set(**told, **asked)
    found = {model: paused_columns(built, FEATURES, model) for model in PAUSED}
    assert {model: tuple(columns) for model, columns in found.items()} == PAUSED
    time = microseconds(trades["submitted_at"])
    first = int(np.searchsorted(time, time[100]))
    begins = first + np.arange(OUTCOME_BATCHES) * (len(trades) - first) // OUTCOME_BATCHES
    whole = columns(trades, market, time[begins])
    for model, names in PAUSED.items():
        for name in names:
            np.testing.assert_array_equal(found[model][name], whole[name][first:], err_msg=name)
    monkeypatch.setattr(training_set, "write_features", lambda **_: pytest.fail("computed once more"))
    again = build_training_set(**told, **asked)
    for model in PAUSED:
        assert differing(found[model], paused_columns(again, FEATURES, model)) == set()
        unasked = build_training_set(**told, progress=lambda done, total: None)
        assert paused_columns(unasked, FEATURES, model) == {}
