"""One import at a time: the lock on a table store, and the folder in which an import prepares its tables."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.training.import_problems import ImportLocked


@contextmanager
def work_folder(root: Path) -> Iterator[Path]:
    """A folder below ``root`` for one import at a time; clears first what a killed import left behind."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "import.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ImportLocked(f"another import is running on {root}; wait until it has ended") from error
        work = root / "importing"
        shutil.rmtree(work, ignore_errors=True)
        for leftover in [*root.glob("*/staging-*.parquet"), *root.glob("*/*.tmp")]:
            leftover.unlink(missing_ok=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
