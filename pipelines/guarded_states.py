"""Live states behind a circuit breaker: a store that does not answer is left alone for a while, so that one slow server
does not make every quote wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from features.online import StateStore
from features.store import OnlineStoreUnavailable

Found = TypeVar("Found")

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 0.5, 2.0


class GuardedStates:
    """A :class:`features.online.StateStore`. After a failure it refuses at once, without asking the store, for half a
    second; each further failure doubles that, up to 2 seconds; one success ends it.

    ``clock``: seconds, monotonic.
    """

    def __init__(self, store: StateStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._rest = 0.0
        self._closed_until = 0.0

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        """Raises OnlineStoreUnavailable."""
        return self._guarded(lambda: self._store.read_states(keys))

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        """Raises OnlineStoreUnavailable."""
        self._guarded(lambda: self._store.write_states(states, now=now))

    def _guarded(self, work: Callable[[], Found]) -> Found:
        if self._clock() < self._closed_until:
            raise OnlineStoreUnavailable("online store: it did not answer a moment ago")
        try:
            found = work()
        except OnlineStoreUnavailable:
            self._rest = min(max(FIRST_REST_SECONDS, 2 * self._rest), LONGEST_REST_SECONDS)
            self._closed_until = self._clock() + self._rest
            raise
        self._rest = 0.0
        return found
