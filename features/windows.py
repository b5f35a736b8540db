"""The window kernel: counts, sums and distinct counts as of a moment, for one row or ten million.

Windows are sawtooth windows (as in Chronon): with width ``w`` and hop ``h`` an event at ``ev`` is inside the
window of a moment ``T`` when ``ev // h >= (T - w) // h``. The far edge moves in steps of ``h``, so that a live
state may forget old events bucket by bucket and still give the same answer as the whole history.

Times are int64 microseconds since the epoch, UTC. Everything here is integer arithmetic on sorted keys, so the
result does not depend on how many rows are evaluated at once: training and live calls give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True)
class Window:
    """A look-back of ``width`` microseconds whose far edge moves in steps of ``hop`` microseconds."""

    name: str
    width: int
    hop: int

    def start(self, moment: np.ndarray) -> np.ndarray:
        """Earliest event time still inside, for each moment (n,) int64 µs."""
        return (moment - self.width) // self.hop * self.hop

    def end(self, event: np.ndarray) -> np.ndarray:
        """First moment at which an event at time ``event`` is outside again."""
        return (event // self.hop + 1) * self.hop + self.width


HOUR_1 = Window("1h", HOUR, 5 * MINUTE)
HOURS_24 = Window("24h", DAY, HOUR)
DAYS_7 = Window("7d", 7 * DAY, 6 * HOUR)
DAYS_30 = Window("30d", 30 * DAY, DAY)
WINDOWS = {window.name: window for window in (HOUR_1, HOURS_24, DAYS_7, DAYS_30)}

MARKET_WINDOW = DAYS_7
"""A bid older than this says nothing about today."""

LONGEST = DAYS_30.width + DAYS_30.hop
"""No window needs an event older than this."""


@dataclass(frozen=True)
class Axis:
    """The line on which events and moments stand in order, as integer positions.

    For submissions the position is the rank in (time, trade_id), so that simultaneous trades stay ordered.
    ``times`` (n,) sorted int64 µs turns a time into the first position at or after it.
    """

    times: np.ndarray

    def position(self, time: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.times, time, side="left")

    @property
    def span(self) -> int:
        """One more than the largest position."""
        return len(self.times) + 1


@dataclass(frozen=True)
class EventLog:
    """Events of many entities on one axis, sorted by (entity, position), with running totals.

    keys: entity · span + position, sorted int64 (n,). times: event times in the same order.
    totals: name -> running total with a leading 0, (n + 1,) int64; the name ``n`` counts events.
    """

    axis: Axis
    keys: np.ndarray
    times: np.ndarray
    totals: Mapping[str, np.ndarray]

    @classmethod
    def build(
        cls,
        *,
        axis: Axis,
        entity: np.ndarray,
        position: np.ndarray,
        times: np.ndarray,
        values: Mapping[str, np.ndarray],
    ) -> EventLog:
        """Sort events by entity and position. Events with a negative (unknown) entity are left out."""
        known = np.flatnonzero(entity >= 0)
        keys = entity[known] * axis.span + position[known]
        order = np.argsort(keys, kind="stable")
        chosen = known[order]
        return cls(
            axis=axis,
            keys=keys[order],
            times=times[chosen],
            totals={name: _running_total(value[chosen]) for name, value in values.items()},
        )


@dataclass(frozen=True)
class Needles:
    """The moments to answer for: entity codes (negative: unknown), positions on the axis, times in µs."""

    entity: np.ndarray
    position: np.ndarray
    time: np.ndarray

    @property
    def unknown(self) -> np.ndarray:
        return self.entity < 0


class View:
    """An event log seen from needles: the index ranges are found once and shared by all features."""

    def __init__(self, log: EventLog, needles: Needles) -> None:
        self.log = log
        self.needles = needles
        self._base = np.maximum(needles.entity, 0) * log.axis.span
        self._stop = np.searchsorted(log.keys, self._base + needles.position, side="left")
        self._starts: dict[str, np.ndarray] = {}

    def total(self, name: str, window: Window | None) -> np.ndarray:
        """Total of ``name`` inside the window (all earlier events when None); int64 (n,), 0 where unknown."""
        running = self.log.totals[name]
        result = running[self._stop] - running[self._start(window)]
        return np.where(self.needles.unknown, 0, result)

    def last_time(self) -> tuple[np.ndarray, np.ndarray]:
        """Time of the last earlier event (n,) and whether there is one (n,)."""
        found = (self._stop > self._start(None)) & ~self.needles.unknown
        return self._time_at(self._stop - 1, found), found

    def first_time(self) -> tuple[np.ndarray, np.ndarray]:
        """Time of the first event if it is earlier than the moment (n,), and whether it is (n,)."""
        found = (self._stop > self._start(None)) & ~self.needles.unknown
        return self._time_at(self._start(None), found), found

    def last_value(self, name: str) -> np.ndarray:
        """Value of ``name`` at the last earlier event; meaningful where :meth:`last_time` found one."""
        running = self.log.totals[name]
        return running[self._stop] - running[np.maximum(self._stop - 1, 0)]

    def _time_at(self, index: np.ndarray, found: np.ndarray) -> np.ndarray:
        if len(self.log.times) == 0:
            return np.zeros(len(index), dtype=np.int64)
        return self.log.times[np.where(found, index, 0)]

    def _start(self, window: Window | None) -> np.ndarray:
        name = window.name if window else "all"
        if name not in self._starts:
            offset = 0 if window is None else self.log.axis.position(window.start(self.needles.time))
            self._starts[name] = np.minimum(
                np.searchsorted(self.log.keys, self._base + offset, side="left"), self._stop
            )
        return self._starts[name]


class DistinctLog:
    """Distinct values per entity inside one window, as starts and ends of the values' presence.

    An occurrence makes its value present from just after its own position until the window lets go of it or
    the value's next occurrence takes over, so presences never overlap and a difference of two ranks counts.
    """

    def __init__(
        self,
        *,
        axis: Axis,
        window: Window,
        entity: np.ndarray,
        value: np.ndarray,
        position: np.ndarray,
        times: np.ndarray,
    ) -> None:
        self.axis = axis
        known = np.flatnonzero((entity >= 0) & (value >= 0))
        order = known[np.lexsort((position[known], value[known], entity[known]))]
        entity, value, position, times = entity[order], value[order], position[order], times[order]
        end = axis.position(window.end(times))
        follows = (entity[1:] == entity[:-1]) & (value[1:] == value[:-1])
        end[:-1] = np.where(follows, np.minimum(end[:-1], position[1:] + 1), end[:-1])
        self._start_keys = np.sort(entity * (axis.span + 1) + position)
        self._end_keys = np.sort(entity * (axis.span + 1) + end)

    def count(self, needles: Needles) -> np.ndarray:
        """Distinct values in the window before each needle (n,) int64; 0 where the entity is unknown."""
        keys = np.maximum(needles.entity, 0) * (self.axis.span + 1) + needles.position
        started = np.searchsorted(self._start_keys, keys, side="left")
        ended = np.searchsorted(self._end_keys, keys, side="right")
        return np.where(needles.unknown, 0, started - ended)


def _running_total(values: np.ndarray) -> np.ndarray:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, dtype=np.int64, out=total[1:])
    return total
