"""What SQLite's logs hold is moved into their files beside the requests: an fsync of many pages takes up to a fifth of
a second on a busy disk, and left to SQLite the commit of some quote would wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from pipelines.databases import move_wal

log = logging.getLogger("huika")

EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Checkpoints:
    """Looks after the logs of some SQLite files."""

    files: Sequence[Path]
    _moved: dict[Path, int] = field(default_factory=dict)

    async def keep(self) -> None:
        """Never ends."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await run_in_threadpool(self.move)
            except Exception:
                log.exception("a log of SQLite could not be moved into its file; whoever writes will do it")

    def move(self) -> None:
        """Move what was written since the last time."""
        for file in self.files:
            wal = file.with_name(f"{file.name}-wal")
            written = wal.stat().st_mtime_ns if wal.exists() else 0
            if written != self._moved.get(file, 0):
                move_wal(file)
                self._moved[file] = written
