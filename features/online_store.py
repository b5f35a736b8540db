"""Where states live: Feast's settings for SQLite or Redis, and what each needs besides.

The functions take Feast's own online store, configuration and view (:class:`features.store.FeatureStore` has them).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from features.sqlite import STATE_CACHE_KIB, STATE_PAGE_BYTES, WAL_PAGES

PROJECT = "huika"
STATE_KEY = "entity_key"
STATE_FIELD = "state"
CACHED_KEYS = 20_000
"""Entity keys kept ready in the form that Feast takes for Redis: what is written was mostly read just before."""
_LENGTH_BYTES = 4
"""How long the length of a text is in Feast's form of a key."""
SCANNED_KEYS = 5_000
"""Keys of Redis asked for, and deleted, at a time."""
BUSY_MS = 10_000
"""How long a process waits for another one's write to the same SQLite file."""
CONNECT_SECONDS, ANSWER_SECONDS = 1, 2
"""A Redis that does not answer is given up within these; callers degrade rather than wait."""


class OnlineUrlError(ValueError):
    """The address of the online store cannot be used. The message never shows it: it may hold a password."""


def sqlite_section(folder: Path) -> dict[str, str | bool]:
    return {"type": "sqlite", "path": str(folder / "online.db")}


def redis_section(url: str) -> dict[str, str | bool]:
    """Feast's settings for a ``redis://`` address. Raises OnlineUrlError with the reason, never with the address."""
    try:
        parts = urlsplit(url)
        port, host = parts.port or 6379, parts.hostname
    except ValueError:
        # The original error would quote the address.
        raise OnlineUrlError(
            "online_url: the port is not a number; write % : / @ of a password as %25 …"
        ) from None
    database = parts.path.strip("/") or "0"
    if parts.scheme not in ("redis", "rediss"):
        raise OnlineUrlError("online_url: expected redis://[:password@]host:port/db, or rediss:// for TLS")
    if not host or ":" in host:
        raise OnlineUrlError("online_url: a host name or an IPv4 address is missing")
    if not database.isdecimal() or parts.query or parts.fragment:
        raise OnlineUrlError("online_url: after the port comes only the number of the database, as in /0")
    words = [f"{host}:{port}", f"db={database}"]
    words += ["ssl=true"] if parts.scheme == "rediss" else []
    for name, value in (("username", parts.username), ("password", parts.password)):
        words += [f"{name}={_one_word(unquote(value))}"] if value else []
    words += [f"socket_connect_timeout={CONNECT_SECONDS}", f"socket_timeout={ANSWER_SECONDS}"]
    # One writer orders the events, so Feast need not read the stored time before every write (by default a second
    # write with the same time is dropped).
    return {"type": "redis", "connection_string": ",".join(words), "skip_dedup": True}


def _one_word(value: str) -> str:
    """A value inside Feast's connection string, which it splits at commas and then reads as JSON."""
    return json.dumps(value).replace(",", "\\u002c")


def write_repository_file(folder: Path, online: Mapping[str, str | bool]) -> None:
    """`feature_store.yaml`, so that Feast's own commands work in this folder too. Only its owner may read it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"project: {PROJECT}",
        "provider: local",
        f"registry: {_quoted(str(folder / 'registry.db'))}",
        "online_store:",
        *(f"  {name}: {_quoted(value)}" for name, value in online.items()),
        "offline_store:",
        "  type: duckdb",
        "entity_key_serialization_version: 3",
    ]
    text, path = "\n".join(lines) + "\n", folder / "feature_store.yaml"
    if path.exists() and path.read_text() == text:
        path.chmod(0o600)
        return
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _quoted(value: str | bool) -> str:
    """A YAML scalar in which Feast finds no ``$NAME`` to replace from the environment."""
    return json.dumps(value).replace("$", "\\u0024")


def faults(*, redis: bool) -> tuple[type[Exception], ...]:
    if not redis:
        return (sqlite3.DatabaseError,)
    from redis.exceptions import RedisError

    return (RedisError, OSError)


class FeastStates:
    """States by key, read and written by Feast. bulk: millions of keys pass once and must not push out the hot ones."""

    def __init__(self, online: Any, config: Any, view: Any) -> None:
        self._online, self._config, self._view = online, config, view
        self._value = _value_maker()
        self._key = lru_cache(maxsize=CACHED_KEYS)(_entity_key_maker())

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        asked = [self._key(key) for key in keys]
        found = self._online.online_read(self._config, self._view, asked, [STATE_FIELD])
        return [_state_of(values) for _, values in found]

    def write(self, states: Iterable[tuple[str, bytes]], *, now: datetime, bulk: bool = False) -> None:
        key_of = self._key.__wrapped__ if bulk else self._key
        rows = [(key_of(key), {STATE_FIELD: self._value(bytes_val=data)}, now, None) for key, data in states]
        self._online.online_write_batch(self._config, self._view, rows, None)


class SqliteStates:
    """The same in the rows that Feast's SQLite store keeps, for a fifth of its time: of a row only the value is read,
    keys and values are put together without its messages, and many rows are one statement. Feast reads what is written
    here, and the other way."""

    def __init__(self, online: Any, config: Any, view: Any) -> None:
        from feast.infra.online_stores.sqlite import _quote_id, _table_id

        self._online, self._config = online, config
        self._key = _serialized_key_maker(config)
        self._tag = _value_maker()(bytes_val=b"").SerializeToString()[:1]
        table = _quote_id(
            _table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
        )
        self._read = f"SELECT entity_key, value FROM {table} WHERE feature_name = ? AND entity_key IN"
        self._write = (
            f"INSERT INTO {table} (entity_key, feature_name, value, event_ts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT(entity_key, feature_name) DO UPDATE SET value = excluded.value, event_ts = excluded.event_ts"
        )

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        asked = [self._key(key) for key in keys]
        statement = f"{self._read} ({','.join('?' * len(asked))})"
        rows = dict(self._online._get_conn(self._config).execute(statement, [STATE_FIELD, *asked]))
        return [_message_of(rows[key]) if key in rows else None for key in asked]

    def write(self, states: Iterable[tuple[str, bytes]], *, now: datetime, bulk: bool = False) -> None:
        time = int(
            now.astimezone(UTC).replace(tzinfo=None).timestamp()
        )  # as Feast writes it, local zone and all
        rows = [
            (self._key(key), STATE_FIELD, self._tag + _varint(len(data)) + data, time) for key, data in states
        ]
        connection = self._online._get_conn(self._config)
        with connection:
            connection.executemany(self._write, rows)


def _entity_key_maker() -> Callable[[str], Any]:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    value = _value_maker()
    return lambda key: EntityKey(join_keys=[STATE_KEY], entity_values=[value(string_val=key)])


def _serialized_key_maker(config: Any) -> Callable[[str], bytes]:
    from feast.infra.key_encoding_utils import serialize_entity_key

    # Feast's form of a key ends with its length and its text; what stands before is the same for all of them.
    nothing = serialize_entity_key(
        _entity_key_maker()(""), entity_key_serialization_version=config.entity_key_serialization_version
    )
    before = nothing[:-_LENGTH_BYTES]

    def serialized(key: str) -> bytes:
        text = key.encode()
        return before + len(text).to_bytes(_LENGTH_BYTES, "little") + text

    return serialized


@lru_cache(maxsize=10_000)
def _varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first, all but the last with the eighth bit set."""
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def _message_of(value: bytes) -> bytes:
    """The bytes in a Value of Feast that holds nothing else: they stand behind its tag and their length."""
    start = 2
    while value[start - 1] > 127:
        start += 1
    return value[start:]


