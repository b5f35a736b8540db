"""Where states live: Feast's settings for SQLite or Redis, and what each needs besides.

The functions take Feast's own online store, configuration and view (:class:`features.store.FeatureStore` has them).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PROJECT = "huika"
STATE_KEY = "entity_key"
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


def prepare_sqlite(online: Any, config: Any, view: Any) -> None:
    """The table, and a connection on which readers and a writer do not stop each other.

    ``synchronous=NORMAL``: no fsync for each event. States are rebuilt from the log after a power failure.
    """
    connection = online._get_conn(config)
    for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    online.update(config, [], [view], [], [], True)


def sqlite_patience(online: Any, config: Any, seconds: float) -> None:
    """Wait no longer for another process's write."""
    online._get_conn(config).execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


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
