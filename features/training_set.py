"""Training sets: a spine of trades and every feature as of each one's submission. Rows in = rows out."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import Catalogue, workspace_catalogue
from features.history import History, HistoryMoment
from features.registry import Registry
from features.rows import microseconds
from features.store import RowsLost
from features.table_store import TableStore
from features.tables import TRADES

Progress = Callable[[int, int], None]
"""Called with (features done, features in all)."""

Item = TypeVar("Item")

CHUNK_ROWS = 250_000
"""Rows computed and written at a time: what bounds memory besides the events themselves."""

GROUP = 24
"""Features computed together for all rows; neighbours ask about the same entity."""

OUTCOME_BATCHES = 5
"""Parts of a training set in each of which no outcome is heard of but what was known before it began."""

PAUSING = {"fraud": "fraud", "discount": "resale_rate"}
"""Model -> the outcome it is trained on, without which there is no pause to learn from."""


class NothingToTrainOn(ValueError):
    """No trade lies in the asked period."""


@dataclass(frozen=True)
class TrainingSet:
    """A written training set. ``trades`` (n rows) are its trades with the outcomes known before ``until``;
    ``path`` holds trade_id, event_timestamp (the moment, by the name Feast gives it) and all features of the same
    rows in the same order. ``paused``: model -> file, see :func:`paused_columns`."""

    path: Path
    trades: pa.Table
    fingerprint: str
    paused: Mapping[str, Path] = field(default_factory=dict)


def build_training_set(
    *,
    store: TableStore,
    registry: Registry,
    folder: Path,
    since: datetime | None,
    until: datetime | None,
    progress: Progress,
    paused: Sequence[str] = (),
) -> TrainingSet:
    """Compute and write the features of all trades submitted in [since, until); ``paused``: those of
    :func:`paused_columns` for these models too, from the same tables, where there is any outcome to learn from.

    The file's name is a hash of the stored tables, the definitions and the period: an existing file is reused, and
    the same hash means the same bytes. Raises NothingToTrainOn for an empty period.
    """
    trades, market = store.snapshot("trades"), store.snapshot("market")
    inside = _within(trades.column("submitted_at"), since, until)
    rows = np.flatnonzero(inside.to_numpy())
    if len(rows) == 0:
        raise NothingToTrainOn("no trade was submitted in this period")
    catalogue = workspace_catalogue(store)
    parts = [trades.fingerprint, market.fingerprint, registry.version(), registry.code_version()]
    parts += [repr(list(catalogue)), str(since), str(until)]
    fingerprint = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    path = folder / f"{fingerprint}.parquet"
    write = partial(write_features, registry=registry, rows=rows, progress=progress)
    history = partial(History, read=trades.column, market=market.table(), catalogue=catalogue)
    if not path.exists():
        write(history=history(), path=path)
    outcomes = {model: trades.column(PAUSING[model]).filter(inside) for model in paused}
    files = {
        model: path.with_suffix(f".paused-{model}.parquet")
        for model, outcome in outcomes.items()
        if outcome.null_count < len(outcome)
    }
    begins = rows[np.arange(OUTCOME_BATCHES) * len(rows) // OUTCOME_BATCHES]
    for model, file in files.items():
        if not file.exists():
            batches = microseconds(trades.column("submitted_at"))[begins]
            write(history=history(outcome_batches=batches), path=file, names=registry.paused_features(model))
    known = known_before(trades.table().filter(inside), until)
    return TrainingSet(path=path, trades=known, fingerprint=fingerprint, paused=files)


def paused_columns(built: TrainingSet, registry: Registry, model: str) -> dict[str, np.ndarray]:
    """The features of a training set's trades that :meth:`Registry.paused_features` names, had all outcomes come at the
    beginning of each of ``OUTCOME_BATCHES`` parts of the set only: name -> (n,). Empty where the set was built without.

    What a model sees where outcomes pause, as for a file that is answered months later, is learned from these.
    """
    if model not in built.paused:
        return {}
    return columns_of(pq.read_table(built.paused[model]), registry, registry.paused_features(model))


def stored_history(store: TableStore) -> History:
    """Everything in the stored tables as they are now."""
    return History(
        read=store.snapshot("trades").column,
        market=store.read("market"),
        catalogue=workspace_catalogue(store),
    )


def write_features(
    *,
    history: History,
    registry: Registry,
    rows: np.ndarray,
    path: Path,
    progress: Progress,
    names: Sequence[str] | None = None,
) -> None:
    """Write trade_id, event_timestamp and features (None: all) of the history's ``rows`` (ascending) to one Parquet
    file.

    Group by group of features over all rows, then put together chunk by chunk: neither all features nor all
    entities are ever in memory. The file appears whole or not at all. Raises NothingToTrainOn without rows.
    """
    if len(rows) == 0:
        raise NothingToTrainOn("there is no trade to write")
    work = path.with_suffix(f".{os.getpid()}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        shards = [work / "keys.arrow"]
        _write_shard(shards[0], _key_batches(history, rows))
        asked = registry.names() if names is None else names
        for first in range(0, len(asked), GROUP):
            group = asked[first : first + GROUP]
            shards.append(work / f"{first}.arrow")
            _write_shard(shards[-1], _feature_batches(history, registry, group, rows))
            progress(min(first + GROUP, len(asked)), len(asked))
        history.forget()
        _join(shards, work / "whole.parquet", rows=len(rows))
        (work / "whole.parquet").replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def compute_features(
    *,
    spine: pa.Table,
    trades: pa.Table,
    market: pa.Table,
    catalogue: Catalogue,
    registry: Registry,
    progress: Progress,
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Features of a spine in its order, from tables in memory; its rows count as submissions for later ones."""
    history = History(read=lambda name: trades[name], market=market, catalogue=catalogue, spine=spine)
    moment = HistoryMoment(history, history.spine_rows)
    columns: dict[str, np.ndarray] = {}
    chosen = registry.names() if names is None else names
    for done, name in enumerate(chosen, start=1):
        columns |= registry.compute(moment, [name])
        progress(done, len(chosen))
    return columns


