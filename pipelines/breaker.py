"""A circuit breaker for somebody outside: after failures in a row it is left alone for a while, so that one slow server
or partner does not make everything else wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """When a breaker opens, and for how long: after ``failures`` in a row for ``first_rest`` seconds; each further one
    doubles that, up to ``longest_rest``."""

    failures: int = 3
    first_rest: float = 1.0
    longest_rest: float = 60.0


class Breaker:
    """Counts failures in a row, and says for how long nobody should ask.

    A question that fails again and again while others are answered says nothing about whoever is asked: failures that
    name what they are about count once for each of it.

    When the rest is over one question may try; what it finds closes the circuit or opens it again. ``clock``: seconds,
    monotonic. Safe to share between threads.
    """

    def __init__(
        self, *, patience: Patience = Patience(), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._about: set[str] = set()
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
            self._about.clear()

    def failed(self, *, about: str = "") -> None:
        """Note a failure. about: the one thing that was asked about, where it alone may be the trouble."""
        with self._lock:
            if about and about in self._about and not self._rest:
                return
            self._about.add(about)
            self._failures += 1
            if self._failures >= self._patience.failures:
                self._rest = min(max(self._patience.first_rest, 2 * self._rest), self._patience.longest_rest)
                self._open_until = self._clock() + self._rest
