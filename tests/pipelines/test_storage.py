"""Storage: addresses, one holder of a lock, what a database does to us when it is away, hangs or is emptied."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from pipelines.application_data import ApplicationData, board_prices, live_log, replies
from pipelines.databases import DatabaseAway, await_database, open_engine
from pipelines.live_state import Held, TablesChanged, open_live_log, rebuild_live_state, states_missing
from pipelines.retention import prune
from pipelines.screening.list_data import REFRESH, Entry, ListData, ListReader
from pipelines.settings import Retention, database_url, load_settings
from pipelines.training.collecting import with_collected
from pipelines.wiring import feature_store
from serving.commands.bench_servers import PostgresServer, free_port
from tests.conftest import TODAY
from tests.hasty import as_careful_as_ever

NOWHERE = "postgresql://nobody:secret-marker@127.0.0.1:{port}/none"


@pytest.fixture(params=["sqlite", "postgresql"])
def data(request, tmp_path) -> ApplicationData:
    """An empty application database of each kind."""
    if request.param == "sqlite":
        return ApplicationData(f"sqlite:///{tmp_path / 'huika.db'}")
    return ApplicationData(request.getfixturevalue("postgres_url"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgresql://u:p@host/db", "postgresql+psycopg://u:p@host/db"),
        ("postgres://host/db", "postgresql+psycopg://host/db"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("sqlite:////tmp/huika.db", "sqlite:////tmp/huika.db"),
        ("", ""),
    ],
)
def test_addresses_mean_the_installed_driver(given, meant, tmp_path):
    """What a user writes as PostgreSQL's address is taken with psycopg 3, in the settings too."""
    assert database_url(given) == meant
    path = tmp_path / "huika.toml"
    path.write_text(f'[storage]\napplication_url = "{given}"\nmlflow_url = "{given}"\n')
    storage = load_settings(path).storage
    assert (storage.application_url, storage.mlflow_url) == (meant, meant)
    assert "u:p" not in repr(storage)


def test_what_was_acknowledged_survives_a_power_cut(tmp_path):
    """SQLite answers a commit when its write-ahead log is on the disk (``synchronous=FULL``, which is 2)."""
    with as_careful_as_ever(), open_engine(f"sqlite:///{tmp_path / 'huika.db'}").connect() as connection:
        told = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert told == ["wal", 2]


def test_records_of_one_snapshot_belong_together(data):
    """The number of the last record, and the quotes and events, are as of one moment."""
    with data.transaction() as connection:
        data.append_to_log(connection, once="a", kind="observed", body={})
    found = data.recorded()
    assert (found.quotes, found.events, found.seq) == ([], [], data.log_head)
    assert found.seq > 0


def test_records_appended_together_are_told_their_numbers(data):
    """In their order, also behind records that were refused and took numbers with them."""

    def records(*names: str) -> list[dict[str, Any]]:
        return [{"once": name, "kind": "observed", "body": {}} for name in names]

    with data.transaction() as connection:
        data.append_to_log(connection, once="known", kind="observed", body={})
    with pytest.raises(IntegrityError), data.transaction() as connection:
        data.append_all_to_log(connection, records("refused", "known"))
    names = [f"new {number}" for number in range(50)]
    with data.transaction() as connection:
        numbers = data.append_all_to_log(connection, records(*names))
    assert {row["seq"]: row["once"] for row in data.log_after(numbers[0] - 1, limit=100)} == dict(
        zip(numbers, names, strict=True)
    )


def test_a_record_is_seen_whole_or_not_at_all(data):
    """A snapshot taken while a writer is between its two inserts sees neither."""
    with data.transaction() as connection:
        data.append_to_log(connection, once="a", kind="observed", body={})
        connection.execute(
            sa.insert(board_prices).values(card_type="x", shown_at=TODAY, rate=0.9),
        )
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(data.recorded().seq))
        reader.start()
        reader.join(timeout=10)
    assert seen == [0]


def test_one_holder_of_a_lock(postgres_url):
    """A second machine waits for the lock of the first; one that died holds nothing."""
    first, second = ApplicationData(postgres_url), ApplicationData(postgres_url, answer_seconds=0.5)
    with first.lock(1):
        with pytest.raises(DBAPIError), second.lock(1):
            pytest.fail("both hold it")
        with second.lock(2):
            pass
    with second.lock(1):
        pass
    dying = first.lock(1)
    dying.__enter__()
    with second.transaction() as connection:
        connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        )
    with second.lock(1):
        pass
    dying.__exit__(None, None, None)  # what was done under the lock stands


def test_a_database_that_is_away_is_said_to_be(caplog):
    """Nobody waits for long, and no message holds the address."""
    url = NOWHERE.format(port=free_port())
    with pytest.raises(DatabaseAway) as away:
        await_database(url, seconds=0)
    with pytest.raises(DBAPIError) as refused:
        ApplicationData(url, answer_seconds=1)
    assert "secret-marker" not in f"{away.value}{refused.value}{caplog.text}"


