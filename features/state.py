"""The live state of one entity, as compact bytes: totals per hop of each window, and a tail of the newest events.

Older events are *folded* into rows of totals, one row a hop of a window, so that a state stays small however many it
has seen. The newest stay as they came in the *tail*: a trade quoted again does not see itself, and simultaneous trades
stay in order. Late events find their row. Times are int64 µs. The layout follows :mod:`features.entities`.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from features.credibility import SIDES
from features.entities import COUNTED, COUNTED_REACH, KEPT, MOST_COUNTED
from features.live_market import Bid, Side, observe
from features.windows import DAY, MINUTE

LAYOUT = 5
"""Number of the form below; a state of another form is rebuilt."""

TAIL_MOST = 32
TAIL_AGE = DAY
"""The tail keeps a day's events, not more than that many: a trade quoted again can then be told from the others."""

LAG = 10 * MINUTE
"""A moment may lie this far behind the newest event without missing a row of a window."""

AFTER = "\U0010ffff"
"""Stands in place of a trade_id where an event counts only for strictly later times: it sorts after every id."""

NEVER = -1


class Increment(msgspec.Struct, array_like=True, gc=False, order=True):
    """An event: when it became known and whose submission it is (or :data:`AFTER`), the number of its series in
    ``KEPT``, the time it counts at, its values, and the counted entities of a submission."""

    time: int
    id: str
    series: int
    at: int
    values: list[int]
    names: list[str | None]


class Totals(msgspec.Struct, array_like=True, gc=False):
    """Folded totals of a series: since the beginning, and for each hop rows of bucket and values by bucket, one behind
    the other in one flat list: a list of each row would be most of what reading a state costs."""

    always: list[int]
    levels: list[list[int]]


class LinkNode(msgspec.Struct, array_like=True, gc=False):
    """An entity in the forest of linked sellers of one pair of epochs (:mod:`features.live_links`)."""

    parent: str = ""
    attached: tuple[int, str] = (NEVER, "")
    height: int = 0
    sellers: int = 0
    frauds: int = 0
    changes: list[tuple[int, str, int, int]] = []
    admitted: list[tuple[int, str, str]] = []
    joined: tuple[int, str] = (NEVER, "")


class State(msgspec.Struct, array_like=True, gc=False):
    """What one entity remembers. seq: number of the last record it took. horizon: newest time folded.
    counted: for each of ``COUNTED``, value -> when last seen. market: of a card type, each side."""

    seq: int
    horizon: int
    first: int
    last: int
    totals: list[Totals]
    tail: list[Increment]
    counted: list[dict[str, int]]
    market: list[Side]
    links: dict[int, LinkNode]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def empty_state(entity: str) -> State:
    """The state of an entity (a key of ``KEPT``) that nothing is known of."""
    series = KEPT[entity]
    return State(
        seq=0,
        horizon=NEVER,
        first=NEVER,
        last=NEVER,
        totals=[
            Totals(always=[0] * len(item.values) if item.always else [], levels=[[] for _ in item.levels])
            for item in series
        ],
        tail=[],
        counted=[{} for _ in COUNTED.get(entity, ())],
        market=[Side() for _ in SIDES] if entity == "card_type" else [],
        links={},
    )


def encode(state: State) -> bytes:
    return _encoder.encode(state)


def decode(data: bytes) -> State:
    """Raises msgspec.DecodeError for other bytes."""
    return _decoder.decode(data)


def add(state: State, entity: str, increment: Increment) -> None:
    """Take an event, and fold what has become old."""
    tail = state.tail
    if not tail or tail[-1] <= increment:
        tail.append(increment)
    else:
        insort(tail, increment)
    newest = tail[-1].time
    # A card is rarely offered twice: its own submission stays, for the seller who asks again after days.
    oldest = NEVER if entity == "card_fingerprint" else newest - TAIL_AGE
    while len(tail) > TAIL_MOST or tail[0].time < oldest:
        fold(state, entity, tail.pop(0), newest=newest)


def add_rate(state: State, side: str, source: str, bid: Bid, *, band: tuple[int, int]) -> None:
    """Take a market rate. It has no place in the tail: it counts for every moment later than itself."""
    state.horizon = max(state.horizon, bid.time)
    observe(state.market[SIDES.index(side)], source, bid, band=band, newest=state.horizon, lag=LAG)


def fold(state: State, entity: str, increment: Increment, *, newest: int) -> None:
    """Add an event to the totals. ``newest`` is the time of the newest event: rows out of its reach are dropped."""
    series = KEPT[entity][increment.series]
    totals = state.totals[increment.series]
    state.horizon = max(state.horizon, increment.time)
    if totals.always:
        combine(totals.always, increment.values, 0, series.peak)
    for rows, (hop, reach) in zip(totals.levels, series.levels, strict=True):
        oldest = (newest - reach - LAG) // hop
        add_to_row(rows, increment.at // hop, increment.values, series.peak, oldest)
    if increment.series == 0 and increment.id != AFTER:
        _fold_submission(state, increment, newest)


def combine(into: list[int], values: list[int], offset: int, peak: int) -> None:
    """Add values to totals that begin at ``offset``; the one at ``peak`` keeps the larger."""
    for position, value in enumerate(values):
        if position == peak:
            into[offset + position] = max(into[offset + position], value)
        else:
            into[offset + position] += value


def add_to_row(rows: list[int], bucket: int, values: list[int], peak: int, oldest: int) -> None:
    """Add values to the row of a bucket, kept in order; rows before ``oldest`` are dropped."""
    width = 1 + len(values)
    if bucket >= oldest:
        place = len(rows)
        while place and rows[place - width] > bucket:
            place -= width
        if place and rows[place - width] == bucket:
            combine(rows, values, place - width + 1, peak)
        else:
            rows[place:place] = [bucket, *values]
    while rows and rows[0] < oldest:
        del rows[:width]


def _fold_submission(state: State, increment: Increment, newest: int) -> None:
    state.last = max(state.last, increment.time)
    state.first = increment.time if state.first == NEVER else min(state.first, increment.time)
    for seen, name in zip(state.counted, increment.names, strict=True):
        if name is not None:
            seen[name] = max(seen.get(name, NEVER), increment.time)
        for old in [key for key, time in seen.items() if time < newest - COUNTED_REACH - LAG]:
            del seen[old]
        if len(seen) > MOST_COUNTED:
            del seen[min(seen, key=lambda key: (seen[key], key))]
