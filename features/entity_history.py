"""The history sorted by one entity: window edges found once, totals as differences of running totals.

Indices are places *in entity order* (:mod:`features.kernel`). Every event of the entities asked for is answered at
once, and a chunk of rows picks its places out of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features import kernel
from features.entities import KEPT, MOST_COUNTED, SUBMISSIONS, Series
from features.windows import ALL, WINDOWS, Window

if TYPE_CHECKING:
    from features.history import History


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

    # --- answers: one value per place (k,), for all events at once ------------------------------------------------

    def total(self, series: str, value: str, window: str) -> np.ndarray:
        """Totals of a value in a window."""
        if series == SUBMISSIONS.name:
            return self._once(("sum", value, window), lambda: self._submissions(value, window))
        asked = self._series[series]
        if window == ALL or (self._counts_when_known(series) and not WINDOWS[window].delay):
            return self._once(("timed", series), lambda: _timed(self, self._events(asked), asked))[
                value, window
            ]
        key = ("spans", series, window)
        return self._once(key, lambda: _spans(self, self._events(asked), WINDOWS[window]))[value]

    @property
    def last_time(self) -> np.ndarray:
        """Time of the last earlier event, µs as float64; NaN without one."""
        return self._once(("last",), self._last_time)

    @property
    def first_time(self) -> np.ndarray:
        """Time of the first event where that is an earlier one."""
        return self._once(("first",), self._first_time)

    def distinct(self, counted: str, window: str) -> np.ndarray:
        """Different ``counted`` entities of the window's submissions, at most ``MOST_COUNTED``."""
        return self._once(("distinct", counted, window), lambda: self._different(counted, window))

    # --- submissions -----------------------------------------------------------------------------------------

    def _submissions(self, value: str, window: str) -> np.ndarray:
        start, stop = self._edges(window)
        if value == "n":
            return stop - start
        if value == "largest":
            return kernel.largest_between(self._values(value).astype(np.int32), start, stop)
        running = self._once(("running", value), lambda: kernel.running_total(self._values(value)))
        return running[stop] - running[start]

    def _values(self, value: str) -> np.ndarray:
        fen = self._once(("fen",), lambda: self._history.fen[self.order])
        return fen if value in ("fen", "largest") else (fen // 100) ** 2

    def _edges(self, window: str) -> tuple[np.ndarray, np.ndarray]:
        """First place inside the window of every event (k,), and one past the last."""
        own = self._once(("own",), lambda: np.arange(len(self.order), dtype=np.int32))
        if window == ALL:
            return self.first, own
        start = self._once(("start", window), lambda: self._edge(window, "first"))
        if not self._history.windows[window].delay:
            return start, own
        return start, self._once(("stop", window), lambda: self._edge(window, "end"))

    def _edge(self, window: str, which: str) -> np.ndarray:
        span = self._history.size + 1
        keys = self._once(("keys",), lambda: self.codes * np.int64(span) + self.order)
        return kernel.find(keys, self.needles(self._history.edge(window, which), span))

    def needles(self, position: np.ndarray, span: int) -> np.ndarray:
        """One ascending key (k,) int64 an event: its entity, then ``position`` (n,) of its row."""
        return self.codes * np.int64(span) + position[self.order]

    def _last_time(self) -> np.ndarray:
        times = np.full(len(self.order), np.nan)
        times[1:] = np.where(self.first[1:] < np.arange(1, len(times)), self.times[self.order[:-1]], np.nan)
        return times

    def _first_time(self) -> np.ndarray:
        earlier = self.first < np.arange(len(self.order))
        return np.where(earlier, self.times[self.order[self.first]], np.nan)

    def _different(self, counted: str, window: str) -> np.ndarray:
        def find() -> kernel.Repeats:
            values = self._history.codes(counted)[self.order]
            return kernel.find_repeats(self.codes, values, len(self._history.names[counted]))

        repeats = self._once(("repeats", counted), find)
        found = kernel.different_values(self._edges(window)[0], repeats)
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

    @property
    def times(self) -> np.ndarray:
        """Moments of the log (n,), µs."""
        return self._history.time

    def _once(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        if key not in self._parts:
            self._parts[key] = make()
        return self._parts[key]


Totals = dict[tuple[str, str], np.ndarray]
"""(value, window) -> totals (k,)."""


def _timed(owner: EntityHistory, events: Events, series: Series) -> Totals:
    """Events that count from the moment they became known: strictly earlier ones of the same entity."""
    axis = events.known_at
    order = kernel.entity_order(events.code, owner.groups)
    span = len(axis) + 1
    keys = events.code[order] * np.int64(span) + order
    running = {
        name: kernel.running_total(value[order]) for name, value in events.values.items() if name != "n"
    }

    def place_of(times: np.ndarray) -> np.ndarray:
        position = np.searchsorted(axis, times, side="left").astype(np.int32)
        return kernel.find(keys, owner.needles(position, span))

    stop = place_of(owner.times)
    totals: Totals = {}
    for window in (None, *series.windows):
        if window is None:
            name, start = ALL, kernel.find(keys, owner.codes * np.int64(span))
        else:
            name, start = window.name, place_of(window.first_bucket(owner.times) * window.hop)
        totals["n", name] = stop - start
        for value, total in running.items():
            totals[value, name] = _narrow(total[stop] - total[start])
    return totals


def _spans(owner: EntityHistory, events: Events, window: Window) -> dict[str, np.ndarray]:
    """Totals of events that count by another time than the one they became known at: each is inside a window for a
    span of moments, so a total is what has begun less what has ended."""
    times = owner.times
    known = np.searchsorted(times, events.known_at, side="right")
    begin = np.maximum(known, np.searchsorted(times, window.enters(events.at), side="left"))
    end = np.searchsorted(times, window.leaves(events.at), side="left")
    seen = np.flatnonzero(begin < end)
    span = len(times) + 1
    codes = events.code[seen] * np.int64(span)
    moments = owner.needles(np.arange(len(times), dtype=np.int32), span)
    values = {name: value[seen] for name, value in events.values.items()}
    begun = _until(codes + begin[seen], values, moments)
    ended = _until(codes + end[seen], values, moments)
    return {name: _narrow(begun[name] - ended[name]) for name in values}


def _until(keys: np.ndarray, values: dict[str, np.ndarray], moments: np.ndarray) -> dict[str, np.ndarray]:
    """Totals of the events whose key lies at or before each moment's."""
    order = np.argsort(keys, kind="stable")
    found = kernel.find(keys[order], moments, side="right")
    return {name: kernel.running_total(value[order])[found] for name, value in values.items()}


def _narrow(totals: np.ndarray) -> np.ndarray:
    """The same integers in half the memory where they fit."""
    small = len(totals) == 0 or (totals.max() < 2**31 and totals.min() >= -(2**31))
    return totals.astype(np.int32) if small else totals