def known_before(trades: pa.Table, until: datetime | None) -> pa.Table:
    """The trades with every outcome that was not known before ``until`` set to null."""
    if until is None:
        return trades
    for time, outcomes in TRADES.outcomes.items():
        known = pc.fill_null(pc.less(trades[time], pa.scalar(until, trades[time].type)), False)
        for name in outcomes:
            masked = pc.if_else(known, trades[name], pa.scalar(None, trades[name].type))
            trades = trades.set_column(trades.schema.get_field_index(name), name, masked)
    return trades


def columns_of(table: pa.Table, registry: Registry, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Feature columns of a retrieved table: float64 with NaN, object with None for categories."""
    return {name: _column_of(table, registry, name) for name in names}


def _column_of(table: pa.Table, registry: Registry, name: str) -> np.ndarray:
    values = table[name].to_numpy(zero_copy_only=False)
    return values.astype(object if registry[name].kind == "category" else np.float64)


class ColumnsInFile(Mapping[str, np.ndarray]):
    """As :func:`columns_of`, of a Parquet file of which a column is read whenever it is asked for: all of a large log
    fill more memory than the matrix that trees are grown from, which takes them one after another. The file stays open:
    it may be deleted meanwhile."""

    def __init__(self, path: Path, registry: Registry, names: tuple[str, ...]) -> None:
        self._file = pq.ParquetFile(path)
        self._registry = registry
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return _column_of(self._file.read(columns=[name]), self._registry, name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _within(time: pa.ChunkedArray, since: datetime | None, until: datetime | None) -> pa.ChunkedArray:
    inside = pa.chunked_array([np.ones(len(time), dtype=bool)])
    if since is not None:
        inside = pc.and_(inside, pc.greater_equal(time, pa.scalar(since, time.type)))
    if until is not None:
        inside = pc.and_(inside, pc.less(time, pa.scalar(until, time.type)))
    return inside


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


def _key_batches(history: History, rows: np.ndarray) -> Iterator[pa.RecordBatch]:
    ids, times = history.column("trade_id"), history.column("submitted_at")
    for chunk in _chunks(rows):
        taken = pa.array(chunk)
        columns = {"trade_id": ids.take(taken), "event_timestamp": times.take(taken)}
        yield pa.table(columns).combine_chunks().to_batches()[0]


def _feature_batches(
    history: History, registry: Registry, names: Sequence[str], rows: np.ndarray
) -> Iterator[pa.RecordBatch]:
    for chunk in _chunks(rows):
        columns = registry.compute(HistoryMoment(history, chunk), names)
        yield pa.record_batch({name: _arrow(values) for name, values in columns.items()})


def _arrow(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.string()) if values.dtype == object else pa.array(values, from_pandas=True)


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one being made in another thread while one is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = thread.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = thread.submit(next, items, None)
            yield item


def _write_shard(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    batches = _ahead(batches)
    first = next(batches)
    with pa.ipc.new_file(path, first.schema, options=options) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _side_by_side(readers: Sequence[Any], number: int) -> list[pa.Array]:
    """The columns of one chunk, read from every shard."""
    return [column for reader in readers for column in reader.get_batch(number).columns]


def _join(shards: Sequence[Path], path: Path, *, rows: int) -> None:
    """Put the shards' columns side by side, one row group a chunk. Raises RowsLost."""
    readers = [pa.ipc.open_file(shard) for shard in shards]
    schema = pa.unify_schemas([reader.schema for reader in readers])
    written = 0
    text: Any = [field.name for field in schema if pa.types.is_string(field.type)]
    # Numbers rarely repeat: without a dictionary they are written in half the time.
    with pq.ParquetWriter(path, schema, use_dictionary=text) as writer:
        for batches in _ahead(map(_side_by_side, repeat(readers), range(readers[0].num_record_batches))):
            table = pa.table(batches, schema=schema)
            writer.write_table(table, row_group_size=CHUNK_ROWS)
            written += len(table)
    if written != rows:
        raise RowsLost(f"{rows:,} trades were asked for, {written:,} rows were written")
