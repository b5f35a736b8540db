"""What a worker looks after: lost live states are written anew, and it ends with the service that it is part of.

A Redis that was restarted comes back empty. The work itself is done by ``huika features rebuild --if-missing`` in a
process of its own: it reads whole tables, and no quote may wait for that.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

log = logging.getLogger("huika")

LOOK_SECONDS = 1.0
LOCK = "recovery.lock"
COMMAND = "from serving.cli import main; main()"


@dataclass(frozen=True)
class Recovery:
    """Looks every second whether the states are there. are_missing: may take as long as the store does, and must be
    safe in a thread; False where the store does not answer."""

    home: Path
    are_missing: Callable[[], bool]

    async def keep(self) -> None:
        """Never ends."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await run_in_threadpool(self.are_missing):
                    await self._restore()
            except Exception:
                log.exception("the live states could not be looked after; trying again")

    async def _restore(self) -> None:
        """One worker of this machine does it; the others go on looking."""
        with _only_one(self.home / LOCK) as chosen:
            if not chosen:
                return
            log.error("the live states are gone; they are being written anew")
            words = ["features", "rebuild", "--if-missing", "--home", str(self.home)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", COMMAND, *words, stdout=asyncio.subprocess.DEVNULL
            )
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                process.terminate()
                raise
            log.log(
                logging.ERROR if status else logging.WARNING,
                "writing the live states ended with status %d",
                status,
            )


@dataclass(frozen=True)
class Parent:
    """The process that started this worker. When it was killed nobody looks after the worker any more, and the worker
    holds the lock that a new service needs. process_id: its number when the worker started."""

    process_id: int

    async def keep(self) -> None:
        """End this process when the parent is gone."""
        while os.getppid() == self.process_id:
            await asyncio.sleep(LOOK_SECONDS)
        log.error("the service's first process is gone; its worker ends")
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _only_one(path: Path) -> Iterator[bool]:
    """Whether this process got the lock, which lasts for the block."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)
