"""The market rows of a history, sorted so that many moments can ask at once what was shown before them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import kernel
from features.credibility import POINT_PPM, POINTS, SIDES
from features.entities import BASIS_POINTS, PPM
from features.rows import band_of, codes_of, microseconds, rates_to_ppm

if TYPE_CHECKING:
    from features.catalogue import Catalogue


@dataclass(frozen=True)
class MarketEvents:
    """Market rows (k,) in time order: code of the card type, time (µs), number of the side, source, rate."""

    code: np.ndarray
    time: np.ndarray
    side: np.ndarray
    source: np.ndarray
    ppm: np.ndarray

    @classmethod
    def of(cls, market: pa.Table, card_types: pa.Array) -> MarketEvents:
        """The rows of these card types, whose codes are their places."""
        types = market["card_type"].combine_chunks()
        code = pc.fill_null(pc.index_in(types, value_set=card_types), -1).to_numpy()
        side = pc.index_in(market["side"].combine_chunks(), value_set=pa.array(SIDES)).to_numpy()
        times = microseconds(market["observed_at"])
        rows = np.flatnonzero(code >= 0)
        rows = rows[np.argsort(times[rows], kind="stable")]
        return cls(
            code=code[rows].astype(np.int32),
            time=times[rows],
            side=side[rows],
            source=market["source"].to_numpy()[rows],
            ppm=rates_to_ppm(market["rate"])[rows],
        )

    def in_band(self, card_types: pa.Array, catalogue: Catalogue) -> MarketEvents:
        """Those whose rate is possible for their card type."""
        bands = np.array([band_of(catalogue, name) for name in card_types.to_pylist()]).reshape(-1, 2)
        low, high = bands[self.code].T
        rows = np.flatnonzero((self.ppm >= low) & (self.ppm <= high))
        return MarketEvents(
            code=self.code[rows],
            time=self.time[rows],
            side=self.side[rows],
            source=self.source[rows],
            ppm=self.ppm[rows],
        )


class MarketIndex:
    """Market rows in the band, by channel and by point.

    ``places`` count rows in time order: of a moment, how many rows are older. A group is a card type and a side.
    """

    def __init__(self, events: MarketEvents, *, card_types: int) -> None:
        self._events = events
        self.time = events.time
        self._groups = card_types * len(SIDES)
        self._group = events.code.astype(np.int64) * len(SIDES) + events.side
        self._span = np.int64(len(events.time) + 1)

    @cached_property
    def channels(self) -> Channels:
        source, _ = codes_of(pa.chunked_array([pa.array(self._events.source, pa.string())]))
        order = np.lexsort((source, self._group))  # stable: in time order within a channel
        group, source = self._group[order], source[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (group[1:] != group[:-1]) | (source[1:] != source[:-1])
        start = np.flatnonzero(new)
        channel = np.cumsum(new) - 1
        edges = np.searchsorted(group[start], np.arange(self._groups + 1))
        return Channels(
            first=edges[:-1],
            size=np.diff(edges),
            start=start,
            key=channel * self._span + order,
            span=self._span,
            time=self._events.time[order],
            ppm=self._events.ppm[order],
        )

    @cached_property
    def cells(self) -> Cells:
        ppm = self._events.ppm
        cell = self._group * POINTS + ppm // POINT_PPM
        order = np.argsort(cell, kind="stable")
        known = np.zeros(self._groups * POINTS, dtype=bool)
        known[cell] = True
        bp = ppm[order] // (PPM // BASIS_POINTS)
        return Cells(
            known=known,
            key=cell[order] * self._span + order,
            span=self._span,
            running=tuple(kernel.running_total(values) for values in (ppm[order], bp, bp * bp)),
        )


@dataclass(frozen=True)
class Channels:
    """Rows sorted by channel, then time. first, size: (groups,) number of a group's first channel, and how many it
    has. start: (channels,) index of a channel's first row. key: (k,) channel · span + place. time, ppm: (k,)."""

    first: np.ndarray
    size: np.ndarray
    start: np.ndarray
    key: np.ndarray
    span: np.int64
    time: np.ndarray
    ppm: np.ndarray

    def last_before(self, group: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of the last row before each place (q,) in every channel of its group, and of the channel's first row:
        (most channels of a group, q) both; the last is smaller than the first where there is none."""
        most = int(self.size[group].max(initial=0))
        last = np.full((most, len(group)), -1)
        start = np.zeros((most, len(group)), dtype=np.int64)
        for number in range(most):
            asked = np.flatnonzero(self.size[group] > number)
            channel = self.first[group[asked]] + number
            start[number, asked] = self.start[channel]
            last[number, asked] = np.searchsorted(self.key, channel * self.span + place[asked]) - 1
        return last, start


@dataclass(frozen=True)
class Cells:
    """Rows sorted by cell (group · POINTS + point), then time. known: whether a cell has any row. key: (k,) cell · span
    + place. running: totals of ppm, bp and bp² before each index (k + 1,)."""

    known: np.ndarray
    key: np.ndarray
    span: np.int64
    running: tuple[np.ndarray, ...]

    def between(
        self, cell: np.ndarray, first: np.ndarray, place: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the rows of cells (q,) from place ``first`` on and before ``place``: [start, stop)."""
        start = kernel.find(self.key, cell * self.span + first)
        return start, kernel.find(self.key, cell * self.span + place)
