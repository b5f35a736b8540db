"""When a worker looks for garbage that refers to itself.

Python's collector stops everything while it looks. A quote leaves hardly any cycle, so under load only what is new is
looked at, a few milliseconds at a time; everything, up to a fifth of a second, when the worker has little else to do.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

NEW_OBJECTS = 5_000
"""So many more objects than before, and the collector looks at the new ones. With the usual 700 a fifteenth of a
quote's time went into looking, and with 50,000 now and then a quote waited 40 ms for it."""
NEVER = 1_000_000
LOOK_SECONDS = 60.0
LISTEN_SECONDS = 1.0
BUSY_SHARE = 0.1
"""Of a processor: a worker that used more while it was listened to is at work."""
MOST_PUT_OFF = 60
"""Looks at a worker that never rests, and everything is looked at all the same."""


def collect_little() -> None:
    """What start-up left is never looked at again, and what survived a first look only by :class:`Collecting`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, NEVER, NEVER)


@dataclass
class Collecting:
    """Looks every minute whether the worker rests. processor_seconds: used by this process so far."""

    processor_seconds: Callable[[], float] = time.process_time
    look_seconds: float = LOOK_SECONDS
    listen_seconds: float = LISTEN_SECONDS
    _put_off: int = field(default=0, init=False)

    async def keep(self) -> None:
        """Never ends."""
        while True:
            await asyncio.sleep(self.look_seconds)
            before = self.processor_seconds()
            await asyncio.sleep(self.listen_seconds)
            self.look(busy=self.processor_seconds() - before > BUSY_SHARE * self.listen_seconds)

    def look(self, *, busy: bool) -> None:
        """Look at everything, or put it off where the worker is busy."""
        if busy and self._put_off < MOST_PUT_OFF:
            self._put_off += 1
            return
        self._put_off = 0
        gc.collect()
