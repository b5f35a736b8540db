"""Windows as of a moment: what is inside, for one moment or for a column of them.

Windows are sawtooth windows (as in Chronon): with width ``w`` and hop ``h`` an event at ``ev`` is inside the
window of a moment ``T`` when ``ev // h >= (T - w) // h``. The far edge moves in steps of ``h``, so that a live
state may keep one row of totals per hop and still give the same answer as the whole history. A window with a
``delay`` also leaves out what is younger than the delay, in whole hops: ``ev // h < (T - delay) // h``.

Times are int64 microseconds since the epoch, UTC. Everything is integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DAY_MS = DAY // 1000
WEEK_MS = 7 * DAY_MS

Time = TypeVar("Time", int, np.ndarray)


@dataclass(frozen=True)
class Window:
    """A look-back of ``width`` µs that ends ``delay`` µs before the moment; its edges move in steps of ``hop`` µs."""

    name: str
    width: int
    hop: int
    delay: int = 0

    def first_bucket(self, moment: Time) -> Time:
        """Number of the oldest hop inside."""
        return (moment - self.delay - self.width) // self.hop

    def end_bucket(self, moment: Time) -> Time:
        """Number of the first hop that is too young; meant for windows with a delay."""
        return (moment - self.delay) // self.hop

    def enters(self, event: Time) -> Time:
        """First moment (µs) at which an event at time ``event`` is inside, were it known at once."""
        return (event // self.hop + 1) * self.hop + self.delay if self.delay else event

    def leaves(self, event: Time) -> Time:
        """First moment (µs) at which an event at time ``event`` is outside again."""
        return (event // self.hop + 1) * self.hop + self.width + self.delay


HOUR_1 = Window("1h", HOUR, 5 * MINUTE)
HOURS_24 = Window("24h", DAY, HOUR)
DAYS_7 = Window("7d", 7 * DAY, 6 * HOUR)
DAYS_30 = Window("30d", 30 * DAY, DAY)
MATURE_30D = Window("mature_30d", 30 * DAY, DAY, delay=7 * DAY)
"""Trades between 7 and 37 days old: most frauds among them have surfaced by now, so their share is not yet to rise."""

WINDOWS = {window.name: window for window in (HOUR_1, HOURS_24, DAYS_7, DAYS_30, MATURE_30D)}
ALL = "all"
"""The name of the window that begins with history."""
