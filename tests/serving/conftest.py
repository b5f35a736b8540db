"""A desk over the shared trained workspace, with a clock that the test moves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.workspace import Workspace
from serving.api.app import create_app
from serving.api.board import PriceBoards
from serving.api.desk import Desk
from serving.api.wiring import build_desk
from tests.conftest import TODAY


@dataclass
class Clock:
    """The service's time."""

    now: datetime = TODAY

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


def client_of(desk: Desk) -> TestClient:
    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.desk = desk
        app.state.boards = PriceBoards(engine=desk.engine)
        yield

    return TestClient(create_app(lifespan), raise_server_exceptions=True)


def renewed(client: TestClient, clock: Clock) -> list[dict[str, Any]]:
    """The prices of a board that was made anew, as the service does it once a minute."""
    app = client.app
    assert isinstance(app, FastAPI)
    for _ in app.state.boards.refreshed(now=clock.now):
        pass
    return client.get("/v1/prices").json()["prices"]


def desk_of(workspace: Workspace, clock: Clock) -> Desk:
    from serving.commands.serve import prepare

    prepare(workspace, progress=lambda done, total: None, now=clock.now)
    desk = build_desk(workspace)
    return replace(desk, engine=replace(desk.engine, clock=clock))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def prepared_home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with its live state built; models stay where they are registered."""
    from serving.commands.serve import prepare

    home = tmp_path_factory.mktemp("prepared") / "home"
    shutil.copytree(trained_home, home, ignore=shutil.ignore_patterns("training_sets", "mlflow"))
    prepare(Workspace.open(home), progress=lambda done, total: None, now=TODAY)
    return home


@pytest.fixture
def live_workspace(prepared_home: Path, tmp_path: Path) -> Workspace:
    """A copy of that workspace for one test to change."""
    shutil.copytree(prepared_home, tmp_path / "live")
    return Workspace.open(tmp_path / "live")


@pytest.fixture
def desk(live_workspace: Workspace, clock: Clock) -> Desk:
    return desk_of(live_workspace, clock)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with client_of(desk) as client:
        yield client
