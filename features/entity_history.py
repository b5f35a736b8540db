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
from features.entities import KEPT, MOST_COUNTED, SUBMISSIONS, Series, check_counted, check_series
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

    def forget(self) -> None:
        """Let go of everything found. (Parts refer back to their owner, so they would wait for the collector.)"""
        self._parts.clear()

    # --- answers: one value per place (k,), for all events at once ------------------------------------------------

    def total(self, series: str, value: str, window: str) -> np.ndarray:
        """Totals of a value in a window. Raises NotKept."""
        check_series(self.name, series, window)
        if series == SUBMISSIONS.name:
            return self._once(("sum", value, window), lambda: self._submissions(value, window))
        asked = self._series[series]
        if window == ALL or (self._counts_when_known(series) and not WINDOWS[window].delay):
            timed = self._once(("timed", series), lambda: _Timed(self, self._events(asked)))
            return self._once(("sum", series, value, window), lambda: timed.total(value, window))
        key = ("spans", series, window)
        events = self._once(("events", series), lambda: self._events(asked))
        spans = self._once(key, lambda: _Spans(self, events, WINDOWS[window]))
        return self._once((*key, value), lambda: spans.total(value))

    @property
    def last_time(self) -> np.ndarray:
        """Time of the last earlier event, µs as float64; NaN without one. Raises NotKept."""
        check_series(self.name, SUBMISSIONS.name, ALL)
        return self._once(("last",), self._last_time)

    @property
    def first_time(self) -> np.ndarray:
        """Time of the first event where that is an earlier one. Raises NotKept."""
        check_series(self.name, SUBMISSIONS.name, ALL)
        return self._once(("first",), self._first_time)

    def distinct(self, counted: str, window: str) -> np.ndarray:
        """Different ``counted`` entities of the window's submissions, at most ``MOST_COUNTED``. Raises NotKept."""
        check_counted(self.name, counted, window)
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
        return series not in ("cohorts", "purchases") and self._history.outcome_batches is None

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


class _Timed:
    """Events that count from the moment they became known: strictly earlier ones of the same entity."""

    def __init__(self, owner: EntityHistory, events: Events) -> None:
        self._owner = owner
        self._axis = events.known_at
        order = kernel.entity_order(events.code, owner.groups)
        self._span = len(self._axis) + 1
        self._keys = events.code[order] * np.int64(self._span) + order
        self._values = {name: value[order] for name, value in events.values.items() if name != "n"}
        self._stop = self._place(owner.times)
        self._starts: dict[str, np.ndarray] = {}

    def total(self, value: str, window: str) -> np.ndarray:
        start = self._start(window)
        if value == "n":
            return self._stop - start
        running = kernel.running_total(self._values[value])
        return _narrow(running[self._stop] - running[start])

    def _start(self, window: str) -> np.ndarray:
        if window not in self._starts:
            self._starts[window] = self._find_start(window)
        return self._starts[window]

    def _find_start(self, window: str) -> np.ndarray:
        if window == ALL:
            return kernel.find(self._keys, self._owner.codes * np.int64(self._span))
        asked = WINDOWS[window]
        return self._place(asked.first_bucket(self._owner.times) * asked.hop)

    def _place(self, times: np.ndarray) -> np.ndarray:
        """For each event in entity order, how many of the series stand before ``times`` (n,) of its row."""
        position = np.searchsorted(self._axis, times, side="left").astype(np.int32)
        return kernel.find(self._keys, self._owner.needles(position, self._span))


class _Spans:
    """Events that count by another time than the one they became known at, in one window: each is inside for a span
    of moments, so a total is what has begun less what has ended."""

    def __init__(self, owner: EntityHistory, events: Events, window: Window) -> None:
        times = owner.times
        known = np.searchsorted(times, events.known_at, side="right")
        begin = np.maximum(known, np.searchsorted(times, window.enters(events.at), side="left"))
        end = np.searchsorted(times, window.leaves(events.at), side="left")
        seen = np.flatnonzero(begin < end).astype(np.int32)
        self._values, self._seen = events.values, seen
        span = len(times) + 1
        moments = owner.needles(np.arange(len(times), dtype=np.int32), span)
        codes = events.code[seen] * np.int64(span)
        self._begun = _order_and_place(codes + begin[seen], moments)
        self._ended = _order_and_place(codes + end[seen], moments)

    def total(self, value: str) -> np.ndarray:
        values = self._values[value]
        totals = [
            kernel.running_total(values[self._seen[order]])[place]
            for order, place in (self._begun, self._ended)
        ]
        return _narrow(totals[0] - totals[1])


def _order_and_place(keys: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of events by key, and how many of them lie at or before each moment."""
    order = np.argsort(keys, kind="stable").astype(np.int32)
    return order, kernel.find(keys[order], moments, side="right")


def _narrow(totals: np.ndarray) -> np.ndarray:
    """The same integers in half the memory where they fit."""
    small = len(totals) == 0 or (totals.max() < 2**31 and totals.min() >= -(2**31))
    return totals.astype(np.int32) if small else totals
