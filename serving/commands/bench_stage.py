"""What drills are done to: a trained workspace of their own on a small disk, its servers, and the running service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from serving.commands.bench_disk import small_disk
from serving.commands.bench_drills import Stage
from serving.commands.bench_servers import PostgresServer, Process, redis_process
from serving.commands.bench_service import Service

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

SERVERS, FILES = "servers", "files"
MARKET_SEED = 7
SPARE_BYTES = 256 << 20
"""What a service may write on its disk until a drill fills it."""


def trained(home: Path, trades: int) -> Path:
    """A workspace with a market that ends now and both models; it is not served itself."""
    from pipelines.demo import import_market, make_market
    from pipelines.training.training import Job, Listener, train
    from pipelines.workspace import Workspace

    if (home / "mlflow.db").exists():
        return home
    workspace = Workspace.open(home)
    make_market(home / "market", trades=trades, seed=MARKET_SEED, until=datetime.now(UTC))
    import_market(workspace, home / "market", now=datetime.now(UTC))
    listener = Listener(say=lambda step: None, features=lambda done, total: None)
    train(workspace, job=Job(models=("discount", "fraud")), listener=listener)
    return home


@contextmanager
def staged(root: Path, origin: Path, *, kind: str, workers: int, library: str | None) -> Iterator[Stage]:
    """A running service on a copy of ``origin``, with the servers it needs. library: libfaketime's file."""
    from pipelines.workspace import Workspace

    home = root / kind
    with ExitStack() as stack:
        size = SPARE_BYTES + sum(path.stat().st_size for path in origin.rglob("*") if path.is_file())
        disk = stack.enter_context(small_disk(home, size_bytes=size))
        shutil.copytree(origin, home, dirs_exist_ok=True)
        postgres, redis = None, None
        if kind == SERVERS:
            postgres = PostgresServer.create(root / "postgres", durable=True)
            redis = redis_process(root)
            for process in (postgres.process, redis):
                stack.callback(process.stop)
                process.start()
            postgres.run("CREATE DATABASE huika")
        _write_settings(home, postgres, redis)
        workspace = Workspace.open(home)
        service = Service(home=home, workers=workers, log=home / "service.log")
        stage = Stage(
            workspace=workspace, service=service, postgres=postgres, redis=redis, faketime=library, disk=disk
        )
        _own_models(workspace)
        stack.callback(service.stop)
        service.start()
        service.await_ready()
        yield stage


def _write_settings(home: Path, postgres: PostgresServer | None, redis: Process | None) -> None:
    """The servers, and no limit on requests: the load comes from one client."""
    lines = ["[access]", "requests_per_second = 0", "alike_quotes_per_hour = 0", "[storage]"]
    if postgres is not None:
        lines.append(f'application_url = "{postgres.url("huika")}"')
    if redis is not None:
        lines.append(f'online_url = "redis://127.0.0.1:{redis.port}/0"')
    (home / "huika.toml").write_text("\n".join(lines) + "\n")


def _own_models(workspace: Workspace) -> None:
    """Let a copied workspace's registry point at its own copy of the models: a drill damages them."""
    import sqlite3

    with sqlite3.connect(workspace.home / "mlflow.db") as registry:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            rows = registry.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            for row, place in rows:
                if place and "/mlflow/" in place:
                    own = f"{workspace.artifacts.as_uri()}/{place.partition('/mlflow/')[2]}"
                    registry.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (own, row))
