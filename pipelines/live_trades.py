"""Finds a trade by its id: among the service's quotes first, then in the stored tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from pipelines.application_data import ApplicationData
from pipelines.live_log import trade_from_json


class StoredTrades:
    """Looks stored trades up by id: a sorted hash of every id says where to look, or that there is nothing."""

    def __init__(self, tables: TableStore) -> None:
        self._tables = tables
        self._read()

    def find(self, trade_id: str) -> dict[str, Any] | None:
        """The whole row of a trade, None where there is none."""
        if self._tables.fingerprint("trades") != self._snapshot.fingerprint:
            self._read()
        key = _hashes(np.array([trade_id], dtype=object))[0]
        begin, end = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        rows = self._snapshot.rows([int(place) for place in self._places[begin:end]])
        return next((row for row in rows if row["trade_id"] == trade_id), None)

    def _read(self) -> None:
        self._snapshot = self._tables.snapshot("trades")
        hashes = _hashes(self._snapshot.column("trade_id").to_numpy())
        self._places = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._places]


def _hashes(trade_ids: np.ndarray) -> np.ndarray:
    import pandas as pd

    return pd.util.hash_array(trade_ids.astype(object), categorize=False)


@dataclass(frozen=True)
class TradeFinder:
    """Looks trades up in the application data and in the stored tables."""

    data: ApplicationData
    stored: StoredTrades

    def find(self, trade_id: str) -> dict[str, Any] | None:
        """The trade as it was submitted, or None."""
        quoted = self.data.first_quote_of(trade_id)
        if quoted is not None:
            return dict(trade_from_json(quoted["trade"]))
        found = self.stored.find(trade_id)
        return None if found is None else {name: found[name] for name in SPINE_COLUMNS}

    def stored_outcome(self, trade_id: str, column: str) -> Any:
        """One column of a stored trade, None where it is unknown."""
        found = self.stored.find(trade_id)
        return None if found is None else found[column]

    def stored_label(self, trade_id: str) -> tuple[datetime, bool] | None:
        """The label of a stored trade: when it became known, and whether it was fraud."""
        found = self.stored.find(trade_id)
        if found is None or found["fraud"] is None:
            return None
        return found["fraud_known_at"], found["fraud"]


def stored_trades(tables: TableStore, trade_ids: Collection[str]) -> list[dict[str, Any]]:
    """Whole rows of stored trades, of those ids that exist; one pass over the file."""
    path = tables.path("trades")
    if path is None or not trade_ids:
        return []
    return pq.read_table(path, filters=pc.field("trade_id").isin(list(trade_ids))).to_pylist()
