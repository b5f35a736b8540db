"""Transactions of many threads, committed together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.databases import immediate_engine
from pipelines.group_commit import GroupCommit

metadata = sa.MetaData()
notes = sa.Table("notes", metadata, sa.Column("name", sa.String(20), primary_key=True))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> sa.Engine:
    on_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'notes.db'}" if on_sqlite else request.getfixturevalue("postgres_url")
    opened = immediate_engine(url)
    metadata.create_all(opened)
    return opened


def kept(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(notes.c.name)).scalars())


def write(connection: sa.Connection, name: str) -> str:
    connection.execute(sa.insert(notes).values(name=name))
    return name


def test_many_are_committed_together_and_each_hears_its_own_end(engine):
    """While one commit is under way the others gather; one that fails takes nothing of the others with it, and nothing
    of its own remains."""
    commits, first, gathered = GroupCommit(engine), threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> str:
        first.set()
        gathered.wait(5)
        return write(connection, "slow")

    def fails(connection: sa.Connection) -> str:
        write(connection, "half")
        raise ValueError("no")

    with ThreadPoolExecutor(12) as pool:
        begun = pool.submit(commits.run, slow)
        first.wait(5)
        good = [pool.submit(commits.run, lambda c, n=n: write(c, f"n{n}")) for n in range(8)]
        bad = [pool.submit(commits.run, work) for work in (fails, lambda c: write(c, "slow"))]
        while len(commits._waiting) < 10:
            pass
        gathered.set()
        assert [begun.result(), *(one.result() for one in good)] == ["slow", *(f"n{n}" for n in range(8))]
        with pytest.raises(ValueError, match="no"):
            bad[0].result()
        with pytest.raises(sa.exc.IntegrityError):
            bad[1].result()
    assert kept(engine) == {"slow", *(f"n{n}" for n in range(8))}
    assert commits.commits == 2
    engine.dispose()


def test_what_ends_the_transaction_is_told_to_all(engine):
    """Where the whole commit fails nobody hears of success, and nothing is kept."""
    commits = GroupCommit(engine)

    def refuse(connection: sa.Connection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commits.run(refuse)
    sa.event.listen(engine, "commit", refuse)
    with pytest.raises(KeyboardInterrupt):
        commits.run(lambda connection: write(connection, "lost"))
    sa.event.remove(engine, "commit", refuse)
    assert kept(engine) == set()
    engine.dispose()
