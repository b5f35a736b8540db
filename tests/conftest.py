"""What several tests share: one small market, imported and trained once a session."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.china import midnight_in_china
from pipelines.process import prepare_process
from pipelines.workspace import Workspace
from tests.hasty import hurry, know_authorities, stop_growing_sooner
from tests.postgres_server import each_database, postgres_server, postgres_url
from tests.shared_folders import made_once

__all__ = [
    "each_database",
    "postgres_server",
    "postgres_url",
]  # fixtures: pytest finds them by their names here

prepare_process()  # as `huika` does: telemetry off, threads that sleep while they wait
hurry()
know_authorities()
stop_growing_sooner()

TODAY = datetime(2026, 3, 1, tzinfo=UTC)
"""The day on which the shared market ends."""
EARLIER = TODAY - timedelta(days=60)
"""The day until which models learned that newer trades shall judge."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's session, which takes longest and shares nothing, begins first: begun last, all else would be done
    while one processor still ran it."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session")
def market_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a small synthetic market that ends on TODAY."""
    from pipelines.demo import make_market

    def make(folder: Path) -> None:
        make_market(folder, trades=8_000, seed=11, until=midnight_in_china(TODAY.date()))

    return made_once(tmp_path_factory, "market", make)


@pytest.fixture(scope="session")
def trained_home(market_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with that market and a champion of both models. Do not change it; copy it."""
    from pipelines.demo import import_market

    def make(folder: Path) -> None:
        import_market(Workspace.open(folder), market_folder, now=TODAY)
        _train_both(folder)

    return made_once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def earlier_home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the same market whose champions learned until EARLIER. Do not change it; copy it."""

    def make(folder: Path) -> None:
        shutil.copytree(trained_home / "tables", folder / "tables")
        _train_both(folder, until=EARLIER)

    return made_once(tmp_path_factory, "earlier", make)


def _train_both(folder: Path, until: datetime | None = None) -> None:
    from pipelines.training.training import Job, Listener, train

    listener = Listener(say=lambda step: None, features=lambda done, total: None)
    job = Job(models=("discount", "fraud"), until=until)
    trained = train(Workspace.open(folder), job=job, listener=listener)
    assert [one.alias for one in trained] == ["champion", "champion"]


@pytest.fixture
def workspace(trained_home: Path) -> Workspace:
    """The trained workspace, for reading."""
    return Workspace.open(trained_home)


@pytest.fixture
def own_tables(trained_home: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own with a copy of the tables, and no models."""
    shutil.copytree(trained_home / "tables", tmp_path / "home" / "tables")
    return Workspace.open(tmp_path / "home")


@pytest.fixture
def own_earlier(earlier_home: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own with the tables and champions of EARLIER; their files stay where they are."""
    return copy_without_files(earlier_home, tmp_path / "home")


def copy_without_files(home: Path, copy: Path) -> Workspace:
    """A copy of a workspace, in a folder that may be there, whose registry names the models' files where they are."""
    left = shutil.ignore_patterns("training_sets", "mlflow")
    shutil.copytree(home, copy, ignore=left, dirs_exist_ok=True)
    return Workspace.open(copy)
