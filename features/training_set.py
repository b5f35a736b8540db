"""Training sets: a spine of trades and every feature as of each one's submission. Rows in = rows out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import Catalogue, workspace_catalogue
from features.facts import SPINE_COLUMNS, facts_from_tables
from features.moment import Moment
from features.registry import Registry
from features.table_store import TableStore

Progress = Callable[[int, int], None]
"""Called with (features done, features in all)."""


class NothingToTrainOn(ValueError):
    """No trade lies in the asked period."""


@dataclass(frozen=True)
class TrainingSet:
    """A written training set. ``trades`` (n rows) are its trades with the outcomes known before ``until``;
    ``path`` holds trade_id, submitted_at and all features of the same rows in the same order."""

    path: Path
    trades: pa.Table
    fingerprint: str


def build_training_set(
    *,
    store: TableStore,
    registry: Registry,
    folder: Path,
    since: datetime | None,
    until: datetime | None,
    progress: Progress,
) -> TrainingSet:
    """Compute and write the features of all trades submitted in [since, until).

    The file's name is a hash of the stored tables, the definitions and the period: an existing file is reused.
    Raises NothingToTrainOn for an empty period.
    """
    trades = store.read("trades")
    spine = _within(trades, since, until)
    if len(spine) == 0:
        raise NothingToTrainOn("no trade was submitted in this period")
    fingerprint = _fingerprint(store, registry, since, until)
    path = folder / f"{fingerprint}.parquet"
    if not path.exists():
        features = compute_features(
            spine=spine.select(SPINE_COLUMNS),
            trades=trades,
            market=store.read("market"),
            catalogue=workspace_catalogue(store),
            registry=registry,
            progress=progress,
        )
        _write(path, spine, features)
    return TrainingSet(path=path, trades=known_before(spine, until), fingerprint=fingerprint)


def compute_features(
    *,
    spine: pa.Table,
    trades: pa.Table,
    market: pa.Table,
    catalogue: Catalogue,
    registry: Registry,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """All features of a spine from the stored tables: the offline way."""
    facts = facts_from_tables(trades=trades, market=market, catalogue=catalogue)
    moment = Moment(spine=spine, facts=facts, catalogue=catalogue)
    columns: dict[str, np.ndarray] = {}
    for done, name in enumerate(registry.names(), start=1):
        columns |= registry.compute(moment, [name])
        progress(done, len(registry))
    return columns


def known_before(trades: pa.Table, until: datetime | None) -> pa.Table:
    """The trades with every outcome that was not known before ``until`` set to null."""
    if until is None:
        return trades
    for time, outcomes in (
        ("decided_at", ("accepted",)),
        ("resold_at", ("resale_rate",)),
        ("fraud_known_at", ("fraud",)),
    ):
        known = pc.fill_null(pc.less(trades[time], pa.scalar(until, trades[time].type)), False)
        for name in (*outcomes, time):
            masked = pc.if_else(known, trades[name], pa.scalar(None, trades[name].type))
            trades = trades.set_column(trades.schema.get_field_index(name), name, masked)
    return trades


def columns_of(table: pa.Table, registry: Registry, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Feature columns of a retrieved table: float64 with NaN, object with None for categories."""
    columns = {}
    for name in names:
        values = table[name].to_numpy(zero_copy_only=False)
        columns[name] = values.astype(object if registry[name].kind == "category" else np.float64)
    return columns


def _within(trades: pa.Table, since: datetime | None, until: datetime | None) -> pa.Table:
    time = trades["submitted_at"]
    inside = pa.array(np.ones(len(trades), dtype=bool))
    if since is not None:
        inside = pc.and_(inside, pc.greater_equal(time, pa.scalar(since, time.type)))
    if until is not None:
        inside = pc.and_(inside, pc.less(time, pa.scalar(until, time.type)))
    return trades.filter(inside)


def _fingerprint(
    store: TableStore, registry: Registry, since: datetime | None, until: datetime | None
) -> str:
    parts = [store.fingerprint(name) for name in ("trades", "market", "card_types")]
    parts += [registry.version(), repr(list(workspace_catalogue(store))), str(since), str(until)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _write(path: Path, spine: pa.Table, features: dict[str, np.ndarray]) -> None:
    columns = {"trade_id": spine["trade_id"], "submitted_at": spine["submitted_at"]}
    for name, values in features.items():
        numeric = values.dtype != object
        columns[name] = pa.array(values, from_pandas=True) if numeric else pa.array(values, pa.string())
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.table(columns), temporary, row_group_size=200_000)
    temporary.replace(path)
