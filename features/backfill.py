"""Rebuild the live state of every entity from the stored tables, in bulk: arrays first, then state by state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from features.backfill_links import LinkTables
from features.credibility import SHOWN, SIDES
from features.entities import COUNTED, COUNTED_REACH, KEPT, MOST_COUNTED, Series
from features.entity_history import Events
from features.history import History
from features.kernel import entity_order
from features.live_market import Bid, Side, observe
from features.online import submission_values
from features.rows import band_of, to_microseconds
from features.state import LAG, NEVER, TAIL_AGE, TAIL_MOST, Increment, State, Totals, encode
from features.state_book import first_marks

CHUNK = 20_000
"""States put together at a time."""

Progress = Callable[[int, int], None]


class StateSink(Protocol):
    """Takes states in bulk."""

    def write_many(self, states: Iterable[tuple[str, bytes]], *, now: datetime) -> int: ...


def backfill(
    *, history: History, sink: StateSink, now: datetime, applied: int, generation: str, progress: Progress
) -> int:
    """Write the states of all entities of the history as of ``now``; returns how many.

    ``applied`` is the number of the last record of the service's log that the history holds; ``generation`` names
    this rebuild. ``progress(states done, states in all)``.
    """
    total = sum(len(_names(history, entity)) for entity in KEPT)
    moment, done = to_microseconds(now), 0
    links = LinkTables.of(history, moment=moment)
    for entity in KEPT:
        tables = _Tables(history, entity, moment, links)
        for codes in _chunks(tables.size):
            sink.write_many(
                [(tables.key(code), encode(tables.state(code, applied))) for code in codes], now=now
            )
            done += len(codes)
            progress(done, total)
    sink.write_many(first_marks(generation=generation, applied=applied).items(), now=now)
    return done


def _names(history: History, entity: str) -> list[str]:
    """Values of an entity by code."""
    history.codes(entity)
    return history.names[entity].to_pylist()


def _chunks(size: int) -> Iterator[range]:
    for start in range(0, size, CHUNK):
        yield range(start, min(start + CHUNK, size))


@dataclass(frozen=True)
class _Rows:
    """Rows of totals of all entities, sorted by (code, bucket): ``rows[start[c]:start[c + 1]]`` are those of code c."""

    start: np.ndarray
    rows: np.ndarray

    def of(self, code: int) -> list[int]:
        """The rows of a code as a state holds them, one behind the other."""
        return self.rows[self.start[code] : self.start[code + 1]].ravel().tolist()


class _Tables:
    """Everything about the entities of one kind, as arrays by code."""

    def __init__(self, history: History, entity: str, moment: int, links: LinkTables) -> None:
        self._entity = entity
        self._moment = moment
        self._links = links
        self._names = _names(history, entity)
        self.size = len(self._names)
        self._submissions = (
            _Submissions(history, entity, moment) if KEPT[entity][0].name == "submissions" else None
        )
        self._series = [self._tables_of(history, series) for series in KEPT[entity]]
        self._markets = _markets(history, moment) if entity == "card_type" else {}

    def _tables_of(self, history: History, series: Series) -> tuple[np.ndarray, list[_Rows]]:
        """Totals since the beginning (codes, values), and the rows of each level."""
        if series.name == "submissions":
            assert self._submissions is not None
            events = self._submissions.folded
        else:
            events = history.events(series, self._entity)
            events = events.of(np.flatnonzero((events.code >= 0) & (events.known_at < self._moment)))
        order = entity_order(events.code, self.size)
        events = events.of(order)
        values = _matrix(events, series)
        always = _sum_by(events.code, values, self.size, series.peak) if series.always else np.empty((0, 0))
        levels = [self._level(events, values, series, hop, reach) for hop, reach in series.levels]
        return always, levels

    def _level(self, events: Events, values: np.ndarray, series: Series, hop: int, reach: int) -> _Rows:
        bucket = events.at // hop
        keep = np.flatnonzero(bucket >= (self._moment - reach - LAG) // hop)
        code, bucket, values = events.code[keep], bucket[keep], values[keep]
        order = np.lexsort((bucket, code))
        code, bucket, values = code[order], bucket[order], values[order]
        new = np.ones(len(code), dtype=bool)
        new[1:] = (code[1:] != code[:-1]) | (bucket[1:] != bucket[:-1])
        first = np.flatnonzero(new)
        rows = np.column_stack([bucket[first], _reduce(values, first, series.peak)]) if len(first) else values
        return _Rows(start=np.searchsorted(code[first], np.arange(self.size + 1)), rows=rows)

    def key(self, code: int) -> str:
        return f"{self._entity}={self._names[code]}"

    def state(self, code: int, applied: int) -> State:
        own = self._submissions
        tail = own.tail(code) if own else []
        return State(
            seq=applied,
            horizon=self._moment - 1,
            first=int(own.first[code]) if own else NEVER,
            last=int(own.last[code]) if own else NEVER,
            totals=[
                Totals(
                    always=always[code].tolist() if len(always) else [],
                    levels=[rows.of(code) for rows in levels],
                )
                for always, levels in self._series
            ],
            tail=tail,
            counted=own.counted(code) if own else [],
            market=self._markets.get(code)
            or ([Side() for _ in SIDES] if self._entity == "card_type" else []),
            links=self._links.nodes(self._entity, code),
        )


class _Submissions:
    """Submissions of one kind of entity: those of the tail, and the others folded."""

    def __init__(self, history: History, entity: str, moment: int) -> None:
        codes = history.codes(entity)
        rows = np.flatnonzero((codes >= 0) & (history.time < moment))
        groups = len(history.names[entity])
        rows = rows[entity_order(codes[rows], groups)]
        code, time, fen = codes[rows], history.time[rows], history.fen[rows]
        edges = np.searchsorted(code, np.arange(groups + 1))
        newest_first = edges[code + 1] - np.arange(len(rows))
        oldest = NEVER if entity == "card_fingerprint" else moment - TAIL_AGE
        young = (time >= oldest) & (newest_first <= TAIL_MOST)
        old = np.flatnonzero(~young)
        ones = np.ones(len(rows), dtype=np.int64)
        values = {"n": ones, "fen": fen, "yuan_squared": (fen // 100) ** 2, "largest": fen}
        self.folded = Events(code=code, known_at=time, at=time, values=values).of(old)
        self.first, self.last = _edge_times(code[old], time[old], groups)
        self._counted = [
            _last_seen(
                code[old], history.codes(other)[rows[old]], time[old], groups, moment, _names(history, other)
            )
            for other in COUNTED.get(entity, ())
        ]
        self._young = _Young(history, entity, rows[young], code[young])

    def tail(self, code: int) -> list[Increment]:
        return self._young.of(code)

    def counted(self, code: int) -> list[dict[str, int]]:
        return [seen.get(code, {}) for seen in self._counted]


class _Young:
    """The newest submissions, whole, for the tails."""

    def __init__(self, history: History, entity: str, rows: np.ndarray, code: np.ndarray) -> None:
        ids = history.column("trade_id").take(rows).to_pylist()
        names = []
        for other in COUNTED.get(entity, ()):
            known = _names(history, other)
            names.append([known[item] if item >= 0 else None for item in history.codes(other)[rows].tolist()])
        self._increments: dict[int, list[Increment]] = {}
        for place, row in enumerate(rows.tolist()):
            time, fen = int(history.time[row]), int(history.fen[row])
            values = submission_values(fen)
            increment = Increment(time, ids[place], 0, time, values, [column[place] for column in names])
            self._increments.setdefault(int(code[place]), []).append(increment)

    def of(self, code: int) -> list[Increment]:
        return self._increments.get(code, [])


def _matrix(events: Events, series: Series) -> np.ndarray:
    """Values of events (k, values) int64, in the order of the series."""
    columns = [events.values[name].astype(np.int64) for name in series.values]
    return np.column_stack(columns) if len(events.code) else np.empty((0, len(columns)), dtype=np.int64)


def _reduce(values: np.ndarray, first: np.ndarray, peak: int) -> np.ndarray:
    """Totals of the runs of rows that begin at ``first``."""
    totals = np.add.reduceat(values, first, axis=0)
    if peak >= 0:
        totals[:, peak] = np.maximum.reduceat(values[:, peak], first)
    return totals


def _sum_by(code: np.ndarray, values: np.ndarray, groups: int, peak: int) -> np.ndarray:
    """Totals (groups, values) of rows sorted by code."""
    totals = np.zeros((groups, values.shape[1]), dtype=np.int64)
    if len(code):
        present, first = np.unique(code, return_index=True)
        totals[present] = _reduce(values, first, peak)
    return totals


def _edge_times(code: np.ndarray, time: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last time (groups,) of events sorted by (code, time); NEVER where there is none."""
    first, last = (np.full(groups, NEVER, dtype=np.int64) for _ in range(2))
    last[code] = time  # the last of equal indices stays
    first[code[::-1]] = time[::-1]
    return first, last


