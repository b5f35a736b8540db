"""A circuit breaker for one partner: after a few failures in a row it is left alone for a while, so that one slow
partner does not make every trade wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES_IN_A_ROW = 3
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 60.0


class Breaker:
    """Open after three failures in a row, for one second; each further failure doubles that, up to a minute. When the
    rest is over one question may try; what it finds closes the circuit or opens it again.

    ``clock``: seconds, monotonic. Safe to share between threads.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rest = 0.0
        self._open_until = 0.0

    def rest_seconds(self) -> float:
        """Seconds for which nobody should ask; 0: ask. After a rest, the first to ask is alone for as long again."""
        with self._lock:
            left = self._open_until - self._clock()
            if left > 0:
                return left
            if self._rest:
                self._open_until = self._clock() + self._rest
            return 0.0

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._rest, self._open_until = 0, 0.0, 0.0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW:
                self._rest = min(max(FIRST_REST_SECONDS, 2 * self._rest), LONGEST_REST_SECONDS)
                self._open_until = self._clock() + self._rest
