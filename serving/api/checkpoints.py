"""What SQLite's logs hold is moved into their files beside the requests: an fsync of many pages takes up to a fifth of
a second on a busy disk, and left to SQLite the commit of some quote would wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.databases import move_wal
from serving.api.keeping import keep_doing

EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Checkpoints:
    """Looks after the logs of some SQLite files."""

    files: Sequence[Path]
    _moved: dict[Path, int] = field(default_factory=dict)

    async def keep(self) -> None:
        """Never ends."""
        trouble = "a log of SQLite could not be moved into its file; whoever writes will do it"
        await keep_doing(self.move, every_seconds=EVERY_SECONDS, trouble=trouble)

    def move(self) -> None:
        """Move what was written since the last time."""
        for file in self.files:
            wal = file.with_name(f"{file.name}-wal")
            written = wal.stat().st_mtime_ns if wal.exists() else 0
            if written != self._moved.get(file, 0):
                move_wal(file)
                self._moved[file] = written
