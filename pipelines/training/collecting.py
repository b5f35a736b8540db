"""Bring what the service has quoted and heard back into the tables, so that models learn from every trade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from features.table_store import TableStore
from features.tables import MARKET, TRADES, Table
from models.fraud.labels import Label, label_of
from pipelines.application_data import ApplicationData
from pipelines.live_log import trade_from_json
from pipelines.live_state import Held, TablesChanged, fingerprints, follow_tables
from pipelines.live_trades import LABEL_KINDS, stored_label, stored_trades, told_labels
from pipelines.training.merging import Join
from pipelines.training.work_folder import work_folder
from pipelines.workspace import Workspace

DECIDED_KINDS = ("accepted", "declined")
TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Collected:
    """How many trades and market rows of the service were brought into the tables. before, after: the tables'
    fingerprints around that, with nothing else in between. seq: number of the last record of the live log that the
    tables hold after it."""

    trades: int
    market: int
    before: dict[str, str]
    after: dict[str, str]
    seq: int

    @property
    def held(self) -> Held:
        """What the tables hold after it."""
        return Held(seq=self.seq, tables=self.after)


def collect(*, data: ApplicationData, store: TableStore) -> Collected:
    """Merge all quotes and events into the stored tables. Doing it twice changes nothing.

    An outcome counts from when it became known here, and never replaces one that became known later; of fraud labels
    the one holds that :func:`models.fraud.labels.label_of` says, beginning with the stored one. Of a trade's quotes
    those count that :func:`settled_answers` tells. Raises ImportLocked while an import runs.
    """
    recorded = data.recorded()
    events, answers = recorded.events, recorded.quotes
    if not events and not answers:
        now = fingerprints(store)
        return Collected(trades=0, market=0, before=now, after=now, seq=recorded.seq)
    with work_folder(store.root) as work:  # held from the first look: rows are written back whole
        recorded = data.recorded()
        events, answers = recorded.events, recorded.quotes
        before = fingerprints(store)
        trades, market = _live_rows(answers, events, stored=_stored(store, answers, events))
        if trades:
            _merge(store, TRADES, trades, work=work, whole=True)
        if market:
            _merge(store, MARKET, market, work=work)
        after = fingerprints(store)
    counts = {"trades": len(trades), "market": len(market)}
    return Collected(**counts, before=before, after=after, seq=recorded.seq)


def collect_workspace(workspace: Workspace) -> Collected:
    """Bring what the workspace's service recorded into its tables."""
    collected = collect(data=ApplicationData(workspace.application_url), store=workspace.tables)
    follow_tables(workspace.home, before=collected.before, after=collected.after)
    return collected


def with_collected(workspace: Workspace, work: Callable[[Held], T]) -> T:
    """Collect, and do something that needs the tables as they are then; again where they were changed meanwhile."""
    for _ in range(TRIES - 1):
        with suppress(TablesChanged):
            return work(collect_workspace(workspace).held)
    return work(collect_workspace(workspace).held)


def last_quotes(data: ApplicationData, *, store: TableStore) -> dict[str, Mapping[str, Any]]:
    """The answer that counts of each quoted trade: the last of :func:`settled_answers`."""
    answers, events = data.all_quotes(), data.all_events()
    counting = settled_answers(answers, events, stored=_stored(store, answers, events))
    return {row["trade_id"]: row["answer"] for row in counting}


