"""The time that a whole quote may take, kept by everything it asks on its way: whoever would be waited for longer than
is left is gone without.

The time runs for whatever the same thread does inside :func:`within`; elsewhere there is no end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LAST_WAIT = 0.25
"""Seconds that what cannot be gone without (the database that records a quote) is waited for, however late it is: a
quote that is nearly there is worth more than a refusal."""

_ends: ContextVar[float] = ContextVar("quote_ends", default=math.inf)


@contextmanager
def within(seconds: float, *, since: float) -> Iterator[None]:
    """Let so many seconds pass since a moment of ``time.monotonic``."""
    token = _ends.set(since + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


def seconds_left() -> float:
    """Of this quote; negative when it is late, infinite outside of a quote."""
    return _ends.get() - time.monotonic()


def longest_wait(seconds: float) -> float:
    """For something that cannot be gone without: these seconds, or what is left."""
    return min(seconds, max(seconds_left(), LAST_WAIT))
