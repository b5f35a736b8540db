"""Finds a trade by its id: among the service's quotes first, then in the stored tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from features.tables import TRADES
from models.fraud.labels import DEFAULT_SOURCE, Label, label_of
from pipelines.application_data import ApplicationData
from pipelines.live_log import trade_from_json

FRAUD_CONFIRMED, FRAUD_CLEARED = "fraud_confirmed", "fraud_cleared"
LABEL_KINDS = (FRAUD_CONFIRMED, FRAUD_CLEARED)


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


class KnownTrade(NamedTuple):
    """A trade as it was submitted. ``owner``: the client whose quote made it known; None where it came from a file."""

    row: dict[str, Any]
    owner: str | None


@dataclass(frozen=True)
class TradeFinder:
    """Looks trades up in the application data and in the stored tables."""

    data: ApplicationData
    stored: StoredTrades

    def find(self, trade_id: str) -> KnownTrade | None:
        """The trade with its owner, or None."""
        return self.find_all([trade_id]).get(trade_id)

    def find_all(self, trade_ids: Sequence[str]) -> dict[str, KnownTrade]:
        """As :meth:`find` for several trades, by trade_id; those that exist."""
        quoted = self.data.first_quotes_of(trade_ids)
        found = {trade_id: KnownTrade(_trade_of(row), row["client_id"]) for trade_id, row in quoted.items()}
        for trade_id in trade_ids:
            if trade_id not in found and (row := self.stored.find(trade_id)) is not None:
                found[trade_id] = KnownTrade({name: row[name] for name in SPINE_COLUMNS}, None)
        return found

    def stored_outcome(self, trade_id: str, column: str) -> Any:
        """One column of a stored trade, None where it is unknown."""
        found = self.stored.find(trade_id)
        return None if found is None else found[column]

    def label(self, trade_id: str) -> Label | None:
        """The label that a trade has by the stored tables and by the events told since."""
        found = self.stored.find(trade_id)
        held = None if found is None else stored_label(found)
        return label_of(told_labels(self.data.events_of(trade_id)), held=held)


def _trade_of(quote: Mapping[str, Any]) -> dict[str, Any]:
    # a quote stored before a column existed did not know it
    return dict.fromkeys(SPINE_COLUMNS) | dict(trade_from_json(quote["trade"]))


def stored_label(trade: Mapping[str, Any]) -> Label | None:
    """The label in a stored trade's row, None where it has none."""
    if trade["fraud"] is None:
        return None
    return Label(fraud=trade["fraud"], source=trade["label_source"], known_at=trade["fraud_known_at"])


def told_labels(events: Iterable[Mapping[str, Any]]) -> list[Label]:
    """The labels among the application data's events, in their order."""
    return [told_label(event) for event in events if event["kind"] in LABEL_KINDS]


def told_label(event: Mapping[str, Any]) -> Label:
    """The label that a fraud_confirmed or fraud_cleared event told."""
    source = event["body"].get("source", DEFAULT_SOURCE)
    return Label(fraud=event["kind"] == FRAUD_CONFIRMED, source=source, known_at=event["known_at"])


def stored_trades(tables: TableStore, trade_ids: Collection[str]) -> list[dict[str, Any]]:
    """Whole rows of stored trades, of those ids that exist; one pass over the file."""
    path = tables.path("trades")
    if path is None or not trade_ids:
        return []
    rows = pq.read_table(path, filters=pc.field("trade_id").isin(list(trade_ids))).to_pylist()
    return [dict.fromkeys(TRADES.schema.names) | row for row in rows]
