"""What the service said and heard comes into the tables as it was decided, and undoes nobody's import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from features.tables import TRADES
from pipelines.application_data import ApplicationData, events, quotes
from pipelines.live_state import STAMP, fingerprints
from pipelines.training import collecting
from pipelines.training.import_problems import ImportLocked
from pipelines.training.work_folder import work_folder
from pipelines.workspace import Workspace

START = datetime(2026, 1, 5, tzinfo=UTC)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "home")


@pytest.fixture
def data(home: Workspace) -> ApplicationData:
    return ApplicationData(home.application_url)


def trade(at: float = 0) -> dict[str, Any]:
    usual = {"trade_id": "t", "seller_id": "s", "card_type": "jd_ecard", "face_value_fen": 10_000}
    return dict.fromkeys(TRADES.schema.names) | usual | {"submitted_at": hour(at)}


def quoted(
    data: ApplicationData, at: float, decision: str, rate: float, *, let_through: float | None = None
) -> None:
    """A quote of the trade some hours after START; the first one makes it known."""
    spine = {name: trade(at)[name] for name in SPINE_COLUMNS} | {"submitted_at": hour(at).isoformat()}
    answer = {"decision": decision, "no_offer": False, "rate": rate, "let_through": let_through}
    answer |= {"offer_density": 10 * rate, "offer_centre": rate + 0.01, "fraud_probability": 1 - rate}
    with data.transaction() as connection:
        connection.execute(
            sa.insert(quotes).values(
                client_id="",
                quote_id=f"q{at}",
                trade_id="t",
                submitted_at=hour(at),
                valid_until=hour(at + 1),
                first=at == 0,
                trade=spine,
                answer=answer,
            )
        )


def told(data: ApplicationData, at: float, kind: str) -> None:
    """An event of the trade."""
    with data.transaction() as connection:
        connection.execute(
            sa.insert(events).values(
                event_id=f"e{at}",
                kind=kind,
                trade_id="t",
                happened_at=hour(at),
                known_at=hour(at),
                body={"source": "issuer"},
            )
        )


def put(store: TableStore, *rows: dict[str, Any]) -> None:
    """Make these the stored trades."""
    staged = store.staging("trades")
    pq.write_table(pa.Table.from_pylist(list(rows), schema=TRADES.schema), staged)
    store.publish("trades", staged)


def row_of(home: Workspace, data: ApplicationData) -> dict[str, Any]:
    """The trade's row once collected."""
    collecting.collect(data=data, store=home.tables)
    (row,) = home.tables.read("trades").to_pylist()
    return row


@pytest.mark.parametrize("outcome", ["accepted", "declined", "fraud_confirmed", "fraud_cleared"])
def test_asking_again_after_the_outcome_rewrites_nothing(home, data, outcome):
    """The last quote before the offer was accepted, declined or, where neither is known, labelled is what was decided:
    in the tables, also when collected again, and in what the report calls said."""
    quoted(data, 0, "review", 0.80)
    quoted(data, 1, "pay", 0.85, let_through=0.1)
    told(data, 2, outcome)
    quoted(data, 3, "refuse", 0.30)
    for _ in range(2):
        row = row_of(home, data)
        assert (row["decision"], row["let_through"]) == ("pay", 0.1)
        assert row["offered_rate"] == 0.85
        assert (row["offer_density"], row["offer_centre"]) == pytest.approx((8.5, 0.86))
        said = collecting.last_quotes(data, store=home.tables)
        assert (said["t"]["decision"], said["t"]["rate"]) == ("pay", 0.85)


def test_a_declined_offer_may_be_followed_by_one_that_is_accepted(home, data):
    """The acceptance is of the second offer; a label between them says nothing about which."""
    quoted(data, 0, "review", 0.80)
    told(data, 1, "declined")
    told(data, 2, "fraud_cleared")
    quoted(data, 3, "pay", 0.90)
    told(data, 4, "accepted")
    quoted(data, 5, "refuse", 0.30)
    row = row_of(home, data)
    assert (row["accepted"], row["decision"], row["offered_rate"]) == (True, "pay", 0.90)


def test_without_an_outcome_the_last_quote_counts(home, data):
    """Nothing is known yet: asking again changes the offer."""
    quoted(data, 0, "review", 0.80)
    quoted(data, 3, "pay", 0.90)
    assert row_of(home, data)["offered_rate"] == 0.90


@pytest.mark.parametrize("known", ["decided_at", "fraud_known_at"])
def test_the_log_of_an_imported_trade_is_not_rewritten_by_asking_later(home, data, known):
    """A trade that came with its outcome keeps its decision and offer; the report takes the log's decision too."""
    outcome = {"accepted": True} if known == "decided_at" else {"fraud": True, "label_source": "issuer"}
    put(home.tables, trade() | outcome | {known: hour(1), "decision": "pay", "offered_rate": 0.7})
    quoted(data, 2, "refuse", 0.30)
    row = row_of(home, data)
    assert (row["decision"], row["offered_rate"]) == ("pay", 0.7)
    assert collecting.last_quotes(data, store=home.tables) == {}


def test_an_import_that_ends_meanwhile_is_not_undone(home, data, monkeypatch):
    """Between reading rows and writing them back no import can publish; what it brings afterwards stays."""
    put(home.tables, trade())
    told(data, 1, "accepted")
    refused = []

    def imported() -> None:
        with work_folder(home.tables.root):
            put(home.tables, trade() | {"device_id": "imported"})

    def read_while_importing(tables: TableStore, ids: Any) -> list[dict[str, Any]]:
        found = whole(tables, ids)
        try:
            imported()
        except ImportLocked as error:
            refused.append(error)
        return found

    whole = collecting.stored_trades
    monkeypatch.setattr(collecting, "stored_trades", read_while_importing)
    collecting.collect(data=data, store=home.tables)
    monkeypatch.undo()
    if refused:
        imported()
    row = row_of(home, data)
    assert (row["device_id"], row["accepted"]) == ("imported", True)


def test_the_live_state_is_not_said_to_hold_an_import_that_came_first(home, data, monkeypatch):
    """An import that publishes just before collecting begins is no part of what was collected: the live state that
    stood for the tables before it must be rebuilt."""
    put(home.tables, trade())
    told(data, 1, "accepted")
    (home.home / STAMP).write_text(json.dumps({"tables": fingerprints(home.tables)}))

    @contextmanager
    def after_an_import(root: Path) -> Iterator[Path]:
        put(home.tables, trade() | {"device_id": "imported"})
        with work_folder(root) as work:
            yield work

    monkeypatch.setattr(collecting, "work_folder", after_an_import)
    collecting.collect_workspace(home)
    assert json.loads((home.home / STAMP).read_text())["tables"] != fingerprints(home.tables)
    monkeypatch.undo()
    (home.home / STAMP).write_text(json.dumps({"tables": fingerprints(home.tables)}))
    told(data, 2, "fraud_confirmed")
    collecting.collect_workspace(home)
    assert json.loads((home.home / STAMP).read_text())["tables"] == fingerprints(home.tables)
