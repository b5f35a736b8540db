"""Training rows come from Feast part after part, and from their file column after column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features import store as feature_store
from features.store import FeatureStore, RowsLost
from features.training_set import ColumnsInFile, columns_of
from tests.features.test_store import REGISTRY, registered, training_table

SPINE = ["trade_id", "submitted_at"]


KINDS: Any = {item.name: item for item in REGISTRY}
"""Features by name, which is all of the registry that columns are read by."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(tmp_path_factory.mktemp("feast"))


@pytest.mark.parametrize("at_once", [33, 99, 100, 101])
def test_parts_are_what_the_whole_is(store, tmp_path, monkeypatch, at_once):
    """However many rows are asked for at once: the same cells in the same order as by one question."""
    table = training_table(100).take(np.random.default_rng(1).permutation(100))
    registered(store, table, tmp_path / "set.parquet")
    whole = store.retrieve(registry=REGISTRY, model="fraud", spine=table.select(SPINE))
    monkeypatch.setattr(feature_store, "RETRIEVED_AT_ONCE", at_once)
    path = tmp_path / "found.parquet"
    store.retrieve_into(path, registry=REGISTRY, model="fraud", spine=table.select(SPINE))
    assert pq.read_table(path).combine_chunks().equals(whole.combine_chunks())
    assert whole.combine_chunks().equals(table.combine_chunks())


def test_a_trade_that_is_lost_in_a_later_part_is_an_error(store, tmp_path, monkeypatch):
    """A trade that the training set does not hold is an error wherever it stands."""
    table = training_table(100)
    registered(store, table.slice(0, 99), tmp_path / "set.parquet")
    monkeypatch.setattr(feature_store, "RETRIEVED_AT_ONCE", 30)
    with pytest.raises(RowsLost, match="1 trades"):
        store.retrieve_into(
            tmp_path / "found.parquet", registry=REGISTRY, model="fraud", spine=table.select(SPINE)
        )


def test_another_training_set_registered_meanwhile_is_noticed(store, tmp_path, monkeypatch):
    """Rows of two training sets are never put together."""
    table = training_table(100)
    registered(store, table, tmp_path / "set.parquet")
    monkeypatch.setattr(feature_store, "RETRIEVED_AT_ONCE", 50)
    retrieve, parts = FeatureStore.retrieve, []

    def then_another_registers(self, **asked):
        found = retrieve(self, **asked)
        parts.append(found)
        registered(store, table, tmp_path / "other.parquet")
        return found

    monkeypatch.setattr(FeatureStore, "retrieve", then_another_registers)
    with pytest.raises(RowsLost, match="another command"):
        store.retrieve_into(
            tmp_path / "found.parquet", registry=REGISTRY, model="fraud", spine=table.select(SPINE)
        )
    assert len(parts) == 2


def test_columns_in_a_file_are_those_of_its_table(tmp_path):
    """Numbers with NaN and texts with None, bit for bit, in the order asked for; others are not there."""
    table = training_table(1_000)
    pq.write_table(table, tmp_path / "found.parquet", row_group_size=300)
    names = ("kind", "age")
    lazy, eager = ColumnsInFile(tmp_path / "found.parquet", KINDS, names), columns_of(table, KINDS, names)
    (tmp_path / "found.parquet").unlink()  # who has opened it goes on reading
    assert list(lazy) == list(eager) == ["kind", "age"]
    assert len(lazy) == 2
    for name in names:
        assert lazy[name].dtype == eager[name].dtype
    assert np.array_equal(lazy["age"], eager["age"], equal_nan=True)
    assert np.isnan(lazy["age"]).any()
    assert lazy["kind"].tolist() == eager["kind"].tolist() == table["kind"].to_pylist()
    assert "face" not in lazy
    with pytest.raises(KeyError):
        lazy["face"]