def _value_maker() -> Any:
    from feast.protos.feast.types.Value_pb2 import Value

    return Value


def _state_of(values: Mapping[str, Any] | None) -> bytes | None:
    """The stored bytes; Redis answers a missing field with an empty value."""
    if not values:
        return None
    value = values[STATE_FIELD]
    return value.bytes_val if value.WhichOneof("val") else None


def prepare_sqlite(online: Any, config: Any, view: Any) -> None:
    """The table, and a connection on which readers and a writer do not stop each other.

    ``synchronous=NORMAL``: no fsync for each event. States are rebuilt from the log after a power failure.
    """
    connection = online._get_conn(config)
    pragmas = (
        f"busy_timeout={BUSY_MS}",
        f"page_size={STATE_PAGE_BYTES}",  # of a new file
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"cache_size=-{STATE_CACHE_KIB}",
    )
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    online.update(config, [], [view], [], [], True)


def sqlite_patience(online: Any, config: Any, seconds: float) -> None:
    """Wait no longer for another process's write, nor as a rule for the log to be moved into the file."""
    connection = online._get_conn(config)
    for pragma in (f"busy_timeout={int(seconds * 1000)}", f"wal_autocheckpoint={WAL_PAGES}"):
        connection.execute(f"PRAGMA {pragma}")


def redis_patience(online: Any, config: Any, seconds: float) -> None:
    """Wait no longer for an answer of the server, on connections opened from now on."""
    client = online._get_client(config.online_store)
    client.connection_pool.disconnect()
    client.connection_pool.connection_kwargs |= {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
    }


def clear_sqlite(online: Any, config: Any, view: Any) -> None:
    """Drop and make the table in one transaction.

    Feast's teardown deletes the file, which a reader in another process would not notice: it would go on reading
    the old states for ever.
    """
    connection = online._get_conn(config)
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        online.update(config, [view], [], [], [], True)
        online.update(config, [], [view], [], [], True)


def prepare_redis(online: Any, config: Any, view: Any) -> None:
    """One immediate retry (an idle connection may be gone), instead of three with seconds between them; and all of a
    write, or nothing of it."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = online._get_client(config.online_store)
    client.set_retry(Retry(NoBackoff(), 1))
    # Feast asks for pipelines without a transaction; ours change many states that belong together.
    pipeline = client.pipeline
    client.pipeline = lambda *_, **__: pipeline(transaction=True)


def clear_redis(online: Any, config: Any, view: Any) -> None:
    """Delete the state keys of this project, a few thousand at a time.

    Feast's teardown asks for ten keys at a time, holds all deletions in memory, and would also take the keys of a
    project whose name ends like this one's.
    """
    from feast.infra.key_encoding_utils import serialize_entity_key_prefix

    client, project = online._get_client(config.online_store), PROJECT.encode()
    prefix = serialize_entity_key_prefix([STATE_KEY], config.entity_key_serialization_version)
    start = len(prefix) + 8  # the value's type and length, 4 bytes each
    doomed: list[bytes] = []
    for key in client.scan_iter(match=prefix + b"*" + project, count=SCANNED_KEYS):
        length = int.from_bytes(key[start - 4 : start], "little")
        if key[start + length :] == project:
            doomed.append(key)
        if len(doomed) >= SCANNED_KEYS:
            client.unlink(*doomed)
            doomed.clear()
    if doomed:
        client.unlink(*doomed)
