"""Features of a workspace's trades: of all stored ones, computed once for every command, or of any others now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS
from features.training_set import (
    Progress,
    TrainingSet,
    build_training_set,
    columns_of,
    compute_features,
)
from models.matrix import Columns
from pipelines.workspace import Workspace

ROWS_AT_ONCE = 100_000


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


def stored_training_set(
    workspace: Workspace,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
    paused: Sequence[str] = (),
) -> TrainingSet:
    """The features of the stored trades submitted in [since, until), computed now unless another command did. paused:
    models for which those of :func:`features.training_set.paused_columns` are, too.

    Raises NothingToTrainOn where there is none.
    """
    return build_training_set(
        store=workspace.tables,
        registry=FEATURES,
        folder=workspace.training_sets,
        since=since,
        until=until,
        progress=progress,
        paused=paused,
    )


def features_of(
    workspace: Workspace,
    spine: pa.Table,
    *,
    names: Sequence[str],
    progress: Progress = silent,
    trades: pa.Table | None = None,
) -> dict[str, np.ndarray]:
    """Features (n,) by name or ``name@version`` of trades with at least ``SPINE_COLUMNS``, stored or not, as of each
    from the stored history. trades: the stored ones, where the caller has read them."""
    tables = workspace.tables
    return compute_features(
        spine=spine.select(SPINE_COLUMNS),
        trades=tables.read("trades") if trades is None else trades,
        market=tables.read("market"),
        catalogue=workspace_catalogue(tables),
        registry=FEATURES,
        progress=progress,
        names=names,
    )


def features_of_ids(
    workspace: Workspace, trade_ids: np.ndarray, *, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Features (n,) of stored trades, told by their ids (n,)."""
    trades = workspace.tables.read("trades")
    ids = pa.array(trade_ids, pa.string())
    place = pc.index_in(ids, value_set=trades["trade_id"].combine_chunks())
    return features_of(workspace, trades.take(place), names=names, trades=trades)


@dataclass(frozen=True)
class Chunk:
    """Some of the asked trades: their positions among them, ascending, and their features (m,)."""

    rows: np.ndarray
    columns: Columns


@dataclass(frozen=True)
class StoredFeatures:
    """The features of all stored trades, read some rows at a time. names: those read. former: columns of former
    definitions (``name@version``) beside them."""

    workspace: Workspace
    built: TrainingSet
    names: tuple[str, ...]
    former: tuple[str, ...] = ()

    def chunks(self, places: np.ndarray) -> Iterator[Chunk]:
        """Features of the trades at some places of the stored table, ascending, ROWS_AT_ONCE at most at a time."""
        former = self._former(places)
        file = pq.ParquetFile(self.built.path)
        start = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if np.diff(np.searchsorted(places, [start, start + size]))[0]:
                yield from self._group(file, group, start, places, former)
            start += size

    def _group(
        self, file: pq.ParquetFile, group: int, start: int, places: np.ndarray, former: Columns
    ) -> Iterator[Chunk]:
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(self.names)):
            first, end = np.searchsorted(places, [start, start + len(batch)])
            if first < end:
                part = pa.Table.from_batches([batch]).take(pa.array(places[first:end] - start))
                columns = columns_of(part, FEATURES, self.names)
                columns |= {name: column[first:end] for name, column in former.items()}
                yield Chunk(np.arange(first, end), columns)
            start += len(batch)

    def _former(self, places: np.ndarray) -> dict[str, np.ndarray]:
        if not self.former:
            return {}
        trades = self.workspace.tables.read("trades")
        return features_of(self.workspace, trades.take(pa.array(places)), names=self.former, trades=trades)
