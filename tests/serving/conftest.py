"""A desk over the shared trained workspace, with a clock that the test moves.

Tests that are marked ``both_storages`` run twice: on the workspace's files, and on PostgreSQL and Redis.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from models.quoting import ModelPair
from pipelines import databases
from pipelines.access_data import AuditRow
from pipelines.champions import load_pair
from pipelines.recycling.opening import PricingElsewhere, open_recycling
from pipelines.signing_keys import signing_keys
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.access.roles import Role
from serving.api.app import create_app
from serving.api.board import PriceBoards
from serving.api.desk import Desk
from serving.api.metrics import Metrics
from serving.api.wiring import build_desk
from tests.conftest import TODAY, copy_without_files
from tests.redis_server import redis_url
from tests.serving.clients import asking, headers_of, one_of_each_role
from tests.shared_folders import made_once

__all__ = ["redis_url"]  # a fixture: pytest finds it by its name here

FILES, SERVERS = "files", "servers"
UNHURRIED_SECONDS = 30
"""A starved machine takes seconds over what is no test of time: to let a connection in, or to answer a quote."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_storages: runs on files, and on PostgreSQL and Redis")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "storage" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_storages"):
        metafunc.parametrize("storage", [FILES, SERVERS], indirect=True)


@dataclass
class Clock:
    """The service's time."""

    now: datetime = TODAY

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


def client_of(desk: Desk, home: Path | None = None) -> TestClient:
    """An administrator who asks a service with this desk; other headers make another of the clients who are known.

    home: of the workspace whose recycling flow and signing keys the service has; None: it has neither."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.desk = desk
        app.state.boards = PriceBoards(engine=desk.engine)
        app.state.access = one_of_each_role()
        if home is not None:
            workspace = Workspace.open(home)
            app.state.signing_keys = signing_keys(workspace)
            app.state.recycling = open_recycling(workspace, pricing=PricingElsewhere(), clock=desk.clock)
        app.state.metrics = Metrics(category_of=lambda name: desk.engine.catalogue.get(name).category)
        yield
        if home is not None:
            app.state.recycling.photos.readers.close()

    return TestClient(create_app(lifespan), raise_server_exceptions=True, headers=headers_of(Role.ADMIN))


def renewed(client: TestClient, clock: Clock) -> list[dict[str, Any]]:
    """The prices of a board that was made anew, as the service does it once a minute, but at once."""
    app = client.app
    assert isinstance(app, FastAPI)
    for _ in app.state.boards.refreshed(now=clock.now, at_once=1_000):
        pass
    return client.get("/v1/prices").json()["prices"]


def desk_of(workspace: Workspace, clock: Clock, *, models: ModelPair | None = None) -> Desk:
    """A desk with the test's clock and time enough. models: those of its registry, where they are loaded already."""
    from serving.commands.serve import prepare

    prepare(workspace, progress=lambda done, total: None, now=clock.now)
    desk = build_desk(workspace, models=models)
    return replace(desk, engine=replace(desk.engine, clock=clock), quote_seconds=UNHURRIED_SECONDS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def prepared_home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with its live state built; models stay where they are registered."""
    from serving.commands.serve import prepare

    def make(home: Path) -> None:
        workspace = copy_without_files(trained_home, home)
        prepare(workspace, progress=lambda done, total: None, now=TODAY)

    return made_once(tmp_path_factory, "prepared", make)


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> str:
    """Where the application data and the live states are."""
    return getattr(request, "param", FILES)


@pytest.fixture
def live_workspace(
    prepared_home: Path, tmp_path: Path, storage: str, request: pytest.FixtureRequest
) -> Workspace:
    """A copy of that workspace for one test to change."""
    home = prepared_home if storage == FILES else request.getfixturevalue("prepared_on_servers")
    shutil.copytree(home, tmp_path / "live")
    if storage == SERVERS:
        request.getfixturevalue("monkeypatch").setattr(databases, "CONNECT_SECONDS", UNHURRIED_SECONDS)
        url = request.getfixturevalue("redis_url")
        use_servers(tmp_path / "live", request.getfixturevalue("postgres_url"), copied_states(url))
    return Workspace.open(tmp_path / "live")


@pytest.fixture(scope="session")
def prepared_on_servers(
    prepared_home: Path, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The prepared workspace with its live state in Redis instead; do not change it, copy it."""
    from serving.commands.serve import prepare

    home = tmp_path_factory.mktemp("prepared") / "home"
    shutil.copytree(prepared_home, home)
    use_servers(home, "", redis_url)
    prepare(Workspace.open(home), progress=lambda done, total: None, now=TODAY)
    return home


def copied_states(url: str) -> str:
    """Copy a Redis database to the next number, in the place of what was there; its address."""
    client = redis.Redis.from_url(url.removesuffix("0") + "1")
    client.flushdb()
    client.select(0)
    copy_all = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', key, key, 'DB', 1) end"
    client.eval(copy_all, 0)
    client.close()
    return url.removesuffix("0") + "1"


def use_servers(home: Path, application_url: str, online_url: str) -> None:
    """Name the servers in a workspace's settings."""
    settings = home / "huika.toml"
    named = f'[storage]\napplication_url = "{application_url}"\nonline_url = "{online_url}"\n'
    head, _, rest = settings.read_text().partition("[storage]")
    settings.write_text(head + named + "#" + rest[rest.index("\n\n") :])


@pytest.fixture(scope="session")
def champions(trained_home: Path) -> ModelPair:
    """The models that every copy of the trained workspace serves: to load them is most of what making a desk takes."""
    return load_pair(model_registry(Workspace.open(trained_home)))


@pytest.fixture
def desk(live_workspace: Workspace, clock: Clock, champions: ModelPair) -> Desk:
    return desk_of(live_workspace, clock, models=champions)


@pytest.fixture
def client(desk: Desk, live_workspace: Workspace) -> Iterator[TestClient]:
    with client_of(desk, live_workspace.home) as client:
        yield client


@pytest.fixture
def audit() -> list[AuditRow]:
    """What the service below writes into its audit trail."""
    return []


@pytest.fixture
def service(audit: list[AuditRow]) -> Iterator[TestClient]:
    """The real routes, known clients, and no desk behind them."""
    with asking(one_of_each_role(audit=audit)) as client:
        yield client
