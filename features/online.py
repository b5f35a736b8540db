"""The live path: records change entity states, a trade's states answer the vocabulary, features follow.

One writer applies records in the order of the log and writes a round's states and its place in the log at once, so
an interrupted round is simply told again. Each state remembers the last record it took besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from features.catalogue import Catalogue
from features.channels import Channel, Extremes, channels_in
from features.entities import COUNTED, ENTITIES, KEPT, network_of
from features.events import Accepted, Event, Labelled, Observed, Record, Resold, Submitted, Trade
from features.live_code import LiveEvaluator
from features.live_links import link_frauds, link_submission, links_of, read_links
from features.live_market import Bid
from features.live_moment import LiveMoment, Markets
from features.live_round import Round
from features.registry import Registry
from features.rows import band_of, rate_to_ppm, to_microseconds
from features.state import AFTER, State, add_rate
from features.state_book import (
    CURSOR,
    GENERATION,
    Nothing,
    StateBook,
    StateStore,
    first_marks,
    number_of,
)

MARKETS_MOST = 10_000
"""Answers about markets that are kept: an hour has a few for each card type."""

STATES_AT_HAND = 1_000
"""States that are kept between rounds, those that were asked for last: card types and their categories, networks and
batches of cards are the largest and asked for by many trades, and a seller seldom brings one card alone."""

FeatureValues = dict[str, float | str | None]


@dataclass(frozen=True)
class Answer:
    """Features of one live trade. seq: the last record they have seen. moment: the trade's moment, moved up where
    something that was told already of its seller, device, card type, … stands behind it in the log's order.
    extremes: best and worst channel of the card type's market, None where no bid is believed."""

    values: FeatureValues
    seq: int
    moment: datetime
    extremes: Extremes | None


@dataclass
class _Kept:
    """States at hand from the last rounds, the one asked for last at the end. They hold what the store holds for as
    long as its marks (cursor and generation) are ``marks``; so long what was worked out of them (``markets``) holds
    too."""

    states: dict[str, State] = field(default_factory=dict)
    marks: tuple[bytes | None, bytes | None] = (None, None)
    markets: Markets = field(default_factory=dict)

    def forget(self) -> None:
        self.states, self.marks, self.markets = {}, (None, None), {}

    def keep(self, book: StateBook, keys: Iterable[str]) -> None:
        """Have the states of these keys at hand, and no more than ``STATES_AT_HAND``."""
        for key in keys:
            self.states.pop(key, None)
            self.states[key] = book.find(key)
        for old in list(islice(self.states, max(len(self.states) - STATES_AT_HAND, 0))):
            del self.states[old]


