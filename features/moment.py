"""The vocabulary that features are written in: what was known about a trade at its moment.

Two classes answer it: :class:`features.history.HistoryMoment` for the rows of a training set (columns (n,)), and
:class:`features.live_moment.LiveMoment` for one live trade (plain numbers). What they must find themselves is
abstract here; everything that follows from it is written once, below, in arithmetic that gives both the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from features.arithmetic import Value, pick, ratio, root, smoothed_rate
from features.catalogue import Attribute
from features.china import CHINA_OFFSET
from features.entities import BASIS_POINTS, PPM
from features.festivals import day_of_month, days_since, days_until, is_day_off
from features.windows import DAY, HOUR

FEN_PER_YUAN = 100


class Bids(NamedTuple):
    """What the sources of one side of the market bid, as far as it is believed (:mod:`features.credibility`): highest,
    lowest, mean, mean weighed by age (rates), number of sources, and age of the newest in hours. NaN (0 for
    ``sources``) where there is none."""

    best: Value
    worst: Value
    mean: Value
    level: Value
    sources: Value
    age_hours: Value


class Rates(NamedTuple):
    """Totals of the rates seen on one side of the market in a window, of those near its present level: their number,
    their sum in parts per million and in basis points, and the sum of squared basis points."""

    n: Value
    ppm: Value
    bp: Value
    bp_squared: Value


class Links(NamedTuple):
    """What a trade is linked to through its seller, device, payout account, card batch and address: other sellers,
    and known frauds of all of them (the seller's own included)."""

    sellers: Value
    frauds: Value


class Moment(ABC):
    """What was known. Totals of an entity are NaN where the trade has no such entity."""

    # --- what an evaluator must find ----------------------------------------------------------------------

    time: Value
    """The moment, µs since the epoch, UTC (integer)."""

    face_fen: Value
    """Face value in fen (integer)."""

    @abstractmethod
    def text(self, column: str) -> Value:
        """A text column of the trade, None where unknown."""

    @abstractmethod
    def number(self, column: str) -> Value:
        """A number column of the trade, or a flag as 0 or 1; NaN where unknown."""

    @abstractmethod
    def card(self, attribute: Attribute) -> Value:
        """An attribute of the card type in the catalogue; NaN (None for text) where it has none."""

    @property
    @abstractmethod
    def face_is_usual(self) -> Value:
        """1 where the card type is issued with this face value, 0 where not, NaN where that is not known."""

    @property
    @abstractmethod
    def expiry_day(self) -> Value:
        """Last valid day, days since the epoch; NaN without expiry."""

    @abstractmethod
    def total(self, entity: str, series: str, value: str, window: str) -> Value:
        """Total of a value of a series of :data:`features.entities.KEPT` in a window, ``all`` for ever."""

    @abstractmethod
    def last_time(self, entity: str) -> Value:
        """Time of the last earlier submission, µs; NaN without one."""

    @abstractmethod
    def first_time(self, entity: str) -> Value:
        """Time of the first submission, µs; NaN without an earlier one."""

    @abstractmethod
    def distinct(self, entity: str, counted: str, window: str) -> Value:
        """Different ``counted`` entities among earlier submissions, at most ``MOST_COUNTED``."""

    @abstractmethod
    def bids(self, side: str) -> Bids:
        """Bids of one side of the market for the card type."""

    @abstractmethod
    def rates(self, side: str, window: str) -> Rates:
        """All rates of one side of the market for the card type in one of ``BID_WINDOWS``."""

    @abstractmethod
    def links(self) -> Links:
        """Sellers and frauds linked to the trade."""

    # --- submissions of an entity -------------------------------------------------------------------------

    def count(self, entity: str, window: str) -> Value:
        """Earlier submissions."""
        return self.total(entity, "submissions", "n", window)

    def amount(self, entity: str, window: str) -> Value:
        """Their face value, yuan."""
        return self.total(entity, "submissions", "fen", window) / FEN_PER_YUAN

    def largest(self, entity: str, window: str) -> Value:
        """The largest of their face values, yuan; 0 without one."""
        return self.total(entity, "submissions", "largest", window) / FEN_PER_YUAN

    def mean_amount(self, entity: str, window: str) -> Value:
        """Mean face value, yuan."""
        return ratio(self.amount(entity, window), self.count(entity, window))

    def amount_deviation(self, entity: str, window: str) -> Value:
        """Standard deviation of face values, yuan (whole yuan squared are summed)."""
        mean = self.mean_amount(entity, window)
        square = ratio(self.total(entity, "submissions", "yuan_squared", window), self.count(entity, window))
        return root(square - mean * mean)

    def hours_since_last(self, entity: str) -> Value:
        """Hours since the last earlier submission."""
        return (self.time - self.last_time(entity)) / HOUR

    def days_since_first(self, entity: str) -> Value:
        """Days since the first submission."""
        return (self.time - self.first_time(entity)) / DAY

    # --- fraud labels --------------------------------------------------------------------------------------

    def labels(self, entity: str, window: str) -> Value:
        """Labels that became known in the window."""
        return self.total(entity, "labels", "n", window)

    def frauds(self, entity: str, window: str) -> Value:
        """Those of them that said fraud."""
        return self.total(entity, "labels", "frauds", window)

    def fraud_rate(self, entity: str, window: str, *, prior: float, strength: float) -> Value:
        """Smoothed share of fraud among labels that became known in the window."""
        frauds, labels = self.frauds(entity, window), self.labels(entity, window)
        return smoothed_rate(frauds, labels, prior=prior, strength=strength)

    def mature_fraud_rate(self, entity: str, *, prior: float, strength: float) -> Value:
        """Smoothed share of the trades submitted 7 to 37 days ago that are known by now to be fraud."""
        frauds = self.total(entity, "cohorts", "frauds", "mature_30d")
        trades = self.count(entity, "mature_30d")
        return smoothed_rate(frauds, trades, prior=prior, strength=strength)

    # --- resale, stock and market of a card kind -----------------------------------------------------------

    def resales(self, kind: str, window: str) -> Value:
        """Cards of the kind resold in the window."""
        return self.total(kind, "resales", "n", window)

    def resale_mean(self, kind: str, window: str) -> Value:
        """Mean net resale rate."""
        return ratio(self.total(kind, "resales", "ppm", window), self.resales(kind, window)) / PPM

    def purchases(self, kind: str, value: str, window: str = "mature_30d") -> Value:
        """Total of ``bought``, ``bought_fen``, ``sold``, ``sold_fen`` or ``sold_ppm`` of cards bought in the window."""
        return self.total(kind, "purchases", value, window)

    def bid_mean(self, side: str, window: str) -> Value:
        """Mean of the rates seen on one side of the market."""
        seen = self.rates(side, window)
        return ratio(seen.ppm, seen.n) / PPM

    def bid_deviation(self, side: str, window: str) -> Value:
        """Standard deviation of the rates seen on one side of the market."""
        seen = self.rates(side, window)
        mean, square = ratio(seen.bp, seen.n), ratio(seen.bp_squared, seen.n)
        return root(square - mean * mean) / BASIS_POINTS

    # --- calendar --------------------------------------------------------------------------------------------

    @property
    def local_day(self) -> Value:
        """Days since the epoch in China (integer)."""
        return (self.time + CHINA_OFFSET) // DAY

    @property
    def local_hour(self) -> Value:
        """Hour of the day in China (integer)."""
        return (self.time + CHINA_OFFSET) % DAY // HOUR

    @property
    def days_to_expiry(self) -> Value:
        """Days from the local date to the last valid day; negative when expired, NaN without expiry."""
        return self.expiry_day - self.local_day

    def days_to(self, festival: str) -> Value:
        """Days to the next one of a festival of :mod:`features.festivals`."""
        return days_until(festival, self.local_day)

    def days_since(self, festival: str) -> Value:
        """Days since the last one's first day."""
        return days_since(festival, self.local_day)

    @property
    def is_day_off(self) -> Value:
        """1 on a weekend or public holiday in China, 0 on a working day."""
        return is_day_off(self.local_day)

    @property
    def day_of_month(self) -> Value:
        """Day of the month in China, from 1."""
        return day_of_month(self.local_day)

    # --- either of two ---------------------------------------------------------------------------------------

    def pooled_resale(self, *, strength: float) -> Value:
        """Mean resale rate of the card type in 30 days, drawn to its category's as if by ``strength`` resales more;
        the category's alone where the type had none, NaN where neither had any."""
        own, wide = self.resales("card_type", "30d"), self.resale_mean("card_category", "30d")
        total = self.total("card_type", "resales", "ppm", "30d") / PPM
        alone = ratio(total, own)
        return pick(wide != wide, alone, (total + strength * wide) / (own + strength))
