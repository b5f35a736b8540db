"""SQLite's logs are moved into their files beside the requests."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from pipelines.databases import open_engine, sqlite_file
from serving.api.checkpoints import Checkpoints


def _rows_in_file(file: Path) -> int:
    """Rows in the file itself, without its log."""
    alone = file.with_name("alone.db")
    shutil.copy(file, alone)
    with closing(sqlite3.connect(alone)) as connection:
        return connection.execute("SELECT count(*) FROM told").fetchone()[0]


def test_what_was_committed_is_moved_while_others_write_and_a_writer_does_not_wait(tmp_path: Path) -> None:
    """After a look the file holds what was committed, also while another transaction is open, which then commits
    too; and a file that does not exist yet, or that nobody has written to since, is left alone."""
    url = f"sqlite:///{tmp_path / 'data.db'}"
    file = sqlite_file(url)
    assert file is not None
    moving = Checkpoints([file, tmp_path / "absent.db"])
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE told (number INTEGER)")
    moving.move()
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO told VALUES (1)"))
        other = sqlite3.connect(file)
        assert other.execute("SELECT count(*) FROM told").fetchone() == (0,)
        other.close()
        moving.move()
    assert _rows_in_file(file) == 0
    moving.move()
    assert _rows_in_file(file) == 1
    moving.move()
    assert not (tmp_path / "absent.db").exists()


def test_only_a_database_in_a_file_has_one() -> None:
    """A server's database and one in memory have no log to look after."""
    assert sqlite_file("postgresql://huika@db.example/huika") is None
    assert sqlite_file("sqlite://") is None
