"""The features that quotes were answered from, kept with the quotes: exact values, and which records they had seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from features.online import Answer
from features.registry import Registry
from models.matrix import getter
from pipelines.application_data import ApplicationData, feature_lists, insert_once, quote_features, quotes

_INSERT = sa.insert(quote_features)


@dataclass(frozen=True)
class LoggedFeatures:
    """What one quote was answered from. columns: ``name@version`` of each value; seq: last record of the live log
    that had been told."""

    quote_id: str
    trade_id: str
    seq: int
    columns: tuple[str, ...]
    values: tuple[float | str | None, ...]


class FeatureLog:
    """Writes and reads the features of quotes. The list of columns is written once for all quotes that share it."""

    def __init__(self, *, data: ApplicationData, registry: Registry, names: Sequence[str]) -> None:
        self._data = data
        self._values = getter(names)
        self._columns = registry.pinned(names)
        self._list_id = hashlib.sha256(" ".join(self._columns).encode()).hexdigest()[:16]
        self._list_is_kept = False

    def prepare(self) -> None:
        """Keep the list of columns, before the first features that are written by it."""
        if self._list_is_kept:
            return
        with self._data.transaction() as connection:
            insert_once(connection, feature_lists, {"list_id": self._list_id, "names": list(self._columns)})
        self._list_is_kept = True

    def write(
        self, connection: sa.Connection, found: Iterable[tuple[str, Mapping[str, Any], Answer]]
    ) -> None:
        """Keep the features of quotes (quote_id, trade, answer), in the transaction that keeps the quotes and after
        :meth:`prepare`."""
        rows = [
            {
                "quote_id": quote_id,
                "trade_id": trade["trade_id"],
                "submitted_at": trade["submitted_at"],
                "seq": answer.seq,
                "list_id": self._list_id,
                "values": msgspec.msgpack.encode(self._values(answer.values)),
            }
            for quote_id, trade, answer in found
        ]
        connection.execute(_INSERT, rows)


def features_of_quote(data: ApplicationData, quote_id: str) -> LoggedFeatures | None:
    """The features of one quote, None where none were kept."""
    rows = data.rows(sa.select(quote_features).where(quote_features.c.quote_id == quote_id))
    if not rows:
        return None
    names = data.rows(sa.select(feature_lists).where(feature_lists.c.list_id == rows[0]["list_id"]))
    return logged_of(rows[0], {row["list_id"]: tuple(row["names"]) for row in names})


def logged_features(data: ApplicationData, *, newest: int) -> list[LoggedFeatures]:
    """Features of the first quote of each trade (a later one is a question about the same submission), of the
    ``newest`` trades at most, oldest first."""
    lists = {row["list_id"]: tuple(row["names"]) for row in data.rows(sa.select(feature_lists))}
    first = (
        sa.select(quote_features)
        .join(quotes, quotes.c.quote_id == quote_features.c.quote_id)
        .where(quotes.c.first)
    )
    chosen = first.order_by(quote_features.c.seq.desc(), quote_features.c.quote_id).limit(newest)
    return [logged_of(row, lists) for row in reversed(data.rows(chosen))]


def logged_of(row: Mapping[str, Any], lists: Mapping[str, tuple[str, ...]]) -> LoggedFeatures:
    """A row of ``quote_features``; lists: the names of each list of columns by its id."""
    return LoggedFeatures(
        quote_id=row["quote_id"],
        trade_id=row["trade_id"],
        seq=row["seq"],
        columns=lists[row["list_id"]],
        values=tuple(msgspec.msgpack.decode(row["values"])),
    )