def test_a_database_that_hangs_is_given_up(postgres_server: PostgresServer, postgres_url):
    """A server that stands still costs one wait, then callers are turned away at once; afterwards all is well."""
    data = ApplicationData(postgres_url, answer_seconds=0.3)
    assert data.log_head == 0
    postgres_server.process.pause()
    try:
        with pytest.raises(DBAPIError):
            data.rows(sa.select(live_log))
        began = time.monotonic()
        with pytest.raises(DBAPIError):
            data.rows(sa.select(live_log))
        assert time.monotonic() - began < 0.3
    finally:
        postgres_server.process.resume()
    end = time.monotonic() + 20
    while time.monotonic() < end:  # callers are turned away for some seconds yet
        with suppress(DBAPIError):
            assert data.log_head == 0
            return
        time.sleep(0.1)
    pytest.fail("nobody was let in again")


def test_a_statement_that_takes_too_long_ends(postgres_url):
    """The service's connections give a statement up; those of commands do not."""
    query = sa.select(sa.func.pg_sleep(0.6))
    with pytest.raises(DBAPIError), open_engine(postgres_url, answer_seconds=0.3).connect() as connection:
        connection.execute(query)
    with open_engine(postgres_url).connect() as connection:
        connection.execute(query)


def test_lists_hold_while_the_database_is_away(data, monkeypatch):
    """A block that was known stays known; the first look must succeed."""
    lists = ListData.open(data)
    lists.write([Entry("block", "seller", "s-1", "li", "chargebacks")], now=TODAY)
    reader, unread = ListReader(lists), ListReader(lists)
    reader.refresh(now=TODAY)

    def away(*_: object) -> None:
        raise DBAPIError("", None, OSError())

    monkeypatch.setattr(ApplicationData, "rows", away)
    reader.refresh(now=TODAY + REFRESH)
    assert reader.lists.last(list="block", kind="seller", value="s-1") is not None
    with pytest.raises(DBAPIError):
        unread.refresh(now=TODAY)


def test_what_is_old_is_pruned_and_nothing_else(data):
    """Old answers and board prices go, page by page; 0 days keep for ever."""
    rows = [
        {
            "idempotency_key": f"key-{number:04}",
            "route": "/v1/quotes",
            "request_sha256": "",
            "status": 200,
            "body": {},
            "created_at": TODAY - timedelta(days=number % 40),
        }
        for number in range(4_100)
    ]
    with data.transaction() as connection:
        connection.execute(sa.insert(replies), rows)
        price = {"card_type": "x", "shown_at": TODAY - timedelta(days=500), "rate": 0.9}
        connection.execute(sa.insert(board_prices).values(**price))
    retention = Retention(replies_days=30, board_days=0)
    deleted = prune(data, retention, now=TODAY)
    assert deleted["replies"] == sum(number % 40 > 30 for number in range(4_100))
    assert "board_prices" not in deleted
    assert prune(data, retention, now=TODAY)["replies"] == 0
    oldest = min(row["created_at"] for row in data.rows(sa.select(replies)))
    assert oldest == TODAY - timedelta(days=30)
    assert len(data.rows(sa.select(board_prices))) == 1


def _live(workspace):
    store = feature_store(workspace)
    data = ApplicationData(workspace.application_url)
    return open_live_log(workspace, store=store, data=data), store


def test_states_are_rebuilt_from_tables_that_stood_still(own_tables):
    """States of tables that were changed meanwhile are refused, for they would count records twice."""
    log, store = _live(own_tables)
    assert states_missing(log)
    parts = {"log": log, "store": store, "now": datetime.now(UTC), "progress": lambda done, total: None}
    with pytest.raises(TablesChanged):
        rebuild_live_state(own_tables, held=Held(seq=0, tables={}), **parts)
    written = with_collected(own_tables, lambda held: rebuild_live_state(own_tables, held=held, **parts))
    assert written > 0
    assert not states_missing(log)


def test_models_are_registered_on_postgresql(postgres_url, workspace, tmp_path):
    """A model registered on a PostgreSQL registry is found by its alias with the files it was registered with."""
    from models.registry import ModelRegistry, Submission, digest
    from pipelines.wiring import model_registry

    trained = model_registry(workspace)
    source = trained.folder(trained.version("fraud", "champion"))
    registry = ModelRegistry(url=database_url(postgres_url), artifacts=tmp_path / "artifacts")
    example = pd.DataFrame({"x": [1.0]})
    submission = Submission(
        name="fraud",
        folder=source,
        loader="models.fraud.pyfunc",
        example=example,
        params={},
        metrics={"auc": 0.9},
        plots=(),
        tags={},
    )
    version = registry.register(submission, alias="challenger")
    assert registry.version("fraud", "challenger").metrics == {"auc": 0.9}
    assert digest(registry.folder(version)) == digest(source)
    assert registry.aliases() == {"fraud": {"challenger": version.version}}