def settled_answers(
    answers: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    *,
    stored: Mapping[str, Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """The quotes, in their order, that a trade's outcome answers: those given before its offer was last accepted or
    declined, else before its first label was known, by the events and the stored rows; and the one by which the trade
    became known. A later one was given with hindsight, and says nothing about what was decided."""
    decided: dict[str, list[datetime]] = {}
    labelled: dict[str, list[datetime]] = {}
    for event in events:
        kind = event["kind"]
        told = decided if kind in DECIDED_KINDS else labelled if kind in LABEL_KINDS else None
        if told is not None:
            told.setdefault(event["trade_id"], []).append(event["known_at"])
    for trade_id, row in stored.items():
        for moments, name in ((decided, "decided_at"), (labelled, "fraud_known_at")):
            if row[name] is not None:
                moments.setdefault(trade_id, []).append(row[name])
    until = {trade_id: min(moments) for trade_id, moments in labelled.items()}
    until |= {trade_id: max(moments) for trade_id, moments in decided.items()}
    return [
        row
        for row in answers
        if row["first"] or row["trade_id"] not in until or row["submitted_at"] <= until[row["trade_id"]]
    ]


def _stored(
    store: TableStore, answers: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Stored rows of the trades that were quoted or of which something was told."""
    ids = {row["trade_id"] for row in (*answers, *events)} - {None}
    return {row["trade_id"]: row for row in stored_trades(store, ids)}


def _live_rows(
    answers: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    *,
    stored: Mapping[str, Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of trades and of the market with everything recorded in them."""
    live = _quoted_trades(answers, settled_answers(answers, events, stored=stored), stored)
    market: dict[tuple[Any, ...], dict[str, Any]] = {}
    labels: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["kind"] == "market_observed":
            row = _market_row(event)
            market.setdefault(tuple(row[name] for name in MARKET.key), row)
        elif event["kind"] in LABEL_KINDS:
            labels.setdefault(event["trade_id"], []).append(event)
        elif event["trade_id"] in live:
            live[event["trade_id"]] |= _outcome(event, stored.get(event["trade_id"]))
    for trade_id in labels.keys() & live.keys():
        held = stored_label(live[trade_id])
        live[trade_id] |= _label_columns(label_of(told_labels(labels[trade_id]), held=held))
    return list(live.values()), list(market.values())


def _quoted_trades(
    answers: Sequence[Mapping[str, Any]],
    settled: Sequence[Mapping[str, Any]],
    stored: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Trades as rows: as stored, or as first submitted, with the last offer of the settled answers."""
    blank = dict.fromkeys(TRADES.schema.names)
    first = {row["trade_id"]: blank | dict(trade_from_json(row["trade"])) for row in answers if row["first"]}
    trades = first | {trade_id: dict(row) for trade_id, row in stored.items()}
    for row in settled:
        answer, trade = row["answer"], trades.get(row["trade_id"])
        if trade is not None:
            none = answer["decision"] == "refuse" or answer["no_offer"]  # nothing was offered
            trade["offered_rate"] = None if none else answer["rate"]
            trade["offer_density"] = None if none else answer["offer_density"]
            trade["offer_centre"] = None if none else answer.get("offer_centre")
            trade["decision"] = answer["decision"]
            trade["let_through"] = answer.get("let_through")
    return trades


def _merge(
    store: TableStore, table: Table, rows: list[dict[str, Any]], *, work: Path, whole: bool = False
) -> None:
    """Store rows. work: the folder of whoever holds the tables' lock. whole: each row says all there is to know about
    its key, so what it leaves out is unknown."""
    schema = table.schema.append(pa.field("_row", pa.int64()))
    numbered = [row | {"_row": number} for number, row in enumerate(rows, start=1)]
    incoming = work / f"live-{table.name}.parquet"
    pq.write_table(pa.Table.from_pylist(numbered, schema=schema), incoming)
    staged = store.staging(table.name)
    with Join(table, incoming=incoming, stored=store.path(table.name), work=work) as join:
        join.write(staged, whole=whole)
    store.publish(table.name, staged)


def _outcome(event: Mapping[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns an event fills, none where the stored trade already knows something newer."""
    at = event["known_at"]
    match event["kind"]:
        case kind if kind in DECIDED_KINDS:
            outcome = {"accepted": kind == "accepted", "decided_at": at}
        case "resold":
            outcome = {"resale_rate": event["body"]["rate"], "resold_at": at}
        case kind:
            raise ValueError(f"unknown event kind {kind}")
    known = None if stored is None else stored[list(outcome)[1]]
    return {} if known is not None and known > at else outcome


def _label_columns(label: Label | None) -> dict[str, Any]:
    if label is None:
        return {}
    return {"fraud": label.fraud, "fraud_known_at": label.known_at, "label_source": label.source}


def _market_row(event: Mapping[str, Any]) -> dict[str, Any]:
    body = event["body"]
    volume = body.get("volume")
    return {
        "observed_at": event["known_at"],
        "card_type": body["card_type"],
        "source": body["source"],
        "side": body["side"],
        "rate": body["rate"],
        "volume_fen": None if volume is None else volume["amount_fen"],
    }
