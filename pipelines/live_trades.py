"""Finds a trade by its id: among the service's quotes first, then in the stored tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from pipelines.application_data import ApplicationData
from pipelines.live_log import trade_from_json


@dataclass(frozen=True)
class TradeFinder:
    """Looks trades up in the application data and in the stored tables."""

    data: ApplicationData
    tables: TableStore

    def find(self, trade_id: str) -> dict[str, Any] | None:
        """The trade as it was submitted, or None."""
        quoted = self.data.first_quote_of(trade_id)
        if quoted is not None:
            return dict(trade_from_json(quoted["trade"]))
        found = stored_trades(self.tables, [trade_id])
        return {name: found[0][name] for name in SPINE_COLUMNS} if found else None

    def stored_outcome(self, trade_id: str, column: str) -> Any:
        """One column of a stored trade, None where it is unknown."""
        found = stored_trades(self.tables, [trade_id])
        return found[0][column] if found else None

    def stored_label(self, trade_id: str) -> tuple[datetime, bool] | None:
        """The label of a stored trade: when it became known, and whether it was fraud."""
        found = stored_trades(self.tables, [trade_id])
        if not found or found[0]["fraud"] is None:
            return None
        return found[0]["fraud_known_at"], found[0]["fraud"]


def stored_trades(tables: TableStore, trade_ids: Collection[str]) -> list[dict[str, Any]]:
    """Whole rows of stored trades, of those ids that exist."""
    path = tables.path("trades")
    if path is None or not trade_ids:
        return []
    return pq.read_table(path, filters=pc.field("trade_id").isin(list(trade_ids))).to_pylist()
