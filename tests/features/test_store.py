"""The Feast store: states on SQLite and on Redis, training rows, and what its catalogue shows."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from features.online_store import FeastStates
from features.store import (
    BULK_STATES,
    MOST_KEYS,
    STATE_VIEW,
    FeatureStore,
    OnlineStoreUnavailable,
    OnlineUrlError,
    RowsLost,
    trade_view_name,
)
from pipelines.settings import Storage
from tests.redis_server import free_port, redis_server, redis_url

__all__ = ["redis_url"]  # a fixture: pytest finds it by its name here

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = 'a,b="7$HOME\\@:/%é'


@dataclass(frozen=True)
class Item:
    """One feature of the small registry below."""

    name: str
    kind: str = "number"
    family: str = "card"
    unit: str = "CNY"
    as_of: str = "trade"
    zh: str = "面值"
    null: str = "never"
    range: str = "[0, inf)"

    @property
    def meaning(self) -> str:
        return f"What {self.name} means"


class SmallRegistry:
    """The part of the registry that the store uses, with features chosen by the test."""

    def __init__(self, *items: Item, version: str = "0a1b2c3d") -> None:
        self._items, self._version = items, version

    def __iter__(self):
        return iter(self._items)

    def names(self, model: str | None = None) -> tuple[str, ...]:
        return tuple(item.name for item in self._items if model != "discount" or item.family == "card")

    def version(self) -> str:
        return self._version


REGISTRY = SmallRegistry(
    Item("face"), Item("age", family="seller", unit="s", null="first seen"), Item("kind", "category")
)


def training_table(rows: int, *, seed: int = 0) -> pa.Table:
    """Trades in time order: many at one microsecond, neighbours one microsecond apart, nulls in two columns."""
    rng = np.random.default_rng(seed)
    start = 1_767_225_600_123_457
    times = start + np.sort(rng.integers(0, max(rows // 3, 1), rows))
    age = rng.random(rows)
    return pa.table(
        {
            "trade_id": [f"T{number:07d}" for number in rng.permutation(rows)],
            "submitted_at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "face": rng.random(rows) * 1e6,
            "age": pa.array(age, mask=age < 0.3),
            "kind": pa.array(rng.choice(["a", "卡", None], rows), pa.string()),
        }
    )


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store for the tests of catalogue and training rows."""
    return FeatureStore(tmp_path_factory.mktemp("feast"))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    return FeatureStore(tmp_path_factory.mktemp(request.param), online_url=url)


@pytest.fixture
def store(opened: FeatureStore) -> FeatureStore:
    """An empty store on SQLite, then the same on Redis."""
    opened.clear_states()
    return opened


def registered(store: FeatureStore, table: pa.Table, path: Path) -> Path:
    names = {"submitted_at": "event_timestamp"}  # as training sets name it
    pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), path)
    store.register(registry=REGISTRY, training_set=path)
    return path


# --- online state ----------------------------------------------------------------------------------------


def test_states_come_back_in_the_order_of_their_keys(store):
    """Every key gets its own bytes, also empty and binary ones and repeated keys; an unknown key gets None."""
    states = {"seller=乙": b"\x00\xff" * 300, "ip=10.0.0.1": b"", "device=": b"d", "a=b=c": b"x"}
    store.write_states(states, now=NOW)
    keys = ["a=b=c", "device=none", *reversed(states), "a=b=c"]
    assert store.read_states(keys) == [states.get(key) for key in keys]
    assert store.read_states([]) == []


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000])
def test_feast_reads_what_is_written_and_its_writes_are_read(store, size):
    """States of any size, of any name, stand in the store as Feast keeps them, whoever wrote them."""
    feasts = FeastStates(store._online, store._config, store._view)
    ours, theirs = b"o" * size, b"t" * size
    keys = ["seller=b", "seller=a", f"seller=张三{'z' * size}", "seller=c"]
    store.write_states({"seller=a": ours, keys[2]: ours}, now=NOW)
    feasts.write([("seller=b", theirs)], now=NOW)
    assert feasts.read(keys) == store.read_states(keys) == [theirs, ours, ours, None]


def test_a_later_write_wins_also_at_the_same_or_an_earlier_time(store):
    """The writer orders events itself: what is written last is what is read."""
    for time, state in ((NOW, b"1"), (NOW, b"2"), (NOW - timedelta(hours=1), b"3")):
        store.write_states({"seller=1": state}, now=time)
        assert store.read_states(["seller=1"]) == [state]


