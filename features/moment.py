"""The primitives that features are written in: everything that was known, seen from each row of a spine.

A :class:`Moment` holds a spine (rows to answer for) and the facts. Each primitive returns one column (n,) over
the spine and is computed when first asked for. Live and offline use the same class: offline the spine is a
million trades and the facts are the whole history, live the spine is one trade and the facts are the few events
of its own entities.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Attribute, Catalogue
from features.facts import ENTITIES, PPM, Facts, submissions_of
from features.festivals import days_until
from features.windows import DAY, HOUR, MARKET_WINDOW, WINDOWS, Axis, DistinctLog, EventLog, Needles, View

CHINA_OFFSET = 8 * HOUR
"""China has one time zone, UTC+8, without summer time since 1991."""

KIND_COLUMNS = {"card_type": "card_type", "card_category": "card_category"}
FEN_PER_YUAN = 100


class Moment:
    """A spine and what was known at each of its moments.

    spine: Arrow table with ``features.facts.SPINE_COLUMNS``; rows that are not yet among the submissions count
    as submissions for the later rows of the spine.
    """

    def __init__(self, *, spine: pa.Table, facts: Facts, catalogue: Catalogue) -> None:
        self.spine = spine
        self.catalogue = catalogue
        self.size = len(spine)
        self.time = microseconds(spine["submitted_at"])
        self._facts = facts
        self._log = _with_spine(facts.submissions, spine)
        self._cache: dict[tuple[str, ...], View | Needles | DistinctLog | np.ndarray] = {}

    # --- the trade itself -------------------------------------------------------------------------------

    @cached_property
    def face_fen(self) -> np.ndarray:
        return integers(self.spine["face_value_fen"])

    def text(self, name: str) -> np.ndarray:
        """A text column of the spine as objects, None where unknown."""
        return self.spine[name].to_numpy(zero_copy_only=False).astype(object)

    def known(self, name: str) -> np.ndarray:
        """Whether a column of the spine has a value (n,) bool."""
        return np.asarray(self.spine[name].is_valid().to_numpy(zero_copy_only=False), dtype=bool)

    def card(self, attribute: Attribute) -> np.ndarray:
        """An attribute of the card type in the catalogue."""
        return self.catalogue.attribute(self.text("card_type"), attribute)

    @cached_property
    def category(self) -> np.ndarray:
        return self.card("category")

    @cached_property
    def local_day(self) -> np.ndarray:
        """Days since the epoch in China (n,) int64."""
        return (self.time + CHINA_OFFSET) // DAY

    @cached_property
    def local_hour(self) -> np.ndarray:
        return (self.time + CHINA_OFFSET) % DAY // HOUR

    @cached_property
    def days_to_expiry(self) -> np.ndarray:
        """Days from the local date to ``expires_on``; negative when expired, NaN without expiry."""
        expiry = self.spine["expires_on"].cast(pa.int32())
        days = pc.fill_null(expiry, 0).to_numpy(zero_copy_only=False).astype(np.int64) - self.local_day
        return np.where(self.known("expires_on"), days, np.nan)

    def days_to(self, festival: str) -> np.ndarray:
        return days_until(festival, self.local_day)

    # --- submissions, labels and acceptances of an entity -----------------------------------------------

    def count(self, entity: str, window: str) -> np.ndarray:
        """Earlier submissions in the window (``all``: ever), NaN where the trade has no such entity."""
        return self._total(self._submissions(entity), "n", window)

    def amount(self, entity: str, window: str) -> np.ndarray:
        """Face value of those submissions, yuan."""
        return self._total(self._submissions(entity), "fen", window) / FEN_PER_YUAN

    def amount_squared(self, entity: str, window: str) -> np.ndarray:
        """Sum of squared face values, in whole yuan squared."""
        return self._total(self._submissions(entity), "yuan_squared", window)

    def hours_since_last(self, entity: str) -> np.ndarray:
        last, found = self._submissions(entity).last_time()
        return np.where(found, (self.time - last) / HOUR, np.nan)

    def days_since_first(self, entity: str) -> np.ndarray:
        first, found = self._submissions(entity).first_time()
        return np.where(found, (self.time - first) / DAY, np.nan)

    def distinct(self, entity: str, value: str, window: str) -> np.ndarray:
        """Different ``value`` entities among earlier submissions of ``entity`` in the window."""
        key = ("distinct", entity, value, window)
        if key not in self._cache:
            log = DistinctLog(
                axis=self._axis,
                window=WINDOWS[window],
                entity=self._codes(entity)[0],
                value=self._codes(value)[0],
                position=self._sequence[0],
                times=self._log_times,
            )
            self._cache[key] = log.count(self._needles(entity))
        counts = self._cache[key]
        assert isinstance(counts, np.ndarray)
        return self._where_known(entity, counts)

    def labels(self, entity: str, window: str) -> np.ndarray:
        """Trades of the entity whose fraud label became known in the window."""
        return self._total(self._labels(entity), "labels", window)

    def frauds(self, entity: str, window: str) -> np.ndarray:
        """Those of them that were fraud."""
        return self._total(self._labels(entity), "frauds", window)

    def accepted(self, entity: str, window: str) -> np.ndarray:
        """Offers accepted in the window (by decision time). Kept for sellers only."""
        return self._total(self._acceptances(entity), "n", window)

    # --- card kinds and market ---------------------------------------------------------------------------

    def kind_total(self, kind: str, name: str, window: str) -> np.ndarray:
        """Total of ``labels``, ``frauds``, ``resales`` or ``resale_ppm`` of the card type or category."""
        return self._kinds(kind).total(name, WINDOWS[window]).astype(np.float64)

    def kind_resale_mean(self, kind: str, window: str) -> np.ndarray:
        """Mean realised resale rate, NaN without a resale."""
        return (
            ratio(self.kind_total(kind, "resale_ppm", window), self.kind_total(kind, "resales", window)) / PPM
        )

    def bids(self, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Latest rate of each source of one side: best (max), mean over sources, age of the newest in hours.

        NaN where no source quoted within ``MARKET_WINDOW``.
        """
        best = np.full(self.size, -1, dtype=np.int64)
        total = np.zeros(self.size, dtype=np.int64)
        sources = np.zeros(self.size, dtype=np.int64)
        newest = np.zeros(self.size, dtype=np.int64)
        for source in self._sources(side):
            view = self._market_view(side, source)
            last, found = view.last_time()
            fresh = found & (view.total("n", MARKET_WINDOW) > 0)
            rate = view.last_value("rate_ppm")
            best = np.where(fresh, np.maximum(best, rate), best)
            total += np.where(fresh, rate, 0)
            sources += fresh
            newest = np.where(fresh, np.maximum(newest, last), newest)
        any_source = sources > 0
        age = np.where(any_source, (self.time - newest) / HOUR, np.nan)
        return np.where(any_source, best / PPM, np.nan), ratio(total, sources) / PPM, age

    def bid_mean(self, side: str, window: str) -> np.ndarray:
        """Mean of all rates seen on one side of the market in the window."""
        view = self._market_view(side, None)
        return ratio(view.total("rate_ppm", WINDOWS[window]), view.total("n", WINDOWS[window])) / PPM

    # --- how it is found ---------------------------------------------------------------------------------

    def _total(self, view: View, name: str, window: str) -> np.ndarray:
        totals = view.total(name, None if window == "all" else WINDOWS[window]).astype(np.float64)
        return np.where(view.needles.unknown, np.nan, totals)

    def _where_known(self, entity: str, values: np.ndarray) -> np.ndarray:
        return np.where(self._needles(entity).unknown, np.nan, values.astype(np.float64))

    @cached_property
    def _sequence(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rank of each log row and of each spine row in (time, trade_id), and the sorted times."""
        order = pc.sort_indices(
            self._log, sort_keys=[("submitted_at", "ascending"), ("trade_id", "ascending")]
        ).to_numpy()
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        row = pc.index_in(self.spine["trade_id"], value_set=self._log["trade_id"].combine_chunks())
        return rank, rank[row.to_numpy(zero_copy_only=False)], self._log_times[order]

    @cached_property
    def _log_times(self) -> np.ndarray:
        return microseconds(self._log["submitted_at"])

    @cached_property
    def _axis(self) -> Axis:
        return Axis(times=self._sequence[2])

    def _codes(self, entity: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Integer codes of an entity's values in submissions, labels, acceptances and spine; unknown: -1."""
        key = ("codes", entity)
        if key not in self._cache:
            column = ENTITIES[entity]
            facts = self._facts
            acceptances = [facts.acceptances["seller_id"]] if entity == "seller" else []
            self._cache[key] = shared_codes(  # pyright: ignore[reportArgumentType]
                [self._log[column], facts.labels[column], *acceptances, self.spine[column]]
            )
        return self._cache[key]  # pyright: ignore[reportReturnType]

    def _needles(self, entity: str) -> Needles:
        return Needles(entity=self._codes(entity)[-1], position=self._sequence[1], time=self.time)

    def _submissions(self, entity: str) -> View:
        key = ("submissions", entity)
        if key not in self._cache:
            fen = integers(self._log["face_value_fen"])
            log = EventLog.build(
                axis=self._axis,
                entity=self._codes(entity)[0],
                position=self._sequence[0],
                times=self._log_times,
                values={
                    "n": integers(self._log["weight"]),
                    "fen": fen,
                    "yuan_squared": (fen // FEN_PER_YUAN) ** 2,
                },
            )
            self._cache[key] = View(log, self._needles(entity))
        return self._view(key)

    def _labels(self, entity: str) -> View:
        labels = self._facts.labels
        return self._timed_view(
            key=("labels", entity),
            times=microseconds(labels["fraud_known_at"]),
            codes=(self._codes(entity)[1], self._codes(entity)[-1]),
            values={name: integers(labels[name]) for name in ("labels", "frauds")},
        )

    def _acceptances(self, entity: str) -> View:
        acceptances = self._facts.acceptances
        return self._timed_view(
            key=("acceptances", entity),
            times=microseconds(acceptances["decided_at"]),
            codes=(self._codes(entity)[2], self._codes(entity)[-1]),
            values={"n": integers(acceptances["weight"])},
        )

    def _kinds(self, kind: str) -> View:
        kinds = self._facts.kinds
        own = self.spine["card_type"] if kind == "card_type" else pa.array(self.category, pa.string())
        codes = shared_codes([kinds[kind], own])
        return self._timed_view(
            key=("kinds", kind),
            times=microseconds(kinds["time"]),
            codes=(codes[0], codes[1]),
            values={name: integers(kinds[name]) for name in ("labels", "frauds", "resales", "resale_ppm")},
        )

    @cached_property
    def _market_codes(self) -> tuple[np.ndarray, np.ndarray]:
        codes = shared_codes([self._facts.market["card_type"], self.spine["card_type"]])
        return codes[0], codes[1]

    def _sources(self, side: str) -> list[str]:
        market = self._facts.market
        return sorted(market.filter(pc.equal(market["side"], side))["source"].unique().to_pylist())

    def _market_view(self, side: str, source: str | None) -> View:
        key = ("market", side, source or "")
        if key in self._cache:
            return self._view(key)
        market = self._facts.market
        chosen = pc.equal(market["side"], side)
        if source is not None:
            chosen = pc.and_(chosen, pc.equal(market["source"], source))
        rows = np.flatnonzero(chosen.to_numpy(zero_copy_only=False))
        rate = integers(market["rate_ppm"])[rows]
        return self._timed_view(
            key=key,
            times=microseconds(market["observed_at"])[rows],
            codes=(self._market_codes[0][rows], self._market_codes[1]),
            values={"n": np.ones(len(rows), dtype=np.int64), "rate_ppm": rate},
        )

    def _timed_view(
        self,
        *,
        key: tuple[str, ...],
        times: np.ndarray,
        codes: tuple[np.ndarray, np.ndarray],
        values: dict[str, np.ndarray],
    ) -> View:
        """A view of events that count once their own time is strictly earlier than the moment."""
        if key not in self._cache:
            axis = Axis(times=np.sort(times))
            log = EventLog.build(
                axis=axis, entity=codes[0], position=axis.position(times), times=times, values=values
            )
            needles = Needles(entity=codes[1], position=axis.position(self.time), time=self.time)
            self._cache[key] = View(log, needles)
        return self._view(key)

    def _view(self, key: tuple[str, ...]) -> View:
        view = self._cache[key]
        assert isinstance(view, View)
        return view


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient (n,) float64, NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)


def smoothed_rate(frauds: np.ndarray, labels: np.ndarray, *, prior: float, strength: float) -> np.ndarray:
    """A fraud rate (n,) float64 pulled to ``prior`` where labels are few: the posterior mean under a beta prior,
    (frauds + strength · prior) / (labels + strength)."""
    return (frauds + strength * prior) / (labels + strength)


def microseconds(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Timestamps as int64 µs since the epoch, UTC; there must be no nulls."""
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False)


def integers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)


def shared_codes(columns: Iterable[pa.ChunkedArray | pa.Array]) -> tuple[np.ndarray, ...]:
    """Integer codes that mean the same value in every column; null is -1."""
    columns = list(columns)
    chunks = [chunk for column in columns for chunk in _chunks(column)]
    encoded = pa.chunked_array(chunks, type=pa.string()).combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(column) for column in columns])
    return tuple(np.split(codes, ends[:-1]))


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _with_spine(submissions: pa.Table, spine: pa.Table) -> pa.Table:
    """Submissions with the spine's rows among them; a trade known already is taken as the spine tells it."""
    others = pc.invert(pc.is_in(submissions["trade_id"], value_set=spine["trade_id"].combine_chunks()))
    return pa.concat_tables([submissions.filter(others), submissions_of(spine)])
