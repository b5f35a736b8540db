"""Reference cards and their prices at the end of a day: what daily moves are measured from.

A card type's reference card has the usual face value nearest to ¥100, does not expire, and is nobody's in particular.
Days are those of China, counted from 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.catalogue import CardType, Catalogue
from features.china import CHINA_OFFSET
from features.definitions import FEATURES
from features.live_moment import LiveMoment
from features.moment import Links
from features.registry import column_of
from features.rows import SPINE_COLUMNS
from features.windows import DAY_MS
from models.discount.move_cap import DayBefore
from models.matrix import Columns

REMEMBERED_DAYS = 3
"""After a longer gap nothing is known of the day before."""
USUAL_FACE_FEN = 10_000
MARKET = tuple(item.name for item in FEATURES if item.family in ("market", "resale", "stock", "kind"))
"""Features of a card type's market: what a price reads beside the card and the calendar."""
CARD = tuple(item.name for item in FEATURES if item.family == "card")

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Close:
    """A reference card's last price of a day, the cap of daily moves on it already, and its type's market then."""

    day: int
    rate: float
    market: Mapping[str, float]


class Closes:
    """What is remembered: closes by day and card type. The reference cards are those of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._days: dict[int, dict[str, Close]] = {}
        self._made: dict[tuple[str, int], DayBefore] = {}

    def __contains__(self, day: int) -> bool:
        return day in self._days

    def add(self, day: int, closes: Mapping[str, Close]) -> None:
        """Take what is known of a day, in the place of what was; none if it is empty. To be told before any later day
        is asked about."""
        self._days.setdefault(day, {}).update(closes)

    def forget_before(self, day: int) -> None:
        """Drop the days before ``day``."""
        self._days = {known: closes for known, closes in self._days.items() if known >= day}
        self._made.clear()

    def before(self, card_types: Sequence[str], days: Sequence[int]) -> DayBefore:
        """What the moves of n trades of these types (of the catalogue) and days are measured from."""
        place: dict[tuple[str, int], int] = {}
        rows = [place.setdefault(key, len(place)) for key in zip(card_types, days, strict=True)]
        parts = [self._of(*key) for key in place]
        return parts[0] if len(rows) == 1 else _joined(parts).rows(np.array(rows, dtype=np.int64))

    def _of(self, card_type: str, day: int) -> DayBefore:
        found = self._made.get((card_type, day))
        if found is None:
            found = _day_before(
                self._last(card_type, day), day, self._catalogue.get(card_type), self._catalogue
            )
            self._made[card_type, day] = found
        return found

    def _last(self, card_type: str, day: int) -> Close | None:
        """The newest close of the days before."""
        for former in range(day - 1, day - REMEMBERED_DAYS - 1, -1):
            close = self._days.get(former, {}).get(card_type)
            if close is not None:
                return close
        return None


def closes_of(
    *, card_types: Sequence[str], rates: np.ndarray, columns: Columns, submitted_ms: np.ndarray
) -> dict[str, Close]:
    """Card type -> its close, from n reference cards' prices and their moments; the last of a type counts, one without
    a price does not. columns: what the market was like at each moment."""
    days = china_days(submitted_ms).tolist()
    market = {name: columns[name].tolist() for name in MARKET if name in columns}
    return {
        card_type: Close(day, rate, {name: values[row] for name, values in market.items()})
        for row, (card_type, rate, day) in enumerate(zip(card_types, rates.tolist(), days, strict=True))
        if rate == rate
    }


def china_days(time_ms: np.ndarray) -> np.ndarray:
    """Days since 1970 in China (n,) of times in ms."""
    return (np.asarray(time_ms, dtype=np.int64) + CHINA_OFFSET // 1000) // DAY_MS


def reference_face_fen(card_type: CardType) -> int:
    """The face value of a type's reference card: the usual one nearest to ¥100, or ¥100."""
    faces = card_type.face_values_fen or (USUAL_FACE_FEN,)
    return min(faces, key=lambda fen: (abs(fen - USUAL_FACE_FEN), fen))


def reference_form(card_type: CardType) -> str:
    """The form of a type's reference card: virtual, unless the type is physical only."""
    return "physical" if card_type.forms == ("physical",) else "virtual"


def anybodys_trade(card_type: CardType, now: datetime) -> dict[str, Any]:
    """The reference card, offered by nobody in particular."""
    return dict.fromkeys(SPINE_COLUMNS) | {
        "trade_id": f"board-{card_type.card_type}",
        "submitted_at": now,
        "seller_id": "board",
        "card_type": card_type.card_type,
        "card_form": reference_form(card_type),
        "face_value_fen": reference_face_fen(card_type),
    }


def _day_before(close: Close | None, day: int, card_type: CardType, catalogue: Catalogue) -> DayBefore:
    """Of one trade."""
    moment = LiveMoment(
        trade=anybodys_trade(card_type, _ANY_TIME),
        states={},
        links=Links(np.nan, np.nan),
        catalogue=catalogue,
    )
    values = FEATURES.values(moment, CARD)
    return DayBefore(
        rate=np.array([np.nan if close is None else close.rate]),
        days=np.array([np.nan if close is None else float(day - close.day)]),
        market={} if close is None else {name: np.array([value]) for name, value in close.market.items()},
        card={name: column_of(FEATURES[name].kind, [values[name]]) for name in CARD},
        face_value_fen=np.array([reference_face_fen(card_type)], dtype=np.int64),
    )


def _joined(parts: Sequence[DayBefore]) -> DayBefore:
    """Of one trade each, together. A column of the market that not every close has counts as unchanged since."""
    known = [part.market for part in parts if part.market]
    names = [name for name in known[0] if all(name in market for market in known)] if known else []
    unknown = np.full(1, np.nan)
    return DayBefore(
        rate=np.concatenate([part.rate for part in parts]),
        days=np.concatenate([part.days for part in parts]),
        market={name: np.concatenate([part.market.get(name, unknown) for part in parts]) for name in names},
        card={name: np.concatenate([part.card[name] for part in parts]) for name in CARD},
        face_value_fen=np.concatenate([part.face_value_fen for part in parts]),
    )