def _last_seen(
    code: np.ndarray, value: np.ndarray, time: np.ndarray, groups: int, moment: int, names: list[str]
) -> dict[int, dict[str, int]]:
    """For each code, the most recently seen values and when."""
    near = np.flatnonzero((value >= 0) & (time >= moment - COUNTED_REACH - LAG))
    order = near[np.lexsort((time[near], value[near], code[near]))]
    newest = np.ones(len(order), dtype=bool)
    newest[:-1] = (code[order[1:]] != code[order[:-1]]) | (value[order[1:]] != value[order[:-1]])
    kept = order[newest]
    kept = kept[np.lexsort((-time[kept], code[kept]))]
    rank = np.arange(len(kept)) - np.searchsorted(code[kept], code[kept])
    kept = kept[rank < MOST_COUNTED]
    seen: dict[int, dict[str, int]] = {}
    for owner, item, at in zip(code[kept].tolist(), value[kept].tolist(), time[kept].tolist(), strict=True):
        seen.setdefault(owner, {})[names[item]] = at
    return seen


def _markets(history: History, moment: int) -> dict[int, list[Side]]:
    """Card type's code -> the sides of its market, as far back as a moment may look."""
    market, types = history.market, _names(history, "card_type")
    near = (market.time < moment) & (market.time >= moment - SHOWN.width - SHOWN.hop - LAG)
    sides: dict[int, list[Side]] = {}
    for row in np.flatnonzero(near).tolist():
        code, bid = int(market.code[row]), Bid(int(market.time[row]), int(market.ppm[row]))
        side = sides.setdefault(code, [Side() for _ in SIDES])[int(market.side[row])]
        band = band_of(history.catalogue, types[code])
        observe(side, str(market.source[row]), bid, band=band, newest=moment, lag=LAG)
    return sides
