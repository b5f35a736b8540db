"""States at hand while trades are answered and records told, and the store behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from features.entities import KEPT
from features.live_links import forget_old_links
from features.state import Increment, State, add, decode, empty_state, encode

CURSOR = "cursor"
"""The key under which the number of the last applied record stands. A store without it holds no states at all."""

GENERATION = "generation"
"""The key under which a rebuild leaves its own name: states of another rebuild are not the ones somebody knows of."""


class StateStore(Protocol):
    """Where states live; :class:`features.store.FeatureStore` is one."""

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None: ...


class StatesMissing(RuntimeError):
    """The store holds no states: it was emptied, or never filled. They must be rebuilt before anything is told."""


class Nothing:
    """A store that knows nothing."""

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        return [b"0" if key == CURSOR else None for key in keys]

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        raise NotImplementedError("there is nowhere to write to")


class StateBook:
    """States at hand, and which of them changed."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._states: dict[str, State] = {}
        self._shared: Mapping[str, State] = {}
        self._changed: set[str] = set()
        self._seq = 0

    def read(self, keys: Iterable[str]) -> None:
        missing = []
        for key in keys:
            if key not in self._states:
                if key in self._shared:
                    self._states[key] = self._shared[key]
                else:
                    missing.append(key)
        if missing:
            self.take(missing, self._store.read_states(missing))

    def share(self, states: Mapping[str, State]) -> None:
        """Use these states too, in place of what the store holds; what is told changes them."""
        self._shared = states

    def take(self, keys: Sequence[str], found: Sequence[bytes | None]) -> None:
        """Take states as the store gave them."""
        for key, data in zip(keys, found, strict=True):
            self._states[key] = empty_state(key.partition("=")[0]) if data is None else decode(data)

    def __contains__(self, key: str) -> bool:
        """Whether a state is at hand."""
        return key in self._states

    def find(self, key: str) -> State:
        if key not in self._states:
            self.read([key])
        return self._states[key]

    def change(self, key: str) -> State:
        """A state that is going to be written."""
        self._changed.add(key)
        return self.find(key)

    def begin(self, seq: int) -> None:
        """Start telling a record."""
        self._seq = seq

    def untold(self, key: str) -> bool:
        """Whether the state has not taken this record yet."""
        return self.find(key).seq < self._seq

    def add(
        self,
        key: str,
        series: str,
        moment: tuple[int, str],
        at: int,
        values: list[int],
        names: list[str | None],
    ) -> None:
        if self.untold(key):
            entity = key.partition("=")[0]
            number = _series_number(entity, series)
            state = self.change(key)
            add(state, entity, Increment(moment[0], moment[1], number, at, values, names))

    def write(self, *, last: int, now: datetime) -> None:
        encoded = {}
        for key in self._changed:
            state = self._states[key]
            state.seq = last
            if state.links and state.tail:
                forget_old_links(state, time=state.tail[-1].time)
            encoded[key] = encode(state)
        self._store.write_states(encoded | {CURSOR: str(last).encode()}, now=now)


def first_marks(*, generation: str, applied: int) -> dict[str, bytes]:
    """What stands beside freshly built states that hold the log up to record ``applied``."""
    return {GENERATION: generation.encode(), CURSOR: str(applied).encode()}


def number_of(cursor: bytes | None) -> int:
    if cursor is None:
        raise StatesMissing("there are no live states; they are rebuilt when the service starts")
    return int(cursor)


@lru_cache(maxsize=1_000)
def _series_number(entity: str, name: str) -> int:
    return next(number for number, series in enumerate(KEPT[entity]) if series.name == name)
