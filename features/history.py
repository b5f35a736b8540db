"""The offline evaluator: every event of the stored tables, and what was known at each submission.

:class:`History` holds the events as arrays in log order, the one order of trades (submitted_at, trade_id).
:class:`EntityHistory` sorts them by one entity and finds the edges of every window once. :class:`HistoryMoment`
answers for a chunk of rows. Only the entities asked for last are kept in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Attribute, Catalogue
from features.entities import ENTITIES, LINK_CAPS, Series
from features.entity_history import EntityHistory, Events
from features.links import link_history
from features.market_history import MarketChunk
from features.market_index import MarketEvents, MarketIndex
from features.moment import Bids, Links, Moment, Rates
from features.rows import SPINE_COLUMNS, codes_of, derived_codes, microseconds, rates_to_ppm
from features.windows import WINDOWS, Window

ReadColumn = Callable[[str], pa.ChunkedArray]
"""Reads one column of the stored trades, in their order."""

MOST_ENTITIES = 2
"""Entities whose sorted events stay in memory; features come entity by entity."""


@dataclass(frozen=True)
class Outcomes:
    """Events that became known after the submission: the trade's row in the log, when it is heard of and when it
    happened (µs; the same but where outcomes come in batches), and a value."""

    row: np.ndarray
    known_at: np.ndarray
    at: np.ndarray
    value: np.ndarray

    def of(self, chosen: np.ndarray) -> Outcomes:
        return Outcomes(self.row[chosen], self.known_at[chosen], self.at[chosen], self.value[chosen])

    def in_batches(self, moments: np.ndarray) -> Outcomes:
        """The same, each heard of at the next of the moments (µs, ascending); those after the last one never."""
        batch = np.searchsorted(moments, self.at, side="left")
        heard = self.of(batch < len(moments))
        return replace(heard, known_at=moments[batch[batch < len(moments)]])


class History:
    """Everything known, in log order. ``spine_rows`` are the rows (m,) of the log that are asked for."""

    def __init__(
        self,
        *,
        read: ReadColumn,
        market: pa.Table,
        catalogue: Catalogue,
        spine: pa.Table | None = None,
        windows: Mapping[str, Window] = WINDOWS,
        outcome_batches: np.ndarray | None = None,
    ) -> None:
        """``read`` gives the stored trades' columns. Rows of ``spine`` (``SPINE_COLUMNS``) join them and count as
        submissions for later rows; a trade that is stored too is taken as the spine tells it, without outcomes
        of its own beyond those stored. Without a spine all trades are asked for. outcome_batches: moments (µs,
        ascending) at which acceptances, resales and labels come in together, in place of each when it became known."""
        self.catalogue = catalogue
        self.outcome_batches = outcome_batches
        self.windows = windows
        self._layout = _Layout(read, spine)
        self.spine_rows = self._layout.spine_rows
        self.time = microseconds(self._layout.column("submitted_at"))
        self.fen = self._layout.column("face_value_fen").to_numpy()
        self.size = len(self.time)
        self._codes: dict[str, np.ndarray] = {}
        self._numbers: dict[str, np.ndarray] = {}
        self.names: dict[str, pa.Array] = {}
        self._market = market
        self._kept: OrderedDict[str, EntityHistory] = OrderedDict()
        self._edges: dict[tuple[str, str], np.ndarray] = {}

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the trades in log order."""
        return self._layout.column(name)

    def codes(self, entity: str) -> np.ndarray:
        """Integer codes (n,) int32 of an entity or a text column, -1 where a trade has none. Their values are in
        ``names``."""
        if entity not in self._codes:
            base = {"ip_net": "ip", "card_category": "card_type"}.get(entity)
            if base is None:
                found = codes_of(self._layout.column(ENTITIES.get(entity, entity)))
            else:
                found = derived_codes(entity, self.codes(base), self.names[base], self.catalogue)
            codes, names = found
            if entity == "card_type":  # the market may know types that nobody has traded
                others = pc.unique(self._market["card_type"]).filter(
                    pc.invert(pc.is_in(pc.unique(self._market["card_type"]), value_set=names))
                )
                names = pa.concat_arrays([names, others.cast(names.type)])
            self._codes[entity], self.names[entity] = codes, names
        return self._codes[entity]

    def numbers(self, column: str) -> np.ndarray:
        """A number column (n,) float64, or a flag as 0 and 1; NaN where it is null."""
        if column not in self._numbers:
            values = self._layout.column(column).cast(pa.float64())
            self._numbers[column] = values.to_numpy(zero_copy_only=False)
        return self._numbers[column]

    @cached_property
    def expiry_day(self) -> np.ndarray:
        """Last valid day (n,) as days since the epoch; NaN without expiry."""
        days = self._layout.column("expires_on").cast(pa.int32())
        return days.cast(pa.float64()).to_numpy(zero_copy_only=False)

    # --- outcomes --------------------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> Outcomes:
        return self._outcomes("fraud", "fraud_known_at", lambda fraud: fraud.cast(pa.int8()).to_numpy())

    @cached_property
    def acceptances(self) -> Outcomes:
        found = self._outcomes("accepted", "decided_at", lambda accepted: accepted.cast(pa.int8()).to_numpy())
        return found.of(found.value == 1)

    @cached_property
    def resales(self) -> Outcomes:
        """``value`` is the net rate in parts per million."""
        return self._outcomes("resale_rate", "resold_at", rates_to_ppm)

    def _outcomes(self, column: str, time: str, convert: Callable[[pa.ChunkedArray], np.ndarray]) -> Outcomes:
        values, times = self._layout.column(column), self._layout.column(time)
        known = pc.and_(values.is_valid(), times.is_valid())
        at = microseconds(times.filter(known))
        row, value = np.flatnonzero(known.to_numpy()), convert(values.filter(known))
        found = Outcomes(row=row, known_at=at, at=at, value=value)
        return found if self.outcome_batches is None else found.in_batches(self.outcome_batches)

    def events(self, series: Series, entity: str) -> Events:
        """All events of a series, with the entity they belong to."""
        if series.name == "purchases":
            return self._purchases(entity)
        outcomes = {"acceptances": self.acceptances, "resales": self.resales}.get(series.name, self.labels)
        value = {"resales": "ppm"}.get(series.name, "frauds")
        return Events(
            code=self.codes(entity)[outcomes.row],
            known_at=outcomes.known_at,
            at=self.time[outcomes.row] if series.name == "cohorts" else outcomes.at,
            values={"n": np.ones(len(outcomes.row), dtype=np.int8), value: outcomes.value},
        )

    def _purchases(self, entity: str) -> Events:
        """Cards bought (known when bought) and, counted at the same time, cards of them sold (known when sold)."""
        bought, sold = self.acceptances, self.resales
        bought_at = np.full(self.size, np.iinfo(np.int64).max)
        bought_at[bought.row] = bought.at
        later = sold.at > bought_at[sold.row]
        row = np.concatenate([bought.row, sold.row[later]])
        is_sale = np.arange(len(row)) >= len(bought.row)
        known_at = np.concatenate([bought.known_at, sold.known_at[later]])
        fen = self.fen[row].astype(np.int32)
        ppm = np.concatenate([np.zeros(len(bought.row), dtype=np.int32), sold.value[later].astype(np.int32)])
        return Events(
            code=self.codes(entity)[row],
            known_at=known_at,
            at=bought_at[row],
            values={
                "bought": ~is_sale,
                "bought_fen": np.where(is_sale, np.int32(0), fen),
                "sold": is_sale,
                "sold_fen": np.where(is_sale, fen, np.int32(0)),
                "sold_ppm": ppm,
            },
        )

    def edge(self, window: str, which: str) -> np.ndarray:
        """For each row, the first row of the log inside a window's ``first`` or ``end`` edge (n,) int32."""
        if (window, which) not in self._edges:
            asked = self.windows[window]
            bucket = asked.first_bucket(self.time) if which == "first" else asked.end_bucket(self.time)
            found = np.searchsorted(self.time, bucket * asked.hop, side="left")
            self._edges[window, which] = found.astype(np.int32)
        return self._edges[window, which]

    # --- entities ----------------------------------------------------------------------------------------------

    def entity(self, name: str) -> EntityHistory:
        """The history seen from one entity."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        while len(self._kept) >= MOST_ENTITIES:
            _, oldest = self._kept.popitem(last=False)
            oldest.forget()
        self._kept[name] = EntityHistory(self, name)
        return self._kept[name]

    def forget(self) -> None:
        """Let go of the sorted entities."""
        while self._kept:
            self._kept.popitem()[1].forget()

    @cached_property
    def wanted(self) -> np.ndarray | None:
        """Rows of the spine where it is a part of the log; None where it is all of it."""
        return None if len(self.spine_rows) == self.size else self.spine_rows

    @property
    def newest(self) -> int:
        """The latest moment of anything known, µs; -1 where nothing is."""
        outcomes = (self.labels.known_at, self.acceptances.known_at, self.resales.known_at)
        return max(int(times.max(initial=-1)) for times in (self.time, self.market.time, *outcomes))

    @cached_property
    def market(self) -> MarketEvents:
        """The market rows."""
        self.codes("card_type")
        return MarketEvents.of(self._market, self.names["card_type"])

    @cached_property
    def market_index(self) -> MarketIndex:
        """Those whose rate is possible for their card type, sorted."""
        types = self.names["card_type"]
        return MarketIndex(self.market.in_band(types, self.catalogue), card_types=len(types))

    @cached_property
    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """Linked sellers and known frauds (n,) of every row of the log."""
        return link_history(
            time=self.time,
            seller=self.codes("seller"),
            linking={name: self.codes(name) for name in LINK_CAPS},
            label_row=self.labels.row,
            label_known_at=self.labels.known_at,
            label_fraud=self.labels.value,
        )


class HistoryMoment(Moment):
    """A chunk of rows of the log; answers are columns (m,)."""

    def __init__(self, history: History, rows: np.ndarray) -> None:
        self._history = history
        self._rows = rows
        self.time = history.time[rows]
        self.face_fen = history.fen[rows]

    def text(self, column: str) -> np.ndarray:
        codes = self._history.codes(column)[self._rows]
        taken = self._history.names[column].take(pa.array(codes, mask=codes < 0))
        return taken.to_numpy(zero_copy_only=False)

    def number(self, column: str) -> np.ndarray:
        return self._history.numbers(column)[self._rows]

    def card(self, attribute: Attribute) -> np.ndarray:
        codes = self._history.codes("card_type")[self._rows]
        names = self._history.names["card_type"].to_numpy(zero_copy_only=False)
        return self._history.catalogue.attribute(names, attribute)[codes]

    @property
    def face_is_usual(self) -> np.ndarray:
        """Looked up once for each different card: there are far fewer than rows."""
        codes = self._history.codes("card_type")[self._rows].astype(np.int64)
        cards, place = np.unique(codes << 32 | self.face_fen, return_inverse=True)
        names = self._history.names["card_type"].to_numpy(zero_copy_only=False)
        return self._history.catalogue.usual_face(names[cards >> 32], cards & 0xFFFFFFFF)[place]

    @property
    def expiry_day(self) -> np.ndarray:
        return self._history.expiry_day[self._rows]

    def total(self, entity: str, series: str, value: str, window: str) -> np.ndarray:
        return self._of(entity, self._history.entity(entity).total(series, value, window))

    def last_time(self, entity: str) -> np.ndarray:
        return self._of(entity, self._history.entity(entity).last_time)

    def first_time(self, entity: str) -> np.ndarray:
        return self._of(entity, self._history.entity(entity).first_time)

    def distinct(self, entity: str, counted: str, window: str) -> np.ndarray:
        return self._of(entity, self._history.entity(entity).distinct(counted, window))

    def bids(self, side: str) -> Bids:
        return self._market.bids(side)

    def rates(self, side: str, window: str) -> Rates:
        return self._market.rates(side, window)

    @cached_property
    def _market(self) -> MarketChunk:
        code = self._history.codes("card_type")[self._rows]
        return MarketChunk(self._history.market_index, code=code, time=self.time)

    def links(self) -> Links:
        sellers, frauds = self._history.links
        return Links(sellers[self._rows].astype(np.float64), frauds[self._rows].astype(np.float64))

    def _of(self, entity: str, answers: np.ndarray) -> np.ndarray:
        """Answers in entity order as a column of the chunk: float64, NaN for rows without the entity."""
        place = self._history.entity(entity).place[self._rows]
        if len(answers) == 0:
            return np.full(len(place), np.nan)
        values = answers[place].astype(np.float64)
        values[place < 0] = np.nan
        return values


class _Layout:
    """How the log is put together: stored trades, and the spine's rows among them in (submitted_at, trade_id)."""

    def __init__(self, read: ReadColumn, spine: pa.Table | None) -> None:
        self._read = read
        self._spine = spine
        self._columns: dict[str, pa.ChunkedArray] = {}
        ids = read("trade_id")
        if spine is None:
            self._kept: pa.ChunkedArray | None = None
            self.spine_rows = np.arange(len(ids))
            return
        own = spine["trade_id"].combine_chunks()
        if pc.count_distinct(own).as_py() < len(own):
            raise ValueError("a trade_id stands twice in the spine")
        self._stored = pc.index_in(own, value_set=ids.combine_chunks())
        self._kept = pc.invert(pc.is_in(ids, value_set=own))
        log = pa.table({name: self._joined(name) for name in ("submitted_at", "trade_id")})
        keys = [("submitted_at", "ascending"), ("trade_id", "ascending")]
        self._order = pc.sort_indices(log, sort_keys=keys)
        rank = np.empty(len(log), dtype=np.int64)
        rank[self._order.to_numpy()] = np.arange(len(log))
        self.spine_rows = rank[len(log) - len(spine) :]

    def column(self, name: str) -> pa.ChunkedArray:
        """A column in log order."""
        if self._kept is None:
            return self._read(name)
        if name not in self._columns:
            self._columns[name] = self._joined(name).take(self._order)
        return self._columns[name]

    def _joined(self, name: str) -> pa.ChunkedArray:
        """Stored rows that the spine does not tell anew, then the spine's; its outcomes are those stored."""
        assert self._spine is not None
        stored = self._read(name)
        own = self._spine[name] if name in SPINE_COLUMNS else stored.take(self._stored)
        kept = stored.filter(self._kept)
        return pa.chunked_array([*kept.chunks, *_chunks(own.cast(kept.type))], type=kept.type)


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]
