"""Live states behind a circuit breaker: a store that does not answer is left alone for a while, so that one slow server
does not make every quote wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from features.state_book import StateStore
from features.store import OnlineStoreUnavailable
from pipelines.breaker import Breaker, Patience
from pipelines.quote_time import seconds_left

Found = TypeVar("Found")

PATIENCE = Patience(failures=1, first_rest=0.5, longest_rest=2.0)
"""Short: the states are wanted by every quote, and asking costs a quarter of a second at most."""


class GuardedStates:
    """A :class:`features.state_book.StateStore` that refuses at once, without asking, while its breaker rests, and
    where the quote that asks has less time left than an answer may take.

    ``longest``: seconds after which the store gives an answer up. ``clock``: seconds, monotonic.
    """

    def __init__(
        self, store: StateStore, *, longest: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._longest = longest
        self._breaker = Breaker(patience=PATIENCE, clock=clock)

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        """Raises OnlineStoreUnavailable."""
        return self._guarded(lambda: self._store.read_states(keys))

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        """Raises OnlineStoreUnavailable."""
        self._guarded(lambda: self._store.write_states(states, now=now))

    def _guarded(self, work: Callable[[], Found]) -> Found:
        if seconds_left() < self._longest:
            raise OnlineStoreUnavailable("online store: this quote has no time left for its answer")
        if self._breaker.rest_seconds():
            raise OnlineStoreUnavailable("online store: it did not answer a moment ago")
        try:
            found = work()
        except OnlineStoreUnavailable:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return found
