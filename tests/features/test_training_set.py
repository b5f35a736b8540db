"""Training sets: rows in = rows out, the same bytes from the same facts, whole or not at all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import training_set
from features.definitions import FEATURES
from features.table_store import TableStore
from features.training_set import (
    NothingToTrainOn,
    TrainingSet,
    build_training_set,
    stored_history,
    write_features,
)
from tests.features import worlds
from tests.features.replay import offline


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return stored(tmp_path / "tables", trades=worlds.trades(rows=150, seed=31))


def stored(root: Path, *, trades: pa.Table) -> TableStore:
    store = TableStore(root)
    publish(store, "trades", trades)
    publish(store, "market", worlds.market(rows=60, seed=31))
    return store


def publish(store: TableStore, name: str, table: pa.Table) -> None:
    staged = store.staging(name)
    pq.write_table(table, staged, row_group_size=40)
    store.publish(name, staged)


def build(store: TableStore, folder: Path, **period) -> TrainingSet:
    folder.mkdir(exist_ok=True)
    return build_training_set(
        store=store,
        registry=FEATURES,
        folder=folder,
        since=period.get("since"),
        until=period.get("until"),
        progress=lambda done, total: None,
    )


def test_the_same_facts_give_the_same_bytes(store, tmp_path, monkeypatch):
    """Two builds from the same tables, definitions and period are the same file, under the same name."""
    monkeypatch.setattr(training_set, "CHUNK_ROWS", 37)
    one, two = build(store, tmp_path / "one"), build(store, tmp_path / "two")
    assert one.path.name == two.path.name
    assert one.path.read_bytes() == two.path.read_bytes()
    assert len(pq.read_table(one.path)) == len(one.trades) == 150
    assert [file.name for file in (tmp_path / "one").iterdir()] == [one.path.name]


def test_another_period_has_another_name_and_the_same_features(store, tmp_path):
    """A part of the trades has the features it has in the whole, and its own fingerprint."""
    whole = build(store, tmp_path / "sets")
    cut = whole.trades["submitted_at"][90].as_py()
    part = build(store, tmp_path / "sets", since=cut, until=cut + timedelta(days=10))
    assert part.fingerprint != whole.fingerprint
    ids = part.trades["trade_id"].to_pylist()
    everything = pq.read_table(whole.path).to_pylist()
    assert str(pq.read_table(part.path).to_pylist()) == str(
        [row for row in everything if row["trade_id"] in ids]
    )
    with pytest.raises(NothingToTrainOn):
        build(store, tmp_path / "sets", since=cut + timedelta(days=900))


def test_a_table_published_meanwhile_changes_nothing(store, tmp_path, monkeypatch):
    """A build reads one state of the tables, also when an import replaces them halfway."""
    before = stored(tmp_path / "copy", trades=store.read("trades"))
    write = training_set._write_shard

    def publish_in_between(path, batches):
        if path.name == "24.arrow":
            publish(store, "trades", worlds.trades(rows=90, seed=32))
        write(path, batches)

    monkeypatch.setattr(training_set, "_write_shard", publish_in_between)
    disturbed = build(store, tmp_path / "one")
    monkeypatch.undo()
    assert store.rows("trades") == 90
    assert disturbed.path.read_bytes() == build(before, tmp_path / "two").path.read_bytes()
    assert len(disturbed.trades) == 150


def test_a_killed_build_leaves_nothing(store, tmp_path, monkeypatch):
    """A build that ends halfway leaves neither a training set nor its parts behind."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training_set, "_join", killed)
    with pytest.raises(KeyboardInterrupt):
        build(store, tmp_path / "sets")
    assert list((tmp_path / "sets").iterdir()) == []


def test_an_empty_history_has_no_rows(tmp_path):
    """Tables that were never imported make an empty training set of the chosen rows, not an error."""
    history = stored_history(TableStore(tmp_path / "tables"))
    path = tmp_path / "set.parquet"
    rows = np.array([], dtype=np.int64)
    with pytest.raises(NothingToTrainOn):
        write_features(
            history=history, registry=FEATURES, rows=rows, path=path, progress=lambda done, total: None
        )
    assert not path.exists()


def test_a_file_holds_what_the_tables_give(store, tmp_path):
    """The written columns are the ones computed in memory, bit for bit."""
    found = pq.read_table(build(store, tmp_path / "sets").path)
    expected = offline(store.read("trades"), store.read("market"))
    for name in FEATURES.names():
        column = found[name].to_pylist()
        wanted = [None if value != value else value for value in expected[name].tolist()]
        assert column == wanted, name