def test_clearing_forgets_all_states_and_writing_goes_on(store):
    """After a clear nothing is found; the store goes on as an empty one."""
    store.write_states({f"seller={number}": b"s" for number in range(100)}, now=NOW)
    store.clear_states()
    assert store.read_states(["seller=1", "seller=99"]) == [None, None]
    store.write_states({"seller=1": b"new"}, now=NOW)
    assert store.read_states(["seller=1"]) == [b"new"]


def test_bulk_writing_and_reading_pass_every_state(store):
    """More states than one transaction and more keys than one read hold; the last of two writes of a key wins."""
    count = MOST_KEYS + BULK_STATES + 1
    pairs = [(f"seller={number}", str(number).encode()) for number in range(count)]
    assert store.write_many(iter([("seller=0", b"old"), *pairs]), now=NOW) == count + 1
    assert store.read_states([key for key, _ in pairs]) == [state for _, state in pairs]


def test_clearing_redis_leaves_what_is_not_ours(redis_url, tmp_path):
    """Other keys of the database stay, even those of a project whose name ends like ours."""
    import redis

    url = redis_url.removesuffix("0") + "5"
    store = FeatureStore(tmp_path, online_url=url)
    store.write_states({"seller=1": b"s"}, now=NOW)
    client = redis.Redis.from_url(url)
    (ours,) = client.keys("*huika")
    theirs = [ours.removesuffix(b"huika") + b"otherhuika", b"huika", b"session:1"]
    for key in theirs:
        client.set(key, b"kept")
    store.clear_states()
    assert sorted(client.keys()) == sorted(theirs)
    client.delete(*theirs)


OTHER_PROCESS = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from features.store import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
for number in range(1_000):
    store.write_states({f"seller={key}": b"%d" % number for key in range(8)}, now=datetime.now(UTC))
