"""Rebuild the live state of every entity from the stored tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue
from features.facts import ENTITIES, SPINE_COLUMNS, rate_to_ppm
from features.online import StateStore, kind_keys, submission_row, to_microseconds
from features.state import State
from features.windows import LONGEST

BATCH = 20_000
_COLUMNS = (*SPINE_COLUMNS, "accepted", "decided_at", "resale_rate", "resold_at", "fraud", "fraud_known_at")


def backfill(
    *,
    states: StateStore,
    trades: pa.Table,
    market: pa.Table,
    catalogue: Catalogue,
    now: datetime,
    progress: Callable[[int, int], None],
) -> int:
    """Write the states of all entities as of ``now``; returns how many. ``progress(done, total)`` in trades."""
    book = _Book(catalogue=catalogue, now=to_microseconds(now))
    for done, trade in enumerate(_rows(trades.select(_COLUMNS)), start=1):
        book.add_trade(trade)
        if done % BATCH == 0:
            progress(done, len(trades))
    recent = market.filter(pc.greater_equal(market["observed_at"].cast(pa.int64()), book.now - LONGEST))
    for row in _rows(recent):
        book.add_bid(row)
    for keys in _chunks(list(book.states), BATCH):
        for key in keys:
            book.states[key].fold(book.now)
        states.write_states({key: book.states[key].encode() for key in keys}, now=now)
    progress(len(trades), len(trades))
    return len(book.states)


class _Book:
    """States in memory while history is replayed; old events are folded on the way to keep them small."""

    def __init__(self, *, catalogue: Catalogue, now: int) -> None:
        self.states: dict[str, State] = {}
        self.now = now
        self._catalogue = catalogue
        self._kind_keys: dict[str, list[str]] = {}

    def add_trade(self, trade: dict[str, Any]) -> None:
        row = submission_row(trade)
        label = (trade["fraud_known_at"], trade["fraud"])
        for kind, column in ENTITIES.items():
            if trade[column] is None:
                continue
            state = self._state(f"{kind}={trade[column]}")
            state.submissions.append(row)
            if None not in label:
                state.labels.append([trade["trade_id"], to_microseconds(label[0]), int(label[1])])
            if kind == "seller" and trade["accepted"] and trade["decided_at"] is not None:
                state.acceptances.append([trade["trade_id"], to_microseconds(trade["decided_at"])])
            if int(state.submissions[0][1] or 0) < self.now - LONGEST:
                state.fold(self.now)
        self._add_to_kinds(trade)

    def _add_to_kinds(self, trade: dict[str, Any]) -> None:
        card_type = trade["card_type"]
        if card_type not in self._kind_keys:
            self._kind_keys[card_type] = kind_keys(card_type, self._catalogue)
        for key in self._kind_keys[card_type]:
            state = self._state(key)
            if trade["fraud"] is not None and trade["fraud_known_at"] is not None:
                known_at = to_microseconds(trade["fraud_known_at"])
                state.add_to_day(known_at, labels=1, frauds=int(trade["fraud"]))
            if trade["resale_rate"] is not None and trade["resold_at"] is not None:
                ppm = rate_to_ppm(trade["resale_rate"])
                state.add_to_day(to_microseconds(trade["resold_at"]), resales=1, ppm=ppm)

    def add_bid(self, row: dict[str, Any]) -> None:
        self._state(f"card_type={row['card_type']}").bids.append(
            [to_microseconds(row["observed_at"]), row["source"], row["side"], rate_to_ppm(row["rate"])]
        )

    def _state(self, key: str) -> State:
        return self.states.setdefault(key, State())


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=BATCH):
        yield from batch.to_pylist()


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