class LiveFeatures:
    """Entity states behind the features of live trades. One writer at a time (the caller's duty)."""

    def __init__(self, *, states: StateStore, registry: Registry, catalogue: Catalogue) -> None:
        self._states = states
        self._evaluator = LiveEvaluator(registry)
        self._catalogue = catalogue
        self._kept = _Kept()

    # --- reading -------------------------------------------------------------------------------------------------

    def answer(self, trade: Trade, *, names: Sequence[str] | None = None) -> Answer:
        """Features of a trade as of its ``submitted_at``: one read for all its entities (and one more for those
        that link it to others)."""
        return self.round([trade]).answer(trade, names=names)

    def round(self, trades: Sequence[Trade]) -> Round:
        """Answers of several trades, one after another: one read for all their entities. Raises StatesMissing."""
        book = StateBook(self._states)
        keys = dict.fromkeys(key for trade in trades for key in self.keys(trade))
        seq = self._open(book, keys)
        read_links(book, keys)
        return Round(live=self, book=book, seq=seq, markets=self._kept.markets)

    def _open(self, book: StateBook, keys: Iterable[str]) -> int:
        """Fill a book with states, from those at hand where the store still holds them; the cursor."""
        kept, asked = self._kept, [key for key in keys if key not in self._kept.states]
        cursor, generation, *found = self._states.read_states([CURSOR, GENERATION, *asked])
        if kept.marks != (cursor, generation):
            kept.forget()
            kept.marks = (cursor, generation)
        if len(kept.markets) > MARKETS_MOST:
            kept.markets = {}
        book.take(asked, found)
        book.share(kept.states)
        book.read(keys)
        kept.keep(book, keys)
        return number_of(cursor)

    def forget(self) -> None:
        """Drop the states at hand: they may hold what was never written."""
        self._kept.forget()

    def wrote(self, *, last: int) -> None:
        """The states at hand were written with all that was told up to record ``last``."""
        self._kept.marks = (str(last).encode(), self._kept.marks[1])

    def blank(self, trade: Trade, *, names: Sequence[str] | None = None) -> Answer:
        """Features of a trade as if nothing else were known: what is left when the states cannot be read."""
        return self.answer_from(trade, StateBook(Nothing()), 0, names)

    def answer_from(
        self,
        trade: Trade,
        book: StateBook,
        seq: int,
        names: Sequence[str] | None,
        markets: Markets | None = None,
    ) -> Answer:
        """Features of a trade from the states of a book, which stand for the log up to record ``seq``. markets: what
        was worked out of the markets in them so far."""
        keys = self._keys(trade)
        states = {entity: book.find(key) for entity, key in keys.items()}
        asked = to_microseconds(trade["submitted_at"])
        time = _after_what_was_told(asked, trade["trade_id"], states.values())
        at = trade["submitted_at"] + timedelta(microseconds=time - asked)
        seen = {**trade, "submitted_at": at}
        links = links_of(seen, time=time, find=book.find)
        moment = LiveMoment(
            trade=seen, states=states, links=links, catalogue=self._catalogue, markets=markets
        )
        values = self._evaluator.values(moment, names)
        return Answer(values=values, seq=seq, moment=at, extremes=moment.extremes)

    def channels(self, card_type: str, at: datetime) -> tuple[Channel, ...]:
        """Every channel of the card type's market as of a moment, or of just after what the card type was told last.
        Raises StatesMissing."""
        book, key = StateBook(self._states), f"card_type={card_type}"
        self._open(book, [key])
        state = book.find(key)
        return channels_in(state.market, max(to_microseconds(at), state.horizon + 1))

    # --- writing -------------------------------------------------------------------------------------------------

    @property
    def applied(self) -> int:
        """Number of the last record that the states stand for. Raises StatesMissing."""
        return number_of(self._states.read_states([CURSOR])[0])

    @property
    def generation(self) -> str:
        """Name of the rebuild that the states come from; empty where there are none."""
        found = self._states.read_states([GENERATION])[0]
        return found.decode() if found else ""

    def start(self, *, generation: str, now: datetime) -> None:
        """Begin with states that know nothing."""
        self._states.write_states(first_marks(generation=generation, applied=0), now=now)

    def apply(self, records: Iterable[Record], *, now: datetime) -> None:
        """Take records, in the order of their numbers. All states change in one write."""
        book = StateBook(self._states)
        told = list(records)
        book.read({key for record in told for key in self._touched(record.event)})
        for record in told:
            book.begin(record.seq)
            self.tell(record.event, book)
        if told:
            book.write(last=told[-1].seq, now=now)

    def keys(self, trade: Trade) -> list[str]:
        """Keys of the states that a trade's features are read from."""
        return list(self._keys(trade).values())

    def _touched(self, event: Event) -> list[str]:
        if isinstance(event, Observed):
            return [f"card_type={event.card_type}"]
        return self.keys(event.trade)

    def _keys(self, trade: Trade) -> dict[str, str]:
        return entity_keys(trade, category_of(self._catalogue, trade["card_type"]))

    def tell(self, event: Event, book: StateBook) -> None:
        """Change the states of a book as an event does."""
        if isinstance(event, Observed):
            self._observe(event, book)
            return
        keys = self._keys(event.trade)
        match event:
            case Submitted():
                self._submit(event.trade, keys, book)
            case Accepted():
                time = to_microseconds(event.decided_at)
                values = {"acceptances": [1], "purchases": [1, event.trade["face_value_fen"], 0, 0, 0]}
                _tell_outcome(book, keys, values, known_at=time, at=time)
            case Resold():
                _resell(event, keys, book)
            case Labelled():
                _label(event, keys, book)

    def _observe(self, event: Observed, book: StateBook) -> None:
        key = f"card_type={event.card_type}"
        if book.untold(key):
            bid = Bid(to_microseconds(event.at), rate_to_ppm(event.rate))
            band = band_of(self._catalogue, event.card_type)
            add_rate(book.change(key), event.side, event.source, bid, band=band)

    def _submit(self, trade: Trade, keys: Mapping[str, str], book: StateBook) -> None:
        time, fen = to_microseconds(trade["submitted_at"]), trade["face_value_fen"]
        values = submission_values(fen)
        names = {entity: key.partition("=")[2] for entity, key in keys.items()}
        for entity, key in keys.items():
            if KEPT[entity][0].name == "submissions":
                counted = [names.get(other) for other in COUNTED.get(entity, ())]
                book.add(key, "submissions", (time, trade["trade_id"]), time, values, counted)
        if book.untold(keys["seller"]):
            link_submission(trade, time=time, find=book.change)


