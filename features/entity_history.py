"""The history sorted by one entity: window edges found once, totals as differences of running totals.

Indices are places *in entity order* (:mod:`features.kernel`). Every event of the entities asked for is answered at
once, and a chunk of rows picks its places out of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from features import kernel
from features.entities import KEPT, MOST_COUNTED, SUBMISSIONS, Series
from features.windows import ALL, WINDOWS, Window

if TYPE_CHECKING:
    from features.history import History

Answer = Callable[[np.ndarray], np.ndarray]
"""Places in entity order -> values."""


@dataclass(frozen=True)
class Events:
    """Events of a series: code of the entity (-1: none), when known and when counted (µs), and each value."""

    code: np.ndarray
    known_at: np.ndarray
    at: np.ndarray
    values: dict[str, np.ndarray]

    def of(self, rows: np.ndarray) -> Events:
        return Events(
            code=self.code[rows],
            known_at=self.known_at[rows],
            at=self.at[rows],
            values={name: value[rows] for name, value in self.values.items()},
        )


class EntityHistory:
    """What the log says about the entities of one kind (those of the wanted rows)."""

    def __init__(self, history: History, name: str) -> None:
        self._history = history
        self.name = name
        self._series = {series.name: series for series in KEPT[name]}
        codes = history.codes(name)
        self.groups = len(history.names[name])
        rows = self._rows(codes)
        self.order = rows[kernel.entity_order(codes[rows], self.groups)]
        """Rows of the log in entity order (k,) int32."""
        self.codes = codes[self.order]
        self.place = np.full(history.size, -1, dtype=np.int32)
        """Place in entity order of each row of the log (n,), -1 where it has none."""
        self.place[self.order] = np.arange(len(self.order), dtype=np.int32)
        self.first = kernel.block_starts(self.codes)
        self._parts: dict[tuple[str, ...], Any] = {}

    def _rows(self, codes: np.ndarray) -> np.ndarray:
        """Rows of the log whose entity is one of the wanted rows', int32."""
        known = codes >= 0
        if self._history.wanted is not None:
            needed = np.zeros(self.groups + 1, dtype=bool)
            needed[codes[self._history.wanted]] = True
            known &= needed[codes]
        return np.flatnonzero(known).astype(np.int32)

    # --- answers -------------------------------------------------------------------------------------------

    def total(self, series: str, value: str, window: str) -> Answer:
        """Totals of a value in a window, as a function of places."""
        asked = self._series[series]
        if series == SUBMISSIONS.name:
            return self._submissions(value, window)
        if window == ALL or (self._counts_when_known(series) and not WINDOWS[window].delay):
            return self._timed(asked).total(value, window)
        return self._spans(asked, WINDOWS[window]).total(value)

    def last_time(self, places: np.ndarray) -> np.ndarray:
        found = places > self.first[places]
        times = self._history.time[self.order[np.maximum(places - 1, 0)]]
        return np.where(found, times, np.nan)

    def first_time(self, places: np.ndarray) -> np.ndarray:
        first = self.first[places]
        return np.where(places > first, self._history.time[self.order[first]], np.nan)

    def distinct(self, counted: str, window: str) -> Answer:
        """Different ``counted`` entities of the window's submissions, at most ``MOST_COUNTED``."""
        found = self._once(("distinct", counted, window), lambda: self._different(counted, window))
        return lambda places: found[places]

    # --- submissions -----------------------------------------------------------------------------------------

    def _submissions(self, value: str, window: str) -> Answer:
        start, stop = self._edges(window)
        if value == "n":
            return lambda places: stop(places) - start[places]
        if value == "largest":
            largest = self._once(("largest", window), lambda: self._largest(window))
            return lambda places: largest[places]
        running = self._once(("running", value), lambda: kernel.running_total(self._values(value)))
        return lambda places: running[stop(places)] - running[start[places]]

    def _values(self, value: str) -> np.ndarray:
        fen = self._history.fen[self.order]
        return fen if value in ("fen", "largest") else (fen // 100) ** 2

    def _edges(self, window: str) -> tuple[np.ndarray, Answer]:
        """First place inside the window of every event (k,), and one past the last."""
        if window == ALL:
            return self.first, lambda places: places
        start = self._once(("start", window), lambda: self._edge(window, "first"))
        if not WINDOWS[window].delay:
            return start, lambda places: places
        stop = self._once(("stop", window), lambda: self._edge(window, "end"))
        return start, lambda places: stop[places]

    def _edge(self, window: str, which: str) -> np.ndarray:
        position = self._history.edge(window, which)
        return kernel.find(self._keys, self._needles(position, self._history.size + 1))

    @cached_property
    def _keys(self) -> np.ndarray:
        return self._needles(np.arange(self._history.size, dtype=np.int32), self._history.size + 1)

    def _needles(self, position: np.ndarray, span: int) -> np.ndarray:
        """One ascending key (k,) int64 an event: its entity, then ``position`` (n,) of its row."""
        return self.codes * np.int64(span) + position[self.order]

    def _largest(self, window: str) -> np.ndarray:
        start, stop = self._edges(window)
        places = np.arange(len(self.order), dtype=np.int32)
        return kernel.largest_between(self._values("largest"), start, stop(places))

    def _different(self, counted: str, window: str) -> np.ndarray:
        values = self._history.codes(counted)[self.order]
        groups = len(self._history.names[counted])
        previous = self._once(("previous", counted), lambda: kernel.previous_same(self.codes, values, groups))
        start, _ = self._edges(window)
        found = kernel.different_values(start, values >= 0, previous)
        return np.minimum(found, MOST_COUNTED).astype(np.uint8)

    # --- outcomes ----------------------------------------------------------------------------------------------

    def _counts_when_known(self, series: str) -> bool:
        return series not in ("cohorts", "purchases")

    def _events(self, series: Series) -> Events:
        """Events of the wanted entities, by when they became known."""
        events = self._history.events(series, self.name)
        known = events.code >= 0
        if self._history.wanted is not None:
            needed = np.zeros(self.groups + 1, dtype=bool)
            needed[self.codes] = True
            known &= needed[events.code]
        rows = np.flatnonzero(known)
        return events.of(rows[np.argsort(events.known_at[rows], kind="stable")])

    def _timed(self, series: Series) -> _Timed:
        return self._once(("timed", series.name), lambda: _Timed(self, self._events(series), series))

    def _spans(self, series: Series, window: Window) -> _Spans:
        key = ("spans", series.name, window.name)
        return self._once(key, lambda: _Spans(self, self._events(series), window))

    def times(self) -> np.ndarray:
        """Moments of the log (n,), µs."""
        return self._history.time

    def needles(self, position: np.ndarray, span: int) -> np.ndarray:
        return self._needles(position, span)

    def _once(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        if key not in self._parts:
            self._parts[key] = make()
        return self._parts[key]


class _Timed:
    """Events that count from the moment they became known: strictly earlier ones of the same entity."""

    def __init__(self, owner: EntityHistory, events: Events, series: Series) -> None:
        self._owner = owner
        self._axis = events.known_at
        order = kernel.entity_order(events.code, owner.groups)
        self._span = len(self._axis) + 1
        self._keys = events.code[order] * np.int64(self._span) + order
        self._running = {
            name: kernel.running_total(value[order]) for name, value in events.values.items() if name != "n"
        }
        self._stop = self._find(owner.times())
        self._start = {ALL: kernel.find(self._keys, owner.codes * np.int64(self._span))}
        for window in series.windows:
            self._start[window.name] = self._find(window.first_bucket(owner.times()) * window.hop)

    def _find(self, times: np.ndarray) -> np.ndarray:
        position = np.searchsorted(self._axis, times, side="left").astype(np.int32)
        return kernel.find(self._keys, self._owner.needles(position, self._span))

    def total(self, value: str, window: str) -> Answer:
        start, stop = self._start[window], self._stop
        if value == "n":
            return lambda places: stop[places] - start[places]
        running = self._running[value]
        return lambda places: running[stop[places]] - running[start[places]]


class _Spans:
    """Events that count by another time than the one they became known at, in one window: each is inside for a span
    of moments, so a total is what has begun less what has ended."""

    def __init__(self, owner: EntityHistory, events: Events, window: Window) -> None:
        times = owner.times()
        known = np.searchsorted(times, events.known_at, side="right")
        begin = np.maximum(known, np.searchsorted(times, window.enters(events.at), side="left"))
        end = np.searchsorted(times, window.leaves(events.at), side="left")
        seen = np.flatnonzero(begin < end)
        span = len(times) + 1
        codes = events.code[seen] * np.int64(span)
        moments = owner.needles(np.arange(len(times), dtype=np.int32), span)
        values = {name: value[seen] for name, value in events.values.items()}
        self._begun = _count_to(codes + begin[seen], values, moments)
        self._ended = _count_to(codes + end[seen], values, moments)

    def total(self, value: str) -> Answer:
        (begun, began), (ended, end) = self._begun, self._ended
        begun_total, ended_total = begun[value], ended[value]
        return lambda places: begun_total[began[places]] - ended_total[end[places]]


def _count_to(
    keys: np.ndarray, values: dict[str, np.ndarray], moments: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Running totals of events sorted by key, and how many of them lie at or before each moment."""
    order = np.argsort(keys, kind="stable")
    found = kernel.find(keys[order], moments, side="right")
    return {name: kernel.running_total(value[order]) for name, value in values.items()}, found