print(store.read_states(["seller=0"]), flush=True)
"""


def test_two_processes_share_the_sqlite_file(tmp_path):
    """While another process writes, this one reads and writes and clears; neither finds the file locked."""
    store = FeatureStore(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    store.write_states({"seller=0": b"before"}, now=NOW)
    store.clear_states()
    assert store.read_states(["seller=0"]) == [None]
    assert other.stdin is not None
    other.stdin.write("\n")
    other.stdin.close()
    while other.poll() is None:
        store.write_states({"device=1": b"d"}, now=NOW)
        states = store.read_states([f"seller={key}" for key in range(8)])
        assert len(set(states)) == 1  # one transaction is seen whole
    assert other.returncode == 0
    assert other.stdout.read() == "[b'999']\n"
    assert store.read_states(["seller=0"]) == [b"999"]


def test_an_unreachable_redis_is_named_and_its_password_is_not(tmp_path):
    """A store opens without its server; each use raises OnlineStoreUnavailable at once."""
    store = FeatureStore(tmp_path, online_url=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    for use in (
        lambda: store.read_states(["seller=1"]),
        lambda: store.write_states({"seller=1": b"s"}, now=NOW),
        lambda: store.write_many([("seller=1", b"s")], now=NOW),
        store.clear_states,
    ):
        with pytest.raises(OnlineStoreUnavailable, match="refused") as raised:
            use()
        assert "hunter2" not in str(raised.value)


def test_a_stopped_redis_is_named_and_found_again(tmp_path):
    """A server that goes away while the store is open is reported; its successor is used without reopening."""
    with redis_server(tmp_path) as port:
        store = FeatureStore(tmp_path / "feast", online_url=f"redis://127.0.0.1:{port}/0")
        store.write_states({"seller=1": b"s"}, now=NOW)
    with pytest.raises(OnlineStoreUnavailable):
        store.read_states(["seller=1"])


def test_a_broken_sqlite_file_is_named(tmp_path):
    """A table that another program took away is an unavailable store, not a stray database error."""
    store = FeatureStore(tmp_path)
    import sqlite3

    with sqlite3.connect(tmp_path / "online.db") as connection:
        connection.execute(f"DROP TABLE huika_{STATE_VIEW}")
    with pytest.raises(OnlineStoreUnavailable, match="no such table"):
        store.read_states(["seller=1"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "online.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OnlineStoreUnavailable, match="not a database"):
        FeatureStore(tmp_path / "broken")


def test_any_password_reaches_redis_and_only_the_owner_may_read_it(tmp_path):
    """Commas, quotes, dollars and numbers survive Feast's file; that file has mode 0600; a wrong one is unavailable."""
    from urllib.parse import quote

    for number, password in enumerate((SECRET, "123456", "1e5", "null")):
        with redis_server(tmp_path, password=password) as port:
            folder = tmp_path / str(number)
            store = FeatureStore(folder, online_url=f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/1")
            store.write_states({"seller=1": b"s"}, now=NOW)
            assert store.read_states(["seller=1"]) == [b"s"]
            assert stat.S_IMODE((folder / "feature_store.yaml").stat().st_mode) == 0o600
            wrong = FeatureStore(folder, online_url=f"redis://:hunter2@127.0.0.1:{port}/1")
            with pytest.raises(OnlineStoreUnavailable) as raised:
                wrong.read_states(["seller=1"])
            assert "hunter2" not in str(raised.value)


def test_an_old_readable_file_is_closed_to_others(tmp_path):
    """The settings file of Feast gets mode 0600 also where it exists with another."""
    for text in (None, "project: other\n"):
        FeatureStore(tmp_path)
        path = tmp_path / "feature_store.yaml"
        path.write_text(text or path.read_text())
        path.chmod(0o644)
        FeatureStore(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert yaml.safe_load(path.read_text())["project"] == "huika"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:hunter2@host/0", "expected redis://"),
        ("hunter2", "expected redis://"),
        ("redis://:hunter2@/0", "host"),
        ("redis://:hunter2@[::1]:6379/0", "host"),
        ("redis://:hunter2@host:port/0", "port"),
        ("redis://:hunt/er2@host:6379/0", "port"),
        ("redis://:hunter2@host:6379/one", "number of the database"),
        ("redis://:hunter2@host:6379/0?password=hunter2", "number of the database"),
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(tmp_path, url, reason):
    """The error says what is wrong and holds no part of the address; nothing is written."""
    with pytest.raises(OnlineUrlError, match=reason) as raised:
        FeatureStore(tmp_path / "feast", online_url=url)
    assert "hunt" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert not (tmp_path / "feast").exists()


def test_tls_and_user_reach_the_client(tmp_path):
    """``rediss://`` switches TLS on; user, database and time limits are handed over."""
    store = FeatureStore(tmp_path, online_url="rediss://me:pw@cache.example:6380/3")
    kwargs = store._online._get_client(store._config.online_store).connection_pool
    assert "SSL" in kwargs.connection_class.__name__
    wanted = {"host": "cache.example", "port": "6380", "db": 3, "username": "me", "password": "pw"}
    assert wanted.items() <= kwargs.connection_kwargs.items()
    assert kwargs.connection_kwargs["socket_timeout"] == 2


def test_the_setting_does_not_show_the_password():
    """The settings' text form leaves the address of the online store out."""
    assert "hunter2" not in repr(Storage(online_url="redis://:hunter2@host:6379/0"))


# --- training rows ---------------------------------------------------------------------------------------


def test_retrieved_rows_are_the_files_rows_in_the_spines_order(catalogue, tmp_path):
    """200,000 trades with equal and neighbouring microseconds and nulls, shuffled: every cell is the file's."""
    table = training_table(200_000)
    registered(catalogue, table, tmp_path / "set.parquet")
    order = np.random.default_rng(1).permutation(len(table))
    wanted = table.take(order)
    found = catalogue.retrieve(
        registry=REGISTRY, model="fraud", spine=wanted.select(["trade_id", "submitted_at"])
    )
    assert found.combine_chunks().equals(wanted.combine_chunks())


def test_a_model_gets_its_features_and_a_part_of_the_trades(catalogue, tmp_path):
    """The service of a model has the model's features only; a part of the trades gives that part."""
    table = training_table(1_000)
    registered(catalogue, table, tmp_path / "set.parquet")
    spine = table.select(["trade_id", "submitted_at"]).slice(100, 50)
    found = catalogue.retrieve(registry=REGISTRY, model="discount", spine=spine)
    assert found.column_names == ["trade_id", "submitted_at", "face", "kind"]
    assert found["face"].to_pylist() == table["face"].slice(100, 50).to_pylist()


def test_registering_another_file_points_the_view_at_it(catalogue, tmp_path):
    """The same definitions over a second training set: its values are retrieved."""
    registered(catalogue, training_table(100), tmp_path / "one.parquet")
    other = training_table(100, seed=5)
    registered(catalogue, other, tmp_path / "two.parquet")
    found = catalogue.retrieve(
        registry=REGISTRY, model="fraud", spine=other.select(["trade_id", "submitted_at"])
    )
    assert found["face"].to_pylist() == other["face"].to_pylist()


def test_trades_that_the_training_set_does_not_hold_are_refused(catalogue, tmp_path):
    """A trade outside the file, or asked for before its time, is an error and not a row of nulls."""
    table = training_table(100)
    registered(catalogue, table.slice(0, 99), tmp_path / "set.parquet")
    spine = table.select(["trade_id", "submitted_at"])
    with pytest.raises(RowsLost, match="1 trades"):
        catalogue.retrieve(registry=REGISTRY, model="fraud", spine=spine)
    earlier = pc.subtract(spine["submitted_at"], pa.scalar(timedelta(microseconds=1)))
    early = spine.set_column(1, "submitted_at", earlier).slice(0, 99)
    with pytest.raises(RowsLost, match="99 trades"):
        catalogue.retrieve(registry=REGISTRY, model="fraud", spine=early)


# --- catalogue -------------------------------------------------------------------------------------------


def dataset(store: FeatureStore, path: Path, rows: int) -> str:
    return store.save_dataset(
        registry=REGISTRY, model="fraud", fingerprint="00ff", path=path, rows=rows, until=NOW
    )


def test_the_catalogue_describes_every_feature(catalogue, tmp_path):
    """The view has one field a feature with its meaning, family, unit, as-of rule, null, range and Chinese name."""
    registered(catalogue, training_table(10), tmp_path / "set.parquet")
    view = catalogue._store.get_feature_view(trade_view_name(REGISTRY))
    fields = {field.name: field for field in view.features}
    assert set(fields) == set(REGISTRY.names())
    assert fields["age"].description == "What age means"
    assert fields["age"].tags == {
        "family": "seller",
        "unit": "s",
        "as_of": "trade",
        "zh": "面值",
        "null": "first seen",
        "range": "[0, inf)",
    }
    services = {service.name: service for service in catalogue._store.list_feature_services()}
    assert set(services) == {"discount_0a1b2c3d", "fraud_0a1b2c3d"}


def test_a_saved_data_set_is_declared_once_over_the_file(catalogue, tmp_path):
    """Saving twice leaves one data set; it names the file, the service, the rows and the period; no second file."""
    table = training_table(500)
    path = registered(catalogue, table, tmp_path / "00ff.parquet")
    assert [dataset(catalogue, path, 500) for _ in range(2)] == ["fraud_00ff"] * 2
    (found,) = catalogue._store.list_saved_datasets()
    assert found.storage.file_options.uri == str(path)
    assert found.feature_service_name == "fraud_0a1b2c3d"
    assert found.tags == {
        "definitions": "0a1b2c3d",
        "fingerprint": "00ff",
        "rows": "500",
        "until": NOW.isoformat(),
    }
    first, last = pc.min_max(table["submitted_at"]).as_py().values()
    assert found.min_event_timestamp.replace(tzinfo=UTC) == first
    assert found.max_event_timestamp.replace(tzinfo=UTC) == last
    assert [file.name for file in tmp_path.iterdir()] == ["00ff.parquet"]
    read_back = catalogue._store.get_saved_dataset("fraud_00ff").to_arrow()
    assert sorted(read_back["trade_id"].to_pylist()) == sorted(table["trade_id"].to_pylist())


def test_feasts_own_command_shows_the_objects(tmp_path):
    """``feast entities|feature-views|feature-services|saved-datasets list`` in the folder print what was declared."""
    store = FeatureStore(tmp_path / "feast")
    path = registered(store, training_table(10), tmp_path / "00ff.parquet")
    dataset(store, path, 10)
    # One process for the four commands: importing Feast is what costs.
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from feast.cli.cli import cli\n"
            "for group in ('entities', 'feature-views', 'feature-services', 'saved-datasets'):\n"
            "    cli([group, 'list'], standalone_mode=False)",
        ],
        cwd=tmp_path / "feast",
        capture_output=True,
        text=True,
        check=True,
    )
    shown = set(run.stdout.split())
    assert {"trade", "entity", "trade_features_0a1b2c3d", STATE_VIEW} <= shown
    assert {"discount_0a1b2c3d", "fraud_0a1b2c3d", "fraud_00ff"} <= shown