def entity_keys(trade: Trade, category: str | None) -> dict[str, str]:
    """Entity -> key of its state, for the entities a trade has."""
    values = {entity: trade[column] for entity, column in ENTITIES.items()}
    values |= {"ip_net": network_of(trade["ip"]), "card_category": category}
    return {entity: f"{entity}={value}" for entity, value in values.items() if value is not None}


def category_of(catalogue: Catalogue, card_type: str) -> str | None:
    found = catalogue.types.get(card_type)
    return None if found is None else found.category


def submission_values(fen: int) -> list[int]:
    """The values of ``SUBMISSIONS`` for one card."""
    return [1, fen, (fen // 100) ** 2, fen]


def _resell(event: Resold, keys: Mapping[str, str], book: StateBook) -> None:
    time, ppm = to_microseconds(event.resold_at), rate_to_ppm(event.rate)
    _tell_outcome(book, keys, {"resales": [1, ppm]}, known_at=time, at=time)
    if event.decided_at is not None and event.decided_at < event.resold_at:
        values = {"purchases": [0, 0, 1, event.trade["face_value_fen"], ppm]}
        _tell_outcome(book, keys, values, known_at=time, at=to_microseconds(event.decided_at))


def _label(event: Labelled, keys: Mapping[str, str], book: StateBook) -> None:
    known_at, submitted = to_microseconds(event.known_at), to_microseconds(event.trade["submitted_at"])
    fraud = int(event.fraud)
    cohort, more = [1, fraud], fraud
    if event.old is not None:
        old = int(event.old[1])
        values = {"labels": [-1, -old]}
        _tell_outcome(book, keys, values, known_at=known_at, at=to_microseconds(event.old[0]))
        cohort, more = [0, fraud - old], fraud - old
    _tell_outcome(book, keys, {"labels": [1, fraud]}, known_at=known_at, at=known_at)
    _tell_outcome(book, keys, {"cohorts": cohort}, known_at=known_at, at=submitted)
    if book.untold(keys["seller"]):
        link_frauds(event.trade, submitted=submitted, known_at=known_at, frauds=more, find=book.change)


def _tell_outcome(
    book: StateBook, keys: Mapping[str, str], values: Mapping[str, list[int]], *, known_at: int, at: int
) -> None:
    """Add values of series to every entity of the trade that keeps them."""
    for entity, key in keys.items():
        for series in KEPT[entity]:
            if series.name in values:
                book.add(key, series.name, (known_at, AFTER), at, values[series.name], [])


def _after_what_was_told(asked: int, trade_id: str, states: Iterable[State]) -> int:
    """The moment (µs) asked for, or the first one behind everything these states were told of others."""
    time = asked
    for state in states:
        newest = next((item for item in reversed(state.tail) if item.id != trade_id), None)
        if newest is not None and (newest.time, newest.id) > (asked, trade_id):
            time = max(time, newest.time + 1)
        time = max(time, state.horizon + 1)
    return time
