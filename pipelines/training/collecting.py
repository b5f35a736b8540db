"""Bring what the service has quoted and heard back into the tables, so that models learn from every trade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.table_store import TableStore
from features.tables import MARKET, TRADES, Table
from pipelines.application_data import ApplicationData
from pipelines.live_trades import stored_trades, trade_from_json
from pipelines.training.merging import Join
from pipelines.training.work_folder import work_folder


@dataclass(frozen=True)
class Collected:
    """How many trades and market rows of the service were brought into the tables."""

    trades: int
    market: int


def collect(*, data: ApplicationData, store: TableStore) -> Collected:
    """Merge all quotes and events into the stored tables. Doing it twice changes nothing."""
    events = data.all_events()
    trades = {row["trade_id"]: _trade(row) for row in data.all_quotes()}
    imported = {event["trade_id"] for event in events} - set(trades) - {None}
    trades |= {row["trade_id"]: row for row in stored_trades(store, imported)}
    market = []
    for event in events:
        if event["kind"] == "market_observed":
            market.append(_market_row(event))
        elif event["trade_id"] in trades:
            trades[event["trade_id"]] |= _outcome(event)
    if trades:
        _merge(store, TRADES, list(trades.values()))
    if market:
        _merge(store, MARKET, market)
    return Collected(trades=len(trades), market=len(market))


def _merge(store: TableStore, table: Table, rows: list[dict[str, Any]]) -> None:
    schema = table.schema.append(pa.field("_row", pa.int64()))
    numbered = [row | {"_row": number} for number, row in enumerate(rows, start=1)]
    with work_folder(store.root) as work:
        incoming = work / f"live-{table.name}.parquet"
        pq.write_table(pa.Table.from_pylist(numbered, schema=schema), incoming)
        staged = store.staging(table.name)
        with Join(table, incoming=incoming, stored=store.path(table.name), work=work) as join:
            join.write(staged)
        store.publish(table.name, staged)


def _trade(row: Mapping[str, Any]) -> dict[str, Any]:
    """A quote as a row of trades: the trade as submitted and the offer made."""
    trade = trade_from_json(row["trade"])
    answer = row["answer"]
    refused = answer["decision"] == "refuse"  # a refused seller was made no offer
    return trade | {
        "offered_rate": None if refused else answer["rate"],
        "offer_density": None if refused else answer["offer_density"],
    }


def _outcome(event: Mapping[str, Any]) -> dict[str, Any]:
    at = event["happened_at"]
    match event["kind"]:
        case "accepted" | "declined":
            return {"accepted": event["kind"] == "accepted", "decided_at": at}
        case "resold":
            return {"resale_rate": event["body"]["rate"], "resold_at": at}
        case "fraud_confirmed" | "fraud_cleared":
            return {"fraud": event["kind"] == "fraud_confirmed", "fraud_known_at": at}
    raise ValueError(f"unknown event kind {event['kind']}")


def _market_row(event: Mapping[str, Any]) -> dict[str, Any]:
    body = event["body"]
    volume = body.get("volume")
    return {
        "observed_at": event["happened_at"],
        "card_type": body["card_type"],
        "source": body["source"],
        "side": body["side"],
        "rate": body["rate"],
        "volume_fen": None if volume is None else volume["amount_fen"],
    }
