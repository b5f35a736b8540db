"""What a service does beside its requests, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

log = logging.getLogger("huika")


async def keep_doing(work: Callable[[], object], *, every_seconds: float, trouble: str) -> None:
    """Do the work in a thread, rest, and begin again; never ends. A failure is logged as ``trouble``."""
    while True:
        try:
            await run_in_threadpool(work)
        except Exception:
            log.exception(trouble)
        await asyncio.sleep(every_seconds)
