"""A PostgreSQL server of the tests' own: a free port of 127.0.0.1, a temporary folder, nothing kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from serving.commands.bench_servers import PostgresServer, postgres_program
from serving.refusals import Refusal

_numbers = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server. Without the program the test is skipped, or fails where ``CI`` is ``true``."""
    try:
        postgres_program("initdb")
    except Refusal as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    # Not below pytest's own folder, which only its owner may enter: the server may run as somebody else.
    with tempfile.TemporaryDirectory(prefix="huika-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer.create(Path(folder) / "cluster", durable=False)
        server.process.start()
        try:
            yield server
        finally:
            server.process.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of a database that is new and empty for each test."""
    name = f"test_{next(_numbers)}"
    postgres_server.run(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty application database of each kind: the test runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'huika.db'}"
    return request.getfixturevalue("postgres_url")
