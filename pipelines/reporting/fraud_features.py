"""The features of stored trades, computed once for all commands and read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS
from features.training_set import Progress, TrainingSet, build_training_set, columns_of, compute_features
from models.matrix import Columns
from models.quoting import as_trained
from pipelines.workspace import Workspace

AT_ONCE = 100_000


@dataclass(frozen=True)
class Chunk:
    """Some of the asked trades: their positions among them, ascending, and their features (m,) as the model knows
    them, with those it does not read."""

    rows: np.ndarray
    columns: Columns


@dataclass(frozen=True)
class StoredFeatures:
    """The features of all stored trades. pins: what the model reads by a former definition."""

    workspace: Workspace
    built: TrainingSet
    pins: Mapping[str, str]

    def chunks(self, places: np.ndarray) -> Iterator[Chunk]:
        """Features of the trades at some places of the stored table, ascending, AT_ONCE at most at a time."""
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
        names = FEATURES.names()
        for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=list(names)):
            first, end = np.searchsorted(places, [start, start + len(batch)])
            if first < end:
                part = pa.Table.from_batches([batch]).take(pa.array(places[first:end] - start))
                columns = columns_of(part, FEATURES, names)
                columns |= {name: column[first:end] for name, column in former.items()}
                yield Chunk(np.arange(first, end), as_trained(columns, self.pins))
            start += len(batch)

    def _former(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of former definitions that the model was trained on."""
        if not self.pins:
            return {}
        tables = self.workspace.tables
        trades = tables.read("trades")
        return compute_features(
            spine=trades.take(pa.array(places)).select(SPINE_COLUMNS),
            trades=trades,
            market=tables.read("market"),
            catalogue=workspace_catalogue(tables),
            registry=FEATURES,
            progress=lambda done, total: None,
            names=tuple(self.pins.values()),
        )


def stored_features(workspace: Workspace, *, pins: Mapping[str, str], progress: Progress) -> StoredFeatures:
    """The features of all stored trades, computed now unless another command did."""
    built = build_training_set(
        store=workspace.tables,
        registry=FEATURES,
        folder=workspace.training_sets,
        since=None,
        until=None,
        progress=progress,
    )
    return StoredFeatures(workspace=workspace, built=built, pins=pins)
